"""Study files: what needs no model is checked before torch is imported, then the study opened."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from schedsearch.app.bootstrap import DataRef, Progress, model_place, open_samples
from schedsearch.app.config import StudyConfig
from schedsearch.app.rankers import rankers_of
from schedsearch.app.sample_size import check_size
from schedsearch.app.splits import check_apart, images_of
from schedsearch.app.stores import look
from schedsearch.core.reading import place_of
from schedsearch.core.sample import SampleSet, Split
from schedsearch.core.schedule import RankerSpec
from schedsearch.errors import InputError
from schedsearch.evaluation.metrics import check_answers, make_metric

if TYPE_CHECKING:
    from schedsearch.app.study import Study

_SETS = ("calibration", "held-out")


@dataclass(frozen=True)
class Prepared:
    """A study file that has been checked; nothing has been loaded or made yet.

    Attributes:
        config: Content of the file.
        folder: Folder of the file; paths in it are relative to this.
        store: SQLite file, or the URL of a database.
        create: Whether the study may be made.
        calibration: What the search sees.
        held_out: What reports alone see; None where the file names nothing.
    """

    config: StudyConfig
    folder: Path
    store: str | os.PathLike[str]
    create: bool
    calibration: SampleSet
    held_out: SampleSet | None

    def open(
        self,
        *,
        trust_remote_code: bool = False,
        prefix_bytes: int | None = None,
        progress: Progress | None = None,
    ) -> "Study":
        """Load the model and open the study.

        Args:
            trust_remote_code: Let transformers run code that comes with the model.
            prefix_bytes: As for `open_study`.
            progress: As for `open_study`.

        Raises:
            InputError: Something cannot be used, or the study exists with another specification.
        """
        from schedsearch.app.open import open_study

        config = self.config
        return open_study(
            config.model,
            self.calibration,
            name=config.study,
            sampler=config.search,
            metric=config.metric,
            metric_params=config.metric_params,
            ranker=_rankers(config),
            store=self.store,
            create=self.create,
            seed=config.seed,
            revision=config.revision,
            dtype=config.dtype,
            quantization=config.quantization,
            device_map=config.device_map,
            trust_remote_code=trust_remote_code,
            prefix_bytes=prefix_bytes,
            folder=self.folder,
            progress=progress,
        )


def prepare(
    config: StudyConfig,
    folder: Path,
    store: str | os.PathLike[str],
    *,
    create: bool = True,
    progress: Progress | None = None,
) -> Prepared:
    """Check all that a study file names, but for its model; torch is not imported.

    Args:
        config: Content of the file.
        folder: Folder of the file.
        store: SQLite file, or the URL of a database.
        create: Whether the study may be made.
        progress: Called with the name of what takes long, and its result with (done, total).

    Raises:
        InputError: Something cannot be used, or the study is missing and must not be made.
    """
    model_place(config.model, folder)
    if (found := look(store, config.study, create)) is not None:
        found.close()
    config.search.check_files(folder)
    _rankers(config)
    metric = make_metric(config.metric, config.metric_params)
    calibration = _samples(config, folder, "calibration", progress)
    check_answers(calibration, metric)
    check_size(len(calibration))
    held_out = None
    if config.data.held_out is not None:
        held_out = _samples(config, folder, "held-out", progress)
        check_answers(held_out, metric)
        comparing = [progress(f"looking at {name} images") if progress else None for name in _SETS]
        check_apart(images_of(calibration, comparing[0]), images_of(held_out, comparing[1]))
    return Prepared(config, folder, store, create, calibration, held_out)


def check_held_out(config: StudyConfig) -> None:
    """Refuse a study file with nothing to compare schedules on.

    Raises:
        InputError: It names no held-out set.
    """
    if config.data.held_out is None:
        raise InputError("the study file names no `data.held_out`; add it to compare schedules")


def _rankers(config: StudyConfig) -> tuple[RankerSpec, ...]:
    return rankers_of(config.ranker, config.ranker_params, config.search.first)


def _samples(
    config: StudyConfig, folder: Path, split: Split, progress: Progress | None
) -> SampleSet:
    data, key = config.data, "data.calibration_samples"
    name, limit = data.calibration, data.calibration_samples
    if split == "held-out":
        assert data.held_out is not None
        name, limit, key = data.held_out, data.held_out_samples, "data.held_out_samples"
    images = place_of(data.images, folder) if data.images else None
    return open_samples(DataRef(name, limit, images, folder, key), split, progress)

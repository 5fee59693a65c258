"""Study files: what needs no model is checked before torch is imported, then the study opened."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schedsearch.app.bootstrap import (
    DataRef,
    Progress,
    model_elsewhere,
    model_place,
    open_samples,
)
from schedsearch.app.certify import check_provable, demands_of
from schedsearch.app.config import CertifyConfig, StudyConfig
from schedsearch.app.rankers import rankers_of
from schedsearch.app.running import LOCAL, chosen
from schedsearch.app.sample_size import check_size
from schedsearch.app.splits import Images, check_apart, images_of, split_samples
from schedsearch.app.stores import look
from schedsearch.core.reading import place_of
from schedsearch.core.sample import SampleSet, Split, used_as
from schedsearch.core.schedule import RankerSpec
from schedsearch.errors import InputError
from schedsearch.evaluation.metrics import check_answers, make_metric
from schedsearch.execution.executor import Executor, Worker
from schedsearch.execution.executors import EXECUTORS, MakeExecutor

if TYPE_CHECKING:
    from schedsearch.app.study import Study


@dataclass(frozen=True)
class Prepared:
    """A study file that has been checked; nothing has been loaded or made yet.

    Attributes:
        config: Content of the file.
        folder: Folder of the file; paths in it are relative to this.
        store: SQLite file, or the URL of a database.
        create: Whether the study may be made.
        executor: Where schedules are evaluated.
        calibration: What the search sees.
        certify: What a certificate is proven on; None where the file names nothing.
        held_out: What reports and the end of a search see; None where the file names nothing.
        unchecked: Sets that may yet share images: that is looked at while workers elsewhere load
            the model.
    """

    config: StudyConfig
    folder: Path
    store: str | os.PathLike[str]
    create: bool
    executor: str | MakeExecutor
    calibration: SampleSet
    certify: SampleSet | None
    held_out: SampleSet | None
    unchecked: Mapping[Split, SampleSet]

    def open(
        self,
        *,
        trust_remote_code: bool = False,
        prefix_bytes: int | None = None,
        store_patience: float | None = None,
        apart: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> "Study":
        """Load the model and open the study.

        Args:
            trust_remote_code: Let transformers run code that comes with the model.
            prefix_bytes: As for `open_study`.
            store_patience: As for `open_study`.
            apart: As for `open_study`.
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
            executor=self._checking(progress) if self.unchecked else self.executor,
            store_patience=store_patience,
            apart=apart,
            progress=progress,
        )

    def _checking(self, progress: Progress | None) -> MakeExecutor:
        """What makes the executor, and sees that the sets are apart while its workers open."""
        make = EXECUTORS[self.executor] if isinstance(self.executor, str) else self.executor

        def made(open_worker: Callable[[], Worker]) -> Executor:
            workers = make(open_worker)
            try:
                _check_apart(self.unchecked, progress)
            except BaseException:
                workers.close()
                raise
            return workers

        return made


def prepare(
    config: StudyConfig,
    folder: Path,
    store: str | os.PathLike[str],
    *,
    create: bool = True,
    run: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Check all that a study file names, but for its model; torch is not imported.

    Args:
        config: Content of the file.
        folder: Folder of the file.
        store: SQLite file, or the URL of a database.
        create: Whether the study may be made.
        run: What takes the place of its section `run`, as `chosen` takes it.
        progress: Called with the name of what takes long, and its result with (done, total).

    Raises:
        InputError: Something cannot be used, or the study is missing and must not be made.
    """
    executor = chosen(config.run, **(run or {}))
    find_model = model_place if executor == LOCAL else model_elsewhere
    find_model(config.model, folder)
    if (found := look(store, config.study, create)) is not None:
        found.close()
    config.search.check_files(folder)
    _rankers(config)
    metric = make_metric(config.metric, config.metric_params)
    if config.data.certifies:
        check_provable(metric.name, metric.least, metric.greatest)
        asked = config.certify or CertifyConfig()
        demands_of(config.search.plain(), asked.tolerance, asked.tasks)
    elif config.certify is not None:
        check_certify(config)
    sets = _sets(config, folder, progress)
    for samples in sets.values():
        check_answers(samples, metric)
    check_size(len(sets["calibration"]))
    parted = config.data.shares is not None or len(sets) == 1  # parts of one set are apart
    if not parted and executor == LOCAL:
        _check_apart(sets, progress)
    return Prepared(
        config,
        folder,
        store,
        create,
        executor,
        sets["calibration"],
        sets.get("certify"),
        sets.get("held-out"),
        {} if parted or executor == LOCAL else sets,
    )


def check_certify(config: StudyConfig) -> None:
    """Refuse a study file with nothing to prove a certificate on.

    Raises:
        InputError: It names no certify set.
    """
    if not config.data.certifies:
        raise InputError(
            "the study file names no `data.certify` and no `data.shares.certify`; add samples that "
            "the search has never seen"
        )


def check_held_out(config: StudyConfig) -> None:
    """Refuse a study file with nothing to compare schedules on.

    Raises:
        InputError: It names no held-out set.
    """
    if not config.data.compares:
        raise InputError("the study file names no `data.held_out`; add it to compare schedules")


def _rankers(config: StudyConfig) -> tuple[RankerSpec, ...]:
    return rankers_of(config.ranker, config.ranker_params, config.search.first)


def _sets(config: StudyConfig, folder: Path, progress: Progress | None) -> dict[Split, SampleSet]:
    """The sets of a study file, the calibration set first."""
    data = config.data
    images = place_of(data.images, folder) if data.images else None

    def opened(split: Split, name: str | None, limit: int | None, key: str) -> None:
        if name is not None:
            ref = DataRef(name, limit, images, folder, f"data.{key}_samples")
            sets[split] = used_as(open_samples(ref, split, progress), split)

    sets: dict[Split, SampleSet] = {}
    opened("calibration", data.calibration, data.calibration_samples, "calibration")
    opened("certify", data.certify, data.certify_samples, "certify")
    opened("held-out", data.held_out, data.held_out_samples, "held_out")
    if data.shares is not None:
        looking = progress("looking at images") if progress else None
        parts = split_samples(
            sets["calibration"], data.shares.given(), config.seed, on_progress=looking
        )
        return {samples.split: samples for samples in parts.values()}
    return sets


def _check_apart(sets: Mapping[Split, SampleSet], progress: Progress | None) -> None:
    seen: dict[Split, Images] = {}
    bars = [progress(f"looking at {split} images") if progress else None for split in sets]
    for (split, samples), bar in zip(sets.items(), bars, strict=True):
        images = images_of(samples, bar)
        if split != "calibration":
            check_apart(seen, split, images)
        seen[split] = images

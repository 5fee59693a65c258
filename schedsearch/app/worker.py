"""From what a study names to the worker that evaluates it, wherever that is opened."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schedsearch.app.bootstrap import (
    DataRef,
    model_elsewhere,
    open_model,
    open_samples,
    samples_elsewhere,
)
from schedsearch.app.sample_size import check_size
from schedsearch.core.sample import SampleSet, used_as
from schedsearch.core.schedule import RankerSpec
from schedsearch.errors import InputError
from schedsearch.evaluation.metrics import Metric, check_answers

if TYPE_CHECKING:
    from schedsearch.evaluation.worker import ModelWorker


@dataclass(frozen=True)
class WorkerSpec:
    """How a worker comes to be, also in another process, of which the model alone must be a name.

    Pickled, it has the samples of its data with it, since no file need be there, and the place of a
    model's folder, which must.

    Attributes:
        model: Name of a model, or a transformers model.
        metric: What is measured.
        data: The calibration set, by name or as it is.
        rankers: Of a search, for which there must be enough data; none where nothing is searched.
        first: Of a search, the first layer that may process fewer vision tokens than there are.
        processor: Of a model that is handed in.
        folder: What the name of the model is relative to.
        loading: Passed on to `load_model`.
        prefix_bytes: As `Evaluator` has it.
        called: What users call the model, where `model` is the place of it.
    """

    model: Any
    metric: Metric
    data: SampleSet | DataRef
    rankers: tuple[RankerSpec, ...] = ()
    first: int = 2
    processor: Any = None
    folder: Path = Path()
    loading: Mapping[str, Any] = field(default_factory=dict)
    prefix_bytes: int | None = None
    called: str = ""

    def __getstate__(self) -> dict[str, Any]:
        if not isinstance(self.model, (str, os.PathLike)):
            raise InputError(
                "`model` must be a name or a folder where workers are other processes, but got a "
                f"model object ({type(self.model).__name__}), which cannot be sent to them; save "
                "it with its processor (`save_pretrained`) and name the folder"
            )
        place = model_elsewhere(str(self.model), self.folder)
        data = samples_elsewhere(self.data, "calibration")
        return {**self.__dict__, "model": place, "called": self.name, "data": data}

    @property
    def name(self) -> str:
        """What users call the model."""
        if self.called:
            return self.called
        if isinstance(self.model, (str, os.PathLike)):
            return str(self.model)
        return getattr(self.model.config, "_name_or_path", "") or type(self.model).__name__

    def open(self) -> "ModelWorker":
        """Read the data, then load the model.

        Raises:
            InputError: The data, the ranker or the model cannot be used.
        """
        samples = self.data
        if isinstance(samples, DataRef):
            samples = open_samples(samples, "calibration")
        samples = used_as(samples, "calibration")
        check_answers(samples, self.metric)
        if self.rankers:
            check_size(len(samples))
        from schedsearch.evaluation.worker import ModelWorker
        from schedsearch.models.wrappers import unwrapped
        from schedsearch.reduction.rankers import make_ranker

        reading = [one.name for one in self.rankers if make_ranker(one).reads_attention]
        if self.first == 0 and reading:
            raise InputError(
                f"`first` must be at least 1 with ranker {reading[0]}, which reads the attention "
                "of the layer before a cut, but got 0; raise it, or choose diverse or tower"
            )
        if isinstance(self.model, (str, os.PathLike)):
            model, own = open_model(str(self.model), self.folder, **self.loading)
        else:
            model, own = unwrapped(self.model), None
        if reading:
            self._check_first(model)
        processor = self.processor or own
        sets = [samples]
        return ModelWorker(
            model, processor, self.metric, self.name, sets, max_prefix_bytes=self.prefix_bytes
        )

    def _check_first(self, model: Any) -> None:
        from schedsearch.models.adapters import adapter_for

        adapter, first = adapter_for(model), self.first
        layers = range(adapter.shape(model).layers)
        able = [layer for layer in layers if adapter.ranking_layer(model, layer) is not None]
        if first < len(layers) and first not in able:
            later = (
                f"`first` must be at least {min(able)}" if able else "`ranker` must be without it"
            )
            raise InputError(
                f"{later}, but got {first}: no layer of {adapter.architecture(model)} before that "
                "one attends to the whole prompt, so its attention cannot rank the tokens; diverse "
                "ranks without"
            )

"""The specification of a study: what is searched, on what, and how."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from schedsearch.core.canonical import digest
from schedsearch.core.plugin import ParamValue, PlugIn
from schedsearch.core.schedule import RankerSpec
from schedsearch.errors import InputError


@dataclass(frozen=True)
class StudySpec:
    """Everything that determines which questions a search asks and how they are answered.

    The same spec continues a study; another one under the same name is refused. What may change
    between two runs of one study (workers, time limits, places) is therefore not in here.

    Attributes:
        name: Unique in a store.
        model: Hub id or folder.
        revision: Of the model, where it comes from a hub.
        weights: Fingerprint of the model's weights, so that a name cannot change its meaning.
        dtype: That the model is loaded in; `auto` where that is left to the device.
        quantization: `8bit` or `4bit`, where the weights are quantised on loading.
        calibration: Name of the calibration set.
        calibration_digest: Its content, as `SampleSet.digest` gives it.
        metric: Name of the metric; larger is better.
        sampler: Asks the questions; acceptance and tolerance of G-Search are its parameters.
        family: Turns what the sampler chose into a schedule.
        ranker: Orders the vision tokens.
        questions: How many questions are asked at once, whatever the number of workers.
        seed: Of everything random.
    """

    name: str
    model: str
    calibration: str
    calibration_digest: str
    metric: str
    sampler: PlugIn
    family: PlugIn = PlugIn("layerwise")
    ranker: RankerSpec = RankerSpec()
    revision: str | None = None
    weights: str | None = None
    dtype: str = "auto"
    quantization: str | None = None
    questions: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("name", "model", "calibration", "calibration_digest", "metric"):
            if not getattr(self, field):
                raise InputError(f"`{field}` must not be empty; name it")
        if self.questions < 1:
            raise InputError(
                f"`questions` must be at least 1, but got {self.questions}; ask one at a time "
                f"or more"
            )

    def digest(self) -> str:
        """Return the SHA-256 (hex) of all fields: equal specs, equal digests."""
        return digest(dict(self._leaves()))

    def difference(
        self, other: "StudySpec"
    ) -> list[tuple[str, ParamValue | None, ParamValue | None]]:
        """Return (path, own value, other's value) for each difference, sorted by path.

        A plug-in's parameter that is not set has the value None.
        """
        own, others = dict(self._leaves()), dict(other._leaves())
        return [
            (path, own.get(path), others.get(path))
            for path in sorted({*own, *others})
            if own.get(path) != others.get(path)
        ]

    def _leaves(self) -> Iterator[tuple[str, Any]]:
        for field, value in vars(self).items():
            if isinstance(value, PlugIn):
                yield f"{field}.name", value.name
                yield from ((f"{field}.params.{name}", item) for name, item in value.params)
            else:
                yield field, value

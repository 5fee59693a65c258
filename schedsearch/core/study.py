"""The specification of a study: what is searched, on what, and how."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from schedsearch.core.canonical import digest
from schedsearch.core.facts import Facts
from schedsearch.core.schedule import RankerSpec
from schedsearch.core.shown import shown
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
        search: Settings of the sampler, which asks the questions, as JSON has them: the `search`
            section of a study file with everything resolved. `sampler` is its name.
        facts: What the sampler knows of model and calibration set.
        ranker: Orders the vision tokens.
        rankers: Those of which the search finds out which one does it best, `ranker` the first;
            empty where there is nothing to find out.
        seed: Of everything random.
    """

    name: str
    model: str
    calibration: str
    calibration_digest: str
    metric: str
    search: Mapping[str, Any]
    facts: Facts
    ranker: RankerSpec = RankerSpec()
    revision: str | None = None
    weights: str | None = None
    dtype: str = "auto"
    quantization: str | None = None
    seed: int = 0
    rankers: tuple[RankerSpec, ...] = ()

    def __post_init__(self) -> None:
        different = len(set(self.rankers)) == len(self.rankers) > 1
        if self.rankers and not (different and self.rankers[0] == self.ranker):
            raise InputError(
                f"`rankers` must be several and begin with `ranker`, each once, but got "
                f"{', '.join(one.words for one in self.rankers)}; leave them out where there is one"
            )
        for field in ("name", "model", "calibration", "calibration_digest", "metric"):
            if not getattr(self, field):
                raise InputError(f"`{field}` must not be empty; name it")
        sampler = self.search.get("sampler")
        if not isinstance(sampler, str) or not sampler:
            raise InputError(
                f"`search.sampler` must be the name of a sampler, but got {shown(sampler)}; name it"
            )
        object.__setattr__(self, "search", _canonical("search", self.search))

    @property
    def spent(self) -> float:
        """What the search has cost before its trials, in full passes over the calibration set."""
        return float(self.search.get("spent", 0.0))

    def plain(self) -> dict[str, Any]:
        """Return all fields as JSON has them."""
        plain = {**vars(self), "facts": self.facts.plain(), "ranker": _plain(self.ranker)}
        del plain["rankers"]  # a study of one ranker is written as before there were several
        return plain | ({"rankers": list(map(_plain, self.rankers))} if self.rankers else {})

    def digest(self) -> str:
        """Return the SHA-256 (hex) of all fields: equal specs, equal digests."""
        return digest(self.plain())

    def difference(self, other: "StudySpec") -> list[tuple[str, Any, Any]]:
        """Return (path, own value, other's value) for each difference, sorted by path.

        What is not set has the value None.
        """
        return sorted(_differences("", self.plain(), other.plain()), key=lambda found: found[0])

    def filled(self, given: "StudySpec") -> "StudySpec":
        """Return the specification with the facts that it lacks, from one that has them."""
        return replace(self, facts=self.facts.filled(given.facts))


def _plain(ranker: RankerSpec) -> dict[str, Any]:
    return {"name": ranker.name, "params": dict(ranker.params)}


def _canonical(path: str, value: Any) -> Any:
    """Return a value such that equal ones are written equally: 2.0 becomes 2, and None nothing."""
    if isinstance(value, Mapping):
        found = {key: _canonical(f"{path}.{key}", item) for key, item in value.items()}
        return {key: item for key, item in found.items() if item is not None}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_canonical(f"{path}[{at}]", item) for at, item in enumerate(value)]
    if value is None or isinstance(value, (str, int)):
        return value
    if not isinstance(value, float) or not math.isfinite(value):
        raise InputError(
            f"`{path}` must be a finite number, a text, or lists and mappings of them, but got "
            f"{shown(value)}; correct it"
        )
    return int(value) if value.is_integer() else value


def _differences(path: str, own: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(own, Mapping) and isinstance(other, Mapping):
        for key in {**own, **other}:
            at = f"{path}.{key}" if path else key
            yield from _differences(at, own.get(key), other.get(key))
    elif isinstance(own, list) and isinstance(other, list) and len(own) == len(other):
        for at, (one, two) in enumerate(zip(own, other, strict=True)):
            yield from _differences(f"{path}[{at}]", one, two)
    elif own != other:
        yield path, own, other

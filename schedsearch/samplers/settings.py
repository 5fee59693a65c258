"""Settings of samplers: what a study file says, a store keeps, and a sampler is made from.

Nothing here loads what samplers need to ask.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field

from schedsearch.core.facts import Facts
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.section import Count, Layer, Section, Tokens
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Trial
from schedsearch.errors import InputError
from schedsearch.samplers.sampler import StudySampler

Divergences = Callable[[Sequence[Schedule], int], tuple[list[float], float]]
"""From schedules, under the study's ranker, and a number of samples, those that come first, to the
mean KL divergence from the full model of each, and what that has cost in full passes."""

Spent = Annotated[float, Field(ge=0)] | None


@dataclass(frozen=True)
class Surroundings:
    """What the settings of a search leave to be found out when its study is opened.

    Attributes:
        subject: The model and the calibration set.
        result: The best trial of another study in the same store, by name.
        attention: Counts of each layer that the full model's attention suggests; by default none.
        divergences: Measures how far schedules are from the full model, on few samples.
        folder: What names of files are relative to.
        former: Settings of the study itself, as the store keeps them; None of a new one.
    """

    subject: Subject
    result: Callable[[str], Trial | None]
    attention: Callable[[], list[int]]
    divergences: Divergences
    folder: Path = Path()
    former: Mapping[str, Any] | None = None


class SamplerSettings(Section, ABC):
    """Settings of one sampler; those of a sampler of your own derive from this.

    Attributes:
        sampler: Name of the sampler.
        spent: What single cuts have cost, in full passes over the calibration set; left out:
            measured with them, where they are asked for.
    """

    sampler: str

    if TYPE_CHECKING:
        # Every sampler has these; where they stand among the keys is for each to say.
        first: int
        concurrent_trials: int
        spent: Spent

    @abstractmethod
    def make(self, facts: Facts, ranker: RankerSpec, seed: int) -> StudySampler:
        """Return the sampler.

        Args:
            facts: What is known of model and calibration set.
            ranker: Orders the vision tokens.
            seed: Of everything random.

        Raises:
            InputError: A setting is out of its range, or a fact that is needed is not known.
        """

    @classmethod
    def named(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return settings of a program with names in place of the objects that these may be."""
        return given

    def resolved(self, _around: Surroundings) -> Self:
        """Return the settings with all that follows from model, data, files and other studies.

        Raises:
            InputError: Something that they name cannot be used.
        """
        return self

    def check_files(self, _folder: Path) -> None:
        """Read the files that the settings name, relative to a folder, and forget them.

        Raises:
            InputError: One cannot be used.
        """

    def plain(self) -> dict[str, Any]:
        """Return the settings as JSON has them, without what is left out."""
        return self.model_dump(mode="json", exclude_none=True)


class GSearchSettings(SamplerSettings):
    """G-Search: the least vision tokens for every layer without loss.

    Attributes:
        sampler: Who searches; left out: `g-search`.
        acceptance: `drop`: the mean drop of the metric, full model minus schedule on the same
            samples, must be within the tolerance; `confident`: its one-sided 95 % upper bound must.
        tolerance: The greatest drop that is accepted, in units of the metric. One lost answer of n
            weighs 1/n; less than that accepts none.
        method: How a layer's count is looked for.
        first: First layer that may process fewer vision tokens than there are.
        max_passes: The most passes over the layers.
        floor: The fewest vision tokens of any layer.
        concurrent_trials: How many schedules are open at once.
        screens: Numbers of samples on which schedules are tried before all; left out: a twelfth.
        guess: Expected count of each layer, or who finds it when the study begins: `attention`, by
            the full model's attention, or `additive`, by what single cuts cost on 50 samples. A
            wrong guess costs time alone.
        slack: Layers share a count as long as it could not fall by more than this share of it.
        spread: Spread the tolerance over the layers: each may use its share of it and what those
            above have left; left out: the first layers may use it all.
        noise: How many standard errors of chance, as often for better as for worse, a drop must
            lie above the tolerance to reject; for metrics between 0 and 1, where a certificate
            follows; left out: none.
        on_failure: Whether a failed trial ends the run, or counts as rejected.
    """

    sampler: Literal["g-search"] = "g-search"
    acceptance: Literal["drop", "confident"] = "drop"
    tolerance: Annotated[float, Field(ge=0)]
    method: Literal["gallop", "bisection", "scan"] = "gallop"
    first: Layer = 2
    max_passes: Count = 1
    floor: Tokens = 0
    concurrent_trials: Count = 1
    screens: list[Count] | None = None
    guess: list[Tokens] | Literal["attention", "additive"] = []
    slack: Annotated[float, Field(ge=0, lt=1)] = 0.0
    spread: bool | None = None
    noise: Annotated[float, Field(ge=0)] | None = None
    on_failure: Literal["stop", "continue"] = "stop"
    spent: Spent = None

    def make(self, facts: Facts, ranker: RankerSpec, seed: int) -> StudySampler:  # noqa: ARG002
        """Return the sampler; it draws nothing at random."""
        from schedsearch.samplers.greedy import GSearch

        return GSearch(**self._made_from(facts, ranker))

    def _made_from(self, facts: Facts, ranker: RankerSpec) -> dict[str, Any]:
        if isinstance(self.guess, str):
            raise InputError(
                f"`guess` must be counts by now, but got {self.guess!r}; open the study"
            )
        return {
            "layers": facts.layers,
            "n_max": max(facts.n_visions),
            "n_visions": facts.n_visions,
            "ranker": ranker,
            "screens": tuple(self.screens or ()),
            "guess": tuple(self.guess),
            **self.model_dump(exclude={"sampler", "screens", "guess", "spent"}, exclude_none=True),
        }

    def resolved(self, around: Surroundings) -> Self:
        """Return the settings with `screens` and `guess` as numbers.

        A study that exists keeps what single cuts have suggested.

        Raises:
            InputError: A screen is not fewer than the samples, or `noise` is set and the metric is
                none between 0 and 1.
            RunError: A single cut cannot be evaluated.
        """
        screens, subject = self.screens, around.subject
        if self.noise and (subject.least, subject.greatest) != (0, 1):
            raise InputError(
                f"`noise` needs a metric between 0 and 1, but the scores of this one lie between "
                f"{subject.least:g} and {subject.greatest:g}; leave it out, choose another metric, "
                "or give a `FunctionMetric` its `least` and `greatest`"
            )
        if screens is None:
            gallops = self.method == "gallop" and math.isfinite(subject.greatest)
            screens = default_screens(len(subject.ids)) if gallops else []
        for screen in screens:
            if screen >= len(subject.ids):
                raise InputError(
                    f"`screens` must be fewer than the {len(subject.ids)} calibration samples, but "
                    f"got {screen}; leave it out for a twelfth of them"
                )
        found = self.model_copy(update={"screens": screens})
        if self.guess == "attention":
            return found.model_copy(update={"guess": around.attention()})
        return found.model_copy(update=self._cut(around)) if self.guess == "additive" else found

    def _cut(self, around: Surroundings) -> dict[str, Any]:
        """Return `guess` by single cuts, and what these have `spent`."""
        from schedsearch.samplers.single_cuts import SingleCuts

        former, subject = around.former or {}, around.subject
        if former.keys() >= {"guess", "spent"}:
            return {key: former[key] for key in ("guess", "spent")}
        cuts, spent = SingleCuts.measured(around.divergences, subject.shape.layers, self.first)
        return {"guess": cuts.needs(max(subject.n_visions)), "spent": spent}


def default_screens(samples: int) -> list[int]:
    """How many samples are asked before all of them, where the user does not say.

    A screen saves work because it can reject, which needs a bounded metric.
    """
    return [samples // 12] if samples // 12 >= _FEWEST else []


# A smaller screen saves nothing: its batches would hardly fill a processor.
_FEWEST = 8

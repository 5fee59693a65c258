"""What a sampler is: from what is known of a study to the questions that come next.

To add one: in its own file a class with the members of `StudySampler` and the settings that make it
(see settings.py), and the settings' line in SAMPLERS (`__init__.py`), which the tests of all
samplers read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from schedsearch.core.plugin import ParamValue
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Trial

OnFailure = Literal["stop", "continue"]


@dataclass(frozen=True)
class Question:
    """A schedule to evaluate.

    Attributes:
        params: The parameters by which the sampler chose it.
        schedule: What they stand for.
        samples: How many samples suffice, besides all that can gain on keep-all, in reading order;
            None for all samples.
    """

    params: Mapping[str, ParamValue]
    schedule: Schedule
    samples: int | None = None


@dataclass(frozen=True)
class Status:
    """Where a search stands, for people.

    Attributes:
        phase: What is being done, in a word or two.
        asked: Different questions so far, running ones included.
        rounds_left: Estimate of the rounds still to ask, the present one included; None where
            the sampler cannot know.
        layer: The layer at work, for samplers that go layer by layer.
        bracket: Least and greatest count that may still be its answer, both included.
    """

    phase: str
    asked: int
    rounds_left: int | None = None
    layer: int | None = None
    bracket: tuple[int, int] | None = None


class Sampler(Protocol):
    """Chooses what to evaluate.

    A sampler holds its settings and nothing else. Every answer is a pure function of them and of
    the history, in whatever order the history's rows come, so a crash costs nothing: what was
    asked is asked again from the rows that are left. How many questions come at once is a setting
    too and does not depend on who answers them.
    """

    @property
    def name(self) -> str:
        """The name under which studies ask for it."""

    @property
    def concurrent_trials(self) -> int:
        """How many are at work at once."""

    @property
    def noise(self) -> float:
        """How many standard errors of `chance` it takes off every drop; 0 for none."""

    def ask(self, history: Sequence[Trial]) -> Sequence[Question]:
        """Return the questions to open now; none while running trials must answer first.

        No question repeats one that a trial has answered or is about to answer.

        Raises:
            InputError: The history shows that the search cannot succeed as it was set up.
            RunError: A trial without which nothing can be decided has failed.
        """

    def finished(self, history: Sequence[Trial]) -> bool:
        """Say whether no question will follow."""

    def hopeless(self, history: Sequence[Trial], trial: Trial, least_drop: float) -> bool:
        """Say whether a running trial can be stopped, because its remaining samples decide nothing.

        Args:
            history: Without the trial's own outcome.
            trial: The running trial.
            least_drop: The least that its drop over all samples can still become, in units of the
                metric: every sample without a score is taken to get the metric's greatest value,
                and `noise` is taken off.
        """

    def best(self, history: Sequence[Trial]) -> Trial | None:
        """Return the complete trial whose schedule is the result so far; None before the first."""

    def status(self, history: Sequence[Trial]) -> Status:
        """Return where the search stands."""


class StudySampler(Sampler, Protocol):
    """What a study knows of its sampler, whichever it is."""

    @property
    def layers(self) -> int:
        """Decoder layers of the model."""

    @property
    def n_max(self) -> int:
        """The most vision tokens of a calibration sample."""

    @property
    def first(self) -> int:
        """First layer that may process fewer vision tokens than there are."""

    @property
    def screens(self) -> tuple[int, ...]:
        """Numbers of samples on which schedules are tried first."""

    @property
    def on_failure(self) -> OnFailure:
        """Whether a failed trial ends the run."""

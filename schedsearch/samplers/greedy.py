"""G-Search: the least number of vision tokens for every layer, from shallow to deep."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from schedsearch.core.schedule import RankerSpec, Schedule, reducible_layers
from schedsearch.core.space import Parameter
from schedsearch.core.trial import Trial, TrialState
from schedsearch.errors import InputError, RunError
from schedsearch.samplers.acceptance import Acceptance, Rule
from schedsearch.samplers.descent import Counts, Descent, Method, Round
from schedsearch.samplers.nesting import Nesting, count_violations
from schedsearch.samplers.sampler import Question, Status

OnFailure = Literal["stop", "continue"]

# Which of several trials of one schedule answers: a retry says more than what failed before it.
_PRECEDENCE = (
    TrialState.COMPLETE,
    TrialState.PRUNED,
    TrialState.RUNNING,
    TrialState.WAITING,
    TrialState.FAIL,
)


@dataclass(frozen=True)
class _Standing:
    """How far the history answers.

    Attributes:
        round: The first round with an open question; None where there is none.
        settled: The counts of the result so far; None where keep-all itself is not accepted.
        trials: The trial that answers, or will, by counts.
        asked: Different questions that have a trial.
    """

    round: Round | None
    settled: Counts | None
    trials: Mapping[Counts, Trial]
    asked: int


@dataclass(frozen=True, kw_only=True)
class GSearch:
    """Settles layer after layer at the least count that is accepted (2412.00556, Scenario I).

    The first question is keep-all. Then, for layer l = `first`, `first` + 1, ...: the least count
    such that the settled counts before l, followed by this count from l to the last layer, are
    accepted. Wherever keeping more is never worse this is the lexicographically least accepted
    schedule among those that never grow with depth, and no later pass moves it. Elsewhere the
    result is still accepted itself; later passes then lower the count of one layer alone, from
    deep to shallow, until nothing moves.

    A round cuts what is left evenly by `questions` counts. Differs: the paper solves each layer
    by Bayesian optimisation; here an answer is yes or no, for which bisection asks least.

    The parameters of a question are `pass` (0: keep-all), `layer`, and `count`, the tokens kept
    of `n_max`: from that layer to the last in pass 1, in that layer alone in later ones.

    Attributes:
        layers: Decoder layers of the model.
        n_max: The most vision tokens of a calibration sample; ratios are multiples of 1 / n_max.
        n_visions: The numbers of vision tokens in the calibration set, `n_max` among them; empty
            if it is the only one. A trial answers a question when it keeps the same counts for
            all of them.
        first: First layer that may process fewer vision tokens than there are.
        ranker: Orders the tokens.
        acceptance: The rule of `Acceptance`.
        tolerance: The tolerance of `Acceptance`.
        method: `bisection`, or `scan`: from the least count upwards, which finds the least
            accepted count even where a greater one is rejected.
        questions: How many are asked at once.
        max_passes: The most passes over the layers.
        floor: The least count of any layer.
        on_failure: With `continue` a failed trial counts as rejected. With `stop` it answers
            nothing, so that the search asks again when it is run again.

    Raises:
        InputError: A setting is out of its range.
    """

    layers: int
    n_max: int
    n_visions: tuple[int, ...] = ()
    first: int = 2
    ranker: RankerSpec = RankerSpec()
    acceptance: Rule = "drop"
    tolerance: float = 0.0
    method: Method = "bisection"
    questions: int = 1
    max_passes: int = 1
    floor: int = 0
    on_failure: OnFailure = "stop"

    name: ClassVar[str] = "g-search"

    def __post_init__(self) -> None:
        reducible_layers(self.first, self.layers)
        for name, least in (("n_max", 1), ("questions", 1), ("max_passes", 1)):
            Parameter(name, least, math.inf, integer=True).check(getattr(self, name))
        Parameter("floor", 0, self.n_max, integer=True).check(self.floor)
        _choose("method", self.method, ("bisection", "scan"))
        _choose("on_failure", self.on_failure, ("stop", "continue"))
        if self.n_visions and max(self.n_visions) != self.n_max:
            raise InputError(
                f"`n_max` must be the greatest of `n_visions`, {max(self.n_visions)}, but got "
                f"{self.n_max}; take both from the calibration set"
            )
        Acceptance(self.acceptance, self.tolerance)

    def ask(self, history: Sequence[Trial]) -> list[Question]:
        """Return the questions of the present round that have no trial yet.

        Raises:
            InputError: Keep-all is not accepted against itself.
            RunError: Keep-all has failed, and `on_failure` is `continue`.
        """
        standing = self._replay(history)
        if standing.settled is None:
            raise self._refusal(standing.trials[(self.n_max,) * self.layers])
        if standing.round is None:
            return []
        here = standing.round
        return [
            Question(
                {"pass": here.number, "layer": here.layer, "count": count},
                Schedule.from_counts(candidate, self.n_max, self.ranker),
            )
            for count, candidate in zip(here.tries, here.candidates, strict=True)
            if candidate not in standing.trials
        ]

    def finished(self, history: Sequence[Trial]) -> bool:
        """Say whether every layer is settled."""
        standing = self._replay(history)
        return standing.round is None and standing.settled is not None

    def best(self, history: Sequence[Trial]) -> Trial | None:
        """Return the complete, accepted trial with the counts settled so far."""
        standing = self._replay(history)
        trial = standing.trials.get(standing.settled or ())
        return trial if trial and trial.state is TrialState.COMPLETE else None

    def status(self, history: Sequence[Trial]) -> Status:
        """Return where the search stands; `rounds_left` looks to the end of the present pass."""
        standing = self._replay(history)
        here = standing.round
        if here is None:
            return Status("refused" if standing.settled is None else "finished", standing.asked, 0)
        left = self._descent.rounds_left(here)
        if here.number == 0:
            return Status("keep-all", standing.asked, left)
        bracket = (here.low + 1, here.high)
        return Status(f"pass {here.number}", standing.asked, left, here.layer, bracket)

    def nesting(self, history: Sequence[Trial]) -> Nesting:
        """Return how often a schedule was accepted although one that keeps more was not."""
        verdicts = {
            counts: self._rule.accepts(trial.measurement)
            for counts, trial in self._index(history).items()
            if trial.measurement is not None and trial.measurement.drop is not None
        }
        return count_violations(list(verdicts), list(verdicts.values()))

    @property
    def _rule(self) -> Acceptance:
        return Acceptance(self.acceptance, self.tolerance)

    @property
    def _descent(self) -> Descent:
        return Descent(
            self.layers,
            self.n_max,
            self.first,
            self.method,
            self.questions,
            self.max_passes,
            self.floor,
        )

    def _replay(self, history: Sequence[Trial]) -> _Standing:
        """Walk on the answers in the history, up to the first that is missing."""
        trials = self._index(history)
        rule = self._rule
        asked: set[Counts] = set()
        rounds = self._descent.rounds()
        here = next(rounds)
        while True:
            asked.update(trials.keys() & here.candidates)
            answers = [trials[c] for c in here.candidates if c in trials]
            if sum(trial.state.finished for trial in answers) < len(here.candidates):
                return _Standing(here, here.settled, trials, len(asked))
            try:
                here = rounds.send([_accepted(rule, trial) for trial in answers])
            except StopIteration as end:
                return _Standing(None, end.value, trials, len(asked))

    def _index(self, history: Sequence[Trial]) -> dict[Counts, Trial]:
        """Return the trial that answers, or will, by its counts."""
        trials = [
            trial
            for trial in history
            if self.on_failure == "continue" or trial.state is not TrialState.FAIL
        ]
        # The one that says most comes last and stays.
        trials.sort(key=lambda t: (_PRECEDENCE.index(t.state), t.number), reverse=True)
        index = {self._counts(trial.schedule): trial for trial in trials}
        return {counts: trial for counts, trial in index.items() if counts is not None}

    def _counts(self, schedule: Schedule) -> Counts | None:
        """Return the schedule's counts at `n_max`; None if it is no evaluation on the grid."""
        if schedule.ranker != self.ranker or schedule.layers != self.layers:
            return None
        counts = schedule.counts(self.n_max)
        if schedule.keep == tuple(count / self.n_max for count in counts):
            return counts
        on_grid = Schedule.from_counts(counts, self.n_max, self.ranker)
        return counts if schedule.same_evaluation(on_grid, self.n_visions) else None

    def _refusal(self, trial: Trial) -> InputError | RunError:
        if trial.measurement is None:
            return RunError(
                f"keep-all could not be measured: {trial.reason}; every comparison needs it: "
                f"remove the cause, then search under a new study name"
            )
        return InputError(
            f"keep-all must be accepted against itself, but its loss is "
            f"{self._rule.loss(trial.measurement):g} at a tolerance of {self.tolerance:g}; "
            f"calibrate on at least 2 samples"
        )


def _accepted(rule: Acceptance, trial: Trial) -> bool:
    """Say whether a finished trial is accepted; pruned means that it no longer could be."""
    return trial.measurement is not None and rule.accepts(trial.measurement)


def _choose(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"`{name}` must be {' or '.join(known)}, but got {value!r}; choose one")

"""G-Search: the least number of vision tokens for every layer, from shallow to deep."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import ClassVar

from schedsearch.core.plugin import ParamValue
from schedsearch.core.schedule import RankerSpec, reducible_layers
from schedsearch.core.shown import shown
from schedsearch.core.space import Parameter
from schedsearch.core.trial import Trial, TrialState
from schedsearch.errors import InputError, RunError
from schedsearch.samplers.acceptance import Acceptance, Rule
from schedsearch.samplers.answers import Answers, Grid
from schedsearch.samplers.descent import Descent
from schedsearch.samplers.ledger import Verdict
from schedsearch.samplers.narrowing import Counts, Method, Round
from schedsearch.samplers.nesting import Nesting, count_violations
from schedsearch.samplers.sampler import OnFailure, Question, Status


@dataclass(frozen=True)
class _Standing:
    """How far the history answers.

    Attributes:
        round: The first round with an open question; None where there is none.
        settled: The counts of the result so far; None where keep-all itself is not accepted.
        answers: What the history says.
        asked: Different questions that have a trial.
        spent: Rounds of the same pass before this one.
    """

    round: Round | None
    settled: Counts | None
    answers: Answers
    asked: int
    spent: int


@dataclass(frozen=True, kw_only=True)
class GSearch:
    """Settles layer after layer at the least count that is accepted (2412.00556, Scenario I).

    The first question is keep-all. Then, for layer l = `first`, `first` + 1, ...: the least count
    such that the settled counts before l, followed by this count from l to the last layer, are
    accepted. Wherever keeping more is never worse this is the lexicographically least accepted
    schedule among those that never grow with depth, and no later pass moves it. Elsewhere the
    result is still accepted itself; later passes then lower the count of one layer alone, from
    deep to shallow, until nothing moves.

    Differs: the paper solves each layer by Bayesian optimisation; here an answer is yes or no, and
    one line of counts is searched as `Narrowing` says. With `screens` most questions go to a
    few samples, which can reject a schedule for sure, but never accept it: what is rejected on a
    part, whatever the other samples would give, would be rejected on the whole.

    The parameters of a question are `pass` (0: keep-all), `layer`, and `count`, the tokens kept
    of `n_max`: from that layer to the last in pass 1, in that layer alone in later ones; and
    `samples` where not all samples are asked.

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
        method: `gallop` starts where the layer before, or `guess`, lets one expect the count.
            It asks what bisection asks as soon as it has cost noticeably more.
            `bisection` halves the whole grid for every layer; without screens its result is the
            one of a search that measures everything, even where a greater count is rejected and a
            smaller one accepted. `scan` goes from the least count upwards, which
            finds the least accepted count even where a greater one is rejected.
        concurrent_trials: How many are open at once.
        max_passes: The most passes over the layers.
        floor: The least count of any layer.
        screens: Numbers of samples, ascending and fewer than there are, on which counts are tried
            first, besides all that can gain on keep-all. Under nesting they change the cost of
            the search alone; `gallop` leaves out those that do not pay.
        guess: The expected count of each layer, from an earlier schedule for example; empty where
            nothing is expected. It changes nothing but the cost either; `gallop` alone uses it.
        slack: With 0 every layer gets the least count of its own. With more, layers share the
            count of a layer above as long as it could not fall by more than this share of it; the
            first to which that does not apply is found by bisection over depth. Under nesting no
            layer then keeps more than its need / (1 - slack). For deep models: the number of
            questions grows with the logarithm of the depth.
        spread: Whether the tolerance is spread over the layers: in the first pass, layer l may let
            the drop grow to its share, (l - first + 1) / (layers - first), so that shallow layers
            leave deep ones something to lose.
        noise: How many standard errors of chance (`Measurement.chance`) a drop must lie above the
            tolerance to reject. Galloping then asks the least count of a layer first.
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
    method: Method = "gallop"
    concurrent_trials: int = 1
    max_passes: int = 1
    floor: int = 0
    screens: tuple[int, ...] = ()
    guess: tuple[int, ...] = ()
    slack: float = 0.0
    spread: bool = False
    noise: float = 0.0
    on_failure: OnFailure = "stop"

    name: ClassVar[str] = "g-search"

    def __post_init__(self) -> None:
        reducible_layers(self.first, self.layers)
        for name, least in (("n_max", 1), ("concurrent_trials", 1), ("max_passes", 1)):
            Parameter(name, least, math.inf, integer=True).check(getattr(self, name))
        Parameter("floor", 0, self.n_max, integer=True).check(self.floor)
        Parameter("slack", 0, math.nextafter(1, 0)).check(self.slack)
        Parameter("noise", 0, math.inf).check(self.noise)
        _choose("method", self.method, ("gallop", "bisection", "scan"))
        _choose("on_failure", self.on_failure, ("stop", "continue"))
        if self.n_visions and max(self.n_visions) != self.n_max:
            raise InputError(
                f"`n_max` must be the greatest of `n_visions`, {max(self.n_visions)}, but got "
                f"{self.n_max}; take both from the calibration set"
            )
        if list(self.screens) != sorted({n for n in self.screens if n > 0}):
            raise InputError(
                f"`screens` must be numbers of samples that grow from 1 on, but got "
                f"{self.screens}; leave it empty to ask all samples every time"
            )
        if self.guess and len(self.guess) != self.layers:
            raise InputError(
                f"`guess` must have one count for each of {self.layers} layers, but got "
                f"{len(self.guess)}; leave it empty where nothing is expected"
            )
        for count in self.guess:
            Parameter("guess", 0, self.n_max, integer=True).check(count)
        Acceptance(self.acceptance, self.tolerance)

    def ask(self, history: Sequence[Trial]) -> list[Question]:
        """Return the questions of the present round that have no trial yet.

        Raises:
            InputError: Keep-all is not accepted against itself.
            RunError: Keep-all has failed, and `on_failure` is `continue`.
        """
        standing = self._replay(history)
        if standing.settled is None:
            raise self._refusal(standing.answers.to((self.n_max,) * self.layers, None))
        here = standing.round
        if here is None:
            return []
        part = {} if here.samples is None else {"samples": here.samples}
        return [
            Question(params | part, self._grid.schedule(counts), here.samples)
            for params, counts in zip(here.params, here.candidates, strict=True)
            if standing.answers.to(counts, here.samples) is None
        ]

    def finished(self, history: Sequence[Trial]) -> bool:
        """Say whether every layer is settled."""
        standing = self._replay(history)
        return standing.round is None and standing.settled is not None

    def hopeless(self, history: Sequence[Trial], trial: Trial, least_drop: float) -> bool:  # noqa: ARG002
        """Say whether the trial can no longer be accepted on all samples.

        Sound under both rules: what `confident` compares is never below the mean drop. Keep-all,
        and what a person has asked for, are measured to their end.
        """
        keeps_all = min(trial.schedule.keep) == 1
        return not (trial.enqueued or keeps_all) and least_drop > self._allowed(trial.params)

    def best(self, history: Sequence[Trial]) -> Trial | None:
        """Return the complete trial on all samples, accepted, with the counts settled so far."""
        standing = self._replay(history)
        return standing.answers.full(standing.settled) if standing.settled else None

    def status(self, history: Sequence[Trial]) -> Status:
        """Return where the search stands; `rounds_left` looks to the end of the present pass."""
        standing = self._replay(history)
        here = standing.round
        if here is None:
            return Status("refused" if standing.settled is None else "finished", standing.asked, 0)
        left = self._descent.rounds_left(here, standing.spent)
        if here.number == 0:
            return Status("keep-all", standing.asked, left)
        bracket = (here.low + 1, here.high) if here.by_count else None
        return Status(f"pass {here.number}", standing.asked, left, here.layer, bracket)

    def accepts(self, trial: Trial) -> bool | None:
        """Say whether a trial's schedule was accepted, or not rejected by a screen.

        None while the trial is open, and where it was not compared.
        """
        measured = trial.measurement
        if not trial.state.finished or (measured is not None and measured.drop is None):
            return None
        return self._rule(trial.params).passes(trial)

    def nesting(self, history: Sequence[Trial]) -> Nesting:
        """Return how often a schedule was accepted although one that keeps more was not.

        Counts schedules on which all samples have decided: measured on all, or stopped because
        the rest could not save them. What a screen left undecided does not count, nor what lost
        more than its layer's share of the tolerance.
        """
        verdicts = {
            counts: self._rule({}).passes(trial)
            for counts, trial in self._answers(history).decided().items()
            if (
                self._allowed(trial.params) == self.tolerance
                if trial.measurement is None
                else trial.measurement.drop is not None
            )
        }
        return count_violations(list(verdicts), list(verdicts.values()))

    def _allowed(self, params: Mapping[str, ParamValue]) -> float:
        """Return the drop up to which a question is accepted; a result, if it has no parameters."""
        if not self.spread or params.get("pass") != 1:
            return self.tolerance
        layer = int(params["layer"])
        return self.tolerance * ((layer - self.first + 1) / (self.layers - self.first))

    def _rule(self, params: Mapping[str, ParamValue]) -> Acceptance:
        return Acceptance(self.acceptance, self._allowed(params), self.noise)

    @property
    def _grid(self) -> Grid:
        return Grid(self.layers, self.n_max, self.n_visions, self.ranker)

    @property
    def _descent(self) -> Descent:
        return Descent(
            self.layers,
            self.n_max,
            self.first,
            self.method,
            self.concurrent_trials,
            self.max_passes,
            self.floor,
            self.screens,
            self.guess,
            self.slack,
            self.tolerance,
            leaps=self.noise > 0,
        )

    def _answers(self, history: Sequence[Trial]) -> Answers:
        return Answers(self._grid, history, failed=self.on_failure == "continue")

    def _replay(self, history: Sequence[Trial]) -> _Standing:
        """Walk on the answers in the history, up to the first that is missing."""
        answers = self._answers(history)
        asked: set[int] = set()
        rounds = self._descent.rounds()
        here, spent, n = next(rounds), 0, 1
        while True:
            given = [answers.to(counts, here.samples) for counts in here.candidates]
            known = [trial for trial in given if trial is not None]
            asked.update(trial.number for trial in known)
            if sum(trial.state.finished for trial in known) < len(given):
                return _Standing(here, here.settled, answers, len(asked), spent)
            try:
                if here.number == 0 and known[0].measurement:
                    n = known[0].measurement.n
                rules = map(self._rule, here.params)
                following = rounds.send(list(map(_verdict, rules, known, repeat(n))))
            except StopIteration as end:
                return _Standing(None, end.value, answers, len(asked), 0)
            spent = spent + 1 if following.number == here.number else 0
            here = following

    def _refusal(self, trial: Trial | None) -> InputError | RunError:
        assert trial is not None, "keep-all has been answered"
        if trial.measurement is None:
            return RunError(
                f"keep-all could not be measured: {trial.reason}; every comparison needs it: "
                f"remove the cause, then search under a new study name"
            )
        return InputError(
            f"keep-all must be accepted against itself, but its loss is "
            f"{self._rule({}).loss(trial.measurement):g} at a tolerance of {self.tolerance:g}; "
            f"calibrate on at least 2 samples"
        )


def _verdict(rule: Acceptance, trial: Trial, n: int) -> Verdict:
    """Return what a finished trial says of its schedule; `n` is the number of all samples."""
    whole = trial.state in (TrialState.COMPLETE, TrialState.FAIL)
    missed = trial.measurement.missed if trial.measurement else 0.0
    return Verdict(rule.passes(trial), n if whole else max(1, trial.read), n, missed)


def _choose(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        names = f"{', '.join(known[:-1])} or {known[-1]}"
        raise InputError(f"`{name}` must be {names}, but got {shown(value)}; choose one")

"""Bayesian optimisation of two objectives at once: little lost, at little cost."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import inf
from random import Random
from statistics import median_low
from typing import ClassVar

import torch
from botorch.acquisition.multi_objective import logei
from botorch.acquisition.multi_objective.objective import GenericMCMultiOutputObjective
from botorch.sampling.normal import SobolQMCNormalSampler
from torch import Tensor

from schedsearch.core.budget import MEASURES, Budget
from schedsearch.core.canonical import is_number
from schedsearch.core.flops import Cost
from schedsearch.core.pareto import Costs, costs, full, pareto, reference, undominated
from schedsearch.core.schedule import Schedule
from schedsearch.core.space import Parameter, Space
from schedsearch.core.trial import Trial, TrialState
from schedsearch.errors import InputError
from schedsearch.samplers.bayes import Bayes
from schedsearch.samplers.budgeted import Known, Point, Row
from schedsearch.samplers.surrogate import fitted, reproducible

_MC_SAMPLES = 64
_MOST_START = 12


@dataclass(frozen=True, kw_only=True)
class Frontier(Bayes):
    """Asks where the frontier of drop and cost may advance furthest; `budget` is searched too.

    The criterion is qLogNoisyExpectedHypervolumeImprovement (arXiv 2105.08195, 2310.20708) with
    the open trials pending. The drop is a Gaussian process like that of `Bayes`, which knows a
    point by its cost too; to lose less than nothing is worth no more than to lose nothing, else the
    unknown corners of a space where nothing is lost anyway would promise most. The cost needs no
    model: it is the budget. A pruned trial, of which a bound alone is known, is taken to have lost
    the median of the drops measured at no more cost. The start is that of `Bayes`, up to 2 (d + 1)
    measurements in d dimensions, 12 at most.

    BoTorch's C++ kernel for the criterion is not used, see `_interpreted`: no compiler is needed.

    Attributes:
        budget: The greatest budget to ask for: in `flops` or `feasible`, and the cost is the FLOPs
            ratio; or with a cost of its own, such as milliseconds.
        max_drop: What the best trial may lose, in the unit of the metric.
        reference_drop: A trial that loses this much or more adds nothing to the frontier. Default:
            half of the greatest drop in the start, see `schedsearch.core.pareto.reference`.

    Raises:
        InputError: A setting is out of its range, or a start is no point of the space.
    """

    budget: Budget = Budget("flops", 1.0)
    max_drop: float = 0.0
    reference_drop: float | None = None

    name: ClassVar[str] = "frontier"

    def __post_init__(self) -> None:
        measure = self.budget.measure
        if measure in (MEASURES["kv"], MEASURES["mean_keep"]):
            raise InputError(
                f"`budget` must be in flops, feasible or milliseconds, of which a frontier is "
                f"made, but got {measure.name}; leave it out to search all budgets"
            )
        if not (is_number(self.max_drop) and self.max_drop >= 0):
            raise InputError(
                f"`max_drop` must be a number from 0 up, but got {self.max_drop!r}; write what "
                f"the result may lose, in the unit of the metric"
            )
        worst = self.reference_drop
        if worst is not None and not (is_number(worst) and 0 < worst < inf):
            raise InputError(
                f"`reference_drop` must be a number above 0, but got {worst!r}; "
                f"leave it out, or write which drop is worth nothing"
            )
        if self._budgets.high < self._budgets.low:
            raise InputError(
                f"`budget` must be at least {self._budgets.low:.4f}, the least that any schedule "
                f"reaches, but got {self._budgets.high}; leave it out to search all budgets"
            )
        super().__post_init__()

    @property
    def space(self) -> Space:
        """What is searched: the family's parameters and `budget`."""
        return Space((*super().space.parameters, self._budgets))

    def hopeless(self, history: Sequence[Trial], trial: Trial, least_drop: float) -> bool:
        """Say whether a trial known to this one is better and no dearer, so that it is dominated.

        Not before there is a model; and what a person has asked for is measured to its end.
        """
        if self._point(trial) is None or not self._modelled(self._known(history, trial.number)):
            return False
        own = self._cost(trial.schedule)
        known = map(self.costs, self._comparable(self._before(history, trial.number)))
        return any(other <= own and drop < least_drop for other, drop in known)

    def best(self, history: Sequence[Trial]) -> Trial | None:
        """Return the cheapest trial among those that have lost at most `max_drop`.

        Where none has, the one that has lost least. Only trials within the budget count.
        """
        most = self._budgets.high
        trials = pareto(self._comparable(history), self.costs)
        front = [trial for trial in trials if self.costs(trial)[0] <= most]
        cheap = (trial for trial in front if self.costs(trial)[1] <= self.max_drop)
        return next(cheap, front[-1] if front else None)

    def costs(self, trial: Trial) -> Costs:
        """Return cost and drop of a trial that was measured on all samples."""
        return self._cost(trial.schedule), costs(trial)[1]

    def reference(self, history: Sequence[Trial]) -> Costs:
        """Return cost and drop from which on a trial is worth nothing.

        Once there is a model it changes no more.
        """
        trials = sorted(history, key=lambda trial: trial.number)
        return self._reference([one for one in trials if self._point(one) is not None])

    @property
    def _enough(self) -> int:
        return min(2 * (len(self.space.parameters) + 1), _MOST_START)

    @cached_property
    def _budgets(self) -> Parameter:
        first = self.family.first
        nothing = Schedule((1.0,) * first + (0.0,) * (self.shape.layers - first))
        return Parameter("budget", self._cost(nothing), min(self._absolute.amount, self._full))

    @cached_property
    def _cost(self) -> Cost:
        return lru_cache(maxsize=1024)(self.budget.cost(self.shape, self.tokens))

    @cached_property
    def _full(self) -> float:
        """Cost of the full model."""
        return self._cost(Schedule.full(self.shape.layers))

    def _within(self, point: Mapping[str, float]) -> tuple[Budget, Mapping[str, float]]:
        values = dict(point)
        return Budget(self._absolute.measure, values.pop("budget")), values

    def _promising(self, known: Known) -> list[Point]:
        """Return points in the order of the criterion."""
        rows = self._learnt(known)
        measured = len(list(known.measured()))
        front = undominated([(at["budget"], drop) for at, _, drop, _ in rows[:measured]])
        _, worst = self._reference([trial for _, trial in known.answered])

        def saved(samples: Tensor, X: Tensor | None = None) -> Tensor:
            """Return what is not lost, relative to the worst, and not spent: (..., n, 2)."""
            assert X is not None, "the budget is one of the inputs"
            kept = samples[..., 0].clamp(max=1)
            return torch.stack([kept, (1 - X[..., -1]).expand_as(kept)], dim=-1)

        seed = Random(f"{self.seed} {known.number}").getrandbits(31)
        with reproducible(seed), _interpreted():
            inputs = self._inputs([row[:2] for row in rows])
            errors = [error / worst for *_, error in rows]
            acquisition = logei.qLogNoisyExpectedHypervolumeImprovement(
                fitted(inputs, [1 - drop / worst for _, _, drop, _ in rows], errors),
                [0.0, 0.0],
                inputs[:measured],
                SobolQMCNormalSampler(torch.Size([_MC_SAMPLES]), seed=seed),
                objective=GenericMCMultiOutputObjective(saved),
                X_pending=self._inputs(known.pending) if known.pending else None,
            )
            return self._ranked(acquisition, [rows[i][0] for i in front])

    def _inputs(self, pairs: Sequence[tuple[Point, Schedule]]) -> Tensor:
        """Return what the process knows points by: their curves, and last their costs / full."""
        costs = [[point["budget"] / self._full] for point, _ in pairs]
        return torch.cat([super()._inputs(pairs), torch.tensor(costs, dtype=torch.float64)], -1)

    def _learnt(self, known: Known) -> list[Row]:
        """Return what the process learns, the measured points first.

        A measured point stands at the budget that its schedule really uses, which gives the same
        schedule.
        """
        low, high = self._budgets.low, self._budgets.high
        rows: list[Row] = []
        for point, schedule, drop, error in known.measured():
            used = min(high, max(low, self._cost(schedule)))
            rows.append(({**point, "budget": used}, schedule, drop, error))
        unsure = median_low(row[3] for row in rows)
        guesses: list[Row] = []
        for point, trial in known.answered:
            if trial.state is TrialState.PRUNED:
                cheaper = [row[2] for row in rows if row[0]["budget"] <= point["budget"]]
                lost = median_low(cheaper or [row[2] for row in rows])
                guesses.append((point, trial.schedule, lost, unsure))
        return rows + guesses

    def _reference(self, trials: Iterable[Trial]) -> Costs:
        """Return the reference that follows from the first trials that were measured."""
        if self.reference_drop is not None:
            return self._full, self.reference_drop
        drops = [costs(trial)[1] for trial in trials if full(trial)]
        return self._full, reference(drops[: self._enough])[1]


@contextmanager
def _interpreted() -> Iterator[None]:
    """Keep BoTorch from compiling a C++ kernel of the criterion, and from using it.

    The first criterion of a process would call the compiler, for half a minute; questions would
    then differ in the last digits from those of a machine without one. At 50 trials the kernel
    saves a tenth of a second. BoTorch has no switch for it, so what it remembers of its attempt to
    load the kernel is set for a while.
    """
    names = {"_C": None, "_load_attempted": True}
    before = {name: getattr(logei, name) for name in names if hasattr(logei, name)}
    try:
        vars(logei).update({name: names[name] for name in before})
        yield
    finally:
        vars(logei).update(before)

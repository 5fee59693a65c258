"""The samplers of Optuna."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, ClassVar

from schedsearch.core.shown import shown
from schedsearch.errors import InputError
from schedsearch.samplers.budgeted import Budgeted
from schedsearch.samplers.known import Known, Point

if TYPE_CHECKING:
    from schedsearch.samplers.optuna_replay import Replay

_METHODS = ("cmaes", "gp", "qmc", "random", "tpe")


@dataclass(frozen=True, kw_only=True)
class OptunaSampler(Budgeted):
    """Asks what a sampler of Optuna would ask; what is minimised is the drop.

    It sees complete trials with their drop, pruned ones as pruned, open ones as running, and no
    others. Where it names a point that is out of reach or known, it is asked again with that one
    running, 8 times at most; then random points follow. Nothing but asking loads Optuna.

    Attributes:
        method: `gp`, `random` and `tpe` are given the history as it is, and a seed of each
            question. `cmaes` and `qmc` are asked for the whole history again, with the points that
            they named in vain.
    """

    method: str = "tpe"

    name: ClassVar[str] = "optuna"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in _METHODS:
            raise InputError(
                f"`method` must be one of {', '.join(_METHODS)}, but got {shown(self.method)}; "
                f"name one"
            )

    @property
    def study_seed(self) -> int:
        """Seed of a sampler that is asked for the whole history."""
        return Random(self.seed).getrandbits(31)

    def question_seed(self, number: int) -> int:
        """Return the seed of a sampler that is asked for the question with this number alone."""
        return Random(f"{self.seed} {number}").getrandbits(31)

    def _candidates(self, known: Known) -> Iterator[Point]:
        return self._replay(known).named()

    def _replay(self, known: Known) -> "Replay":
        from schedsearch.samplers.optuna_replay import Replay

        starts = tuple(map(self.space.check, self.starts))
        seeds = self.study_seed, self.question_seed(known.number)
        return Replay(known, self.space, self.method, *seeds, self.concurrent_trials, starts)

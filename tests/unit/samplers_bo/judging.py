"""Judges histories with every sampler of points, and prints which heavy modules that has loaded."""

import sys

from schedsearch.core.budget import Budget
from schedsearch.samplers.bayes import Bayes
from schedsearch.samplers.frontier import Frontier
from schedsearch.samplers.optuna_sampler import OptunaSampler
from schedsearch.samplers.random_search import RandomSearch
from tests.unit.samplers_bo.budgeted import make, opened, search


class Chance(Frontier):
    """The same space, asked at random."""

    def _candidates(self, known):
        return self._at_random(known.number)


MAKERS = {
    "bayes": (Bayes, RandomSearch, {}),
    "frontier": (Frontier, Chance, {"budget": Budget("flops", 1.0)}),
    "optuna": (OptunaSampler, RandomSearch, {}),
}


def judge(family: str) -> None:
    for name, (sampler_class, baseline, settings) in MAKERS.items():
        history = search(make(baseline, family, trials=8, **settings))
        sampler = make(sampler_class, family, trials=20, **settings)
        assert not sampler.finished([])
        assert not sampler.finished(history)
        assert sampler.best(history) is not None
        assert sampler.status(history).phase == ("search" if name == "optuna" else "model")
        assert sampler.hopeless(history, opened(8, history[-1]), 9.0)
        assert make(sampler_class, family, trials=8, **settings).finished(history)


def judge_few() -> None:
    """A space of three points, all of them tried."""
    history = search(make(RandomSearch, "step"))
    for sampler_class in (Bayes, OptunaSampler):
        assert make(sampler_class, "step").finished(history)


if __name__ == "__main__":
    judge("logistic")
    judge("staircase")
    judge_few()
    loaded = [name for name in ("torch", "botorch", "optuna") if name in sys.modules]
    sys.stdout.write(" ".join(loaded))

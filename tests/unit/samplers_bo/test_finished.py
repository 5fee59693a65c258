"""Judging a history without choosing what to ask next."""

import subprocess
import sys

import pytest

from schedsearch.core.budget import Budget
from schedsearch.core.flops import SampleTokens
from schedsearch.errors import InputError
from schedsearch.samplers.bayes import Bayes
from schedsearch.samplers.optuna_sampler import OptunaSampler
from schedsearch.samplers.random_search import RandomSearch
from tests.unit.samplers_bo.budgeted import complete, failed, make, opened, search

ONE_TOKEN = {"tokens": (SampleTokens(1, 4),), "budget": Budget("feasible", 0.2)}
"""All that such samples distinguish: one token more or less in one layer of 8."""


class Unasked(RandomSearch):
    """Fails where a candidate is chosen."""

    def _candidates(self, known):
        raise AssertionError(f"candidates for {known.number}")


class OneCandidate(RandomSearch):
    """Names one point, which random points miss."""

    def _candidates(self, _known):
        yield {each.name: each.at(0.5) for each in self.space.parameters}

    def _at_random(self, _number):
        yield from ()


def test_judging_loads_neither_torch_nor_botorch_nor_optuna():
    command = [sys.executable, "-m", "tests.unit.samplers_bo.judging"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize("family", ["sigmoid", "staircase", "step", "uniform"])
def test_no_candidate_is_chosen_to_say_whether_a_search_is_over(family):
    history = search(make(RandomSearch, family, trials=5))
    sampler = make(Unasked, family, trials=5)
    for n in range(len(history)):
        assert not sampler.finished(history[:n])
    assert sampler.finished(history)
    running = [*history[:-1], opened(len(history) - 1, history[-1])]
    assert not sampler.finished(running)
    lost = [*history[:-1], failed(opened(len(history) - 1, history[-1]))]
    assert sampler.finished(lost)


@pytest.mark.parametrize("sampler_class", [RandomSearch, OptunaSampler, Bayes])
@pytest.mark.parametrize("questions", [1, 3])
@pytest.mark.parametrize(
    ("family", "settings"),
    [("step", {}), ("uniform", {}), ("sigmoid", ONE_TOKEN), ("layerwise", ONE_TOKEN)],
)
def test_a_search_is_over_exactly_where_nothing_is_asked(
    sampler_class, questions, family, settings
):
    sampler = make(sampler_class, family, concurrent_trials=questions, **settings)
    history = search(sampler)
    assert len(history) < 8
    for n in range(len(history) + 1):
        assert sampler.finished(history[:n]) == (not sampler.ask(history[:n]))


def test_what_a_candidate_alone_finds_goes_on():
    sampler = make(OneCandidate)
    assert not sampler.finished([])
    (question,) = sampler.ask([])
    assert sampler.finished([complete(opened(0, question), 0.1)])


def test_schedules_of_a_person_leave_no_point():
    (question,) = make(RandomSearch, "uniform").ask([])
    theirs = complete(opened(0, question), 0.1)
    assert make(Unasked, "uniform").finished([theirs])


@pytest.mark.parametrize("family", ["sigmoid", "step"])
def test_a_budget_that_nothing_reaches_is_refused_as_where_it_is_asked(family):
    sampler = make(RandomSearch, family, budget=Budget("flops", 0.01))
    with pytest.raises(InputError) as asked:
        sampler.ask([])
    with pytest.raises(InputError) as judged:
        sampler.finished([])
    assert str(judged.value) == str(asked.value)

import random
from dataclasses import replace

import pytest

from schedsearch.core.budget import Budget, Measure
from schedsearch.core.families.layerwise import Layerwise
from schedsearch.core.families.sigmoid import Sigmoid
from schedsearch.core.flops import SampleTokens, flops_ratio
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Trial, TrialState
from schedsearch.errors import InputError
from schedsearch.samplers.bayes import Bayes
from schedsearch.samplers.optuna_sampler import OptunaSampler
from schedsearch.samplers.random_search import RandomMonotone, RandomSearch
from tests.unit.samplers_bo.budgeted import (
    BUDGET,
    LAYERS,
    RANKER,
    SHAPE,
    TOKENS,
    at_random,
    complete,
    evaluation,
    failed,
    make,
    needs,
    opened,
    pruned,
    search,
)

SAMPLERS = {
    "random": lambda **s: make(RandomSearch, **s),
    "random monotone": lambda **s: make(RandomMonotone, **{"family": "layerwise", **s}),
    "tpe": lambda **s: make(OptunaSampler, **s),
    "qmc": lambda **s: make(OptunaSampler, method="qmc", **s),
    "bayes": lambda **s: make(Bayes, **{"family": "logistic", **s}),
}
each_sampler = pytest.mark.parametrize("make_one", SAMPLERS.values(), ids=SAMPLERS)

any_sampler = SAMPLERS["random"]
START = {"steepness": 20.0, "midpoint": 0.3, "floor": 0.1}


@each_sampler
def test_order_of_answers_and_of_rows_means_nothing(make_one):
    sampler = make_one(trials=9, concurrent_trials=3, seed=5)
    history = at_random(sampler, 0)
    assert at_random(sampler, 1) == history
    for n in (3, 6, 8):
        shuffled = random.Random(n).sample(history[:n], n)
        assert sampler.ask(shuffled) == sampler.ask(history[:n])
        assert sampler.best(shuffled) == sampler.best(history[:n])
        assert sampler.status(shuffled) == sampler.status(history[:n])


@each_sampler
def test_search_continues_from_any_prefix_and_seeds_differ(make_one):
    sampler = make_one(trials=10, concurrent_trials=2)
    history = search(sampler)
    for n in range(len(history)):
        asked = sampler.ask(history[:n])
        assert asked
        for question, trial in zip(asked, history[n:], strict=False):
            assert (question.params, question.schedule) == (trial.params, trial.schedule)
    assert search(make_one(trials=10, concurrent_trials=2, seed=1)) != history


@each_sampler
def test_every_question_is_new_and_uses_the_budget_up(make_one):
    sampler = make_one(trials=14, concurrent_trials=2)
    history = search(sampler)
    assert len(history) == 14
    assert len(set(map(evaluation, history))) == 14
    limit = BUDGET.limit(SHAPE, TOKENS)
    for trial in history:
        assert trial.schedule.ranker == RANKER
        assert flops_ratio(SHAPE, trial.schedule, TOKENS) <= limit
        more = [1.0] * 2 + [min(1.0, keep + 1 / 16) for keep in trial.schedule.keep[2:]]
        assert flops_ratio(SHAPE, Schedule(tuple(more)), TOKENS) > limit


@each_sampler
def test_failed_and_pruned_trials_neither_stop_the_search_nor_come_back(make_one):
    sampler = make_one(trials=12)
    history: tuple[Trial, ...] = ()
    ends = [failed, pruned, lambda trial: complete(trial, needs(trial.schedule))]
    while questions := sampler.ask(history):
        trial = opened(len(history), questions[0])
        history += (ends[len(history) % 3](trial),)
    assert len(set(map(evaluation, history))) == 12
    assert sampler.best(history).state is TrialState.COMPLETE


@each_sampler
def test_what_a_person_enqueued_is_not_asked(make_one):
    sampler = make_one(trials=4)
    wanted = [trial.schedule for trial in search(sampler)[::2]]
    history = tuple(complete(Trial(i, {}, schedule), 0.1) for i, schedule in enumerate(wanted))
    counts = {evaluation(trial) for trial in history}
    for _ in range(4):
        (question,) = sampler.ask(history)
        assert evaluation(question) not in counts
        history += (complete(opened(len(history), question), 0.5),)
    assert sampler.finished(history)


def test_costs_of_ones_own_are_told_apart():
    def cheapest(factor: float) -> Schedule:
        def cost(schedule: Schedule) -> float:
            return factor * sum(schedule.keep)

        own = Measure("seconds", "seconds", lambda _shape, _tokens: cost, shares=False)
        return any_sampler(budget=Budget(own, 4.0)).ask([])[0].schedule

    assert sum(cheapest(1.0).keep) > sum(cheapest(1.5).keep)


def test_starts_come_first_once_and_only_where_they_reach_the_budget():
    out_of_reach = {"layer": 7}
    sampler = make(RandomSearch, "step", starts=(out_of_reach, {"layer": 3}, {"layer": 3}))
    assert [dict(trial.params) for trial in search(sampler)][0] == {"layer": 3}
    assert out_of_reach not in [trial.params for trial in search(sampler)]
    sampler = any_sampler(starts=(START,), trials=3)
    history = search(sampler)
    assert history[0].params == START
    assert sampler.status(history[:1]).phase == "search"
    assert sampler.status([]).phase == "start"


def test_a_space_without_points_left_ends_the_search():
    assert len(search(make(RandomSearch, "step"))) == 3
    assert len(search(make(Bayes, "step"))) == 3
    for sampler in (RandomSearch, OptunaSampler, Bayes):
        assert len(search(make(sampler, "uniform"))) == 1
    # All that the calibration samples distinguish: one token more or less in one layer of 8.
    one_token = any_sampler(tokens=(SampleTokens(1, 4),), budget=Budget("feasible", 0.2))
    history = search(one_token)
    assert len({trial.schedule.counts(1) for trial in history}) == len(history) < 8


def test_a_budget_that_nothing_reaches_is_refused():
    with pytest.raises(InputError, match="budget"):
        any_sampler(budget=Budget("flops", 0.01)).ask([])


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"trials": 0}, "trials"),
        ({"concurrent_trials": 0}, "concurrent_trials"),
        ({"seed": -1}, "seed"),
        ({"tokens": ()}, "tokens"),
        ({"starts": ({"slope": 1.0},)}, "slope"),
    ],
)
def test_settings_out_of_range_are_refused(settings, named):
    with pytest.raises(InputError, match=named):
        any_sampler(**settings)


def three(losses, sampler=None):
    sampler = sampler or any_sampler(concurrent_trials=3)
    asked = sampler.ask([])
    return [
        complete(opened(i, one), loss)
        for i, (one, loss) in enumerate(zip(asked, losses, strict=True))
    ]


def test_best_has_lost_least_within_the_budget():
    history = three([0.2, 0.1, 0.3])
    sampler = any_sampler()
    dear = complete(Trial(3, {}, Schedule.full(LAYERS, RANKER)), 0.0)
    foreign = complete(Trial(4, {}, replace(history[0].schedule, ranker=RankerSpec("random"))), 0.0)
    partial = Trial(
        5, {}, history[2].schedule, TrialState.SCREENED, reason="not rejected by 7", samples=7
    )
    assert sampler.best([*history, dear, foreign, partial]) == history[1]
    assert sampler.best([]) is None


def test_among_equals_the_cheaper_then_the_earlier_is_best():
    history = three([0.1, 0.1, 0.1])

    def cost(i: int, ratio: float) -> Trial:
        return replace(history[i], measurement=replace(history[i].measurement, flops_ratio=ratio))

    tied = [cost(0, 0.5), cost(1, 0.4), cost(2, 0.4)]
    assert any_sampler().best(tied[::-1]) == tied[1]


def test_hopeless_is_what_has_lost_more_than_the_best_known_to_the_trial():
    sampler = any_sampler(concurrent_trials=2)
    history = three([0.2, 0.1, 0.3], any_sampler(concurrent_trials=3))
    late = replace(opened(2, sampler.ask(history[:2])[0]), number=2)
    # Of 2 questions at once, the third knows the first trial only.
    assert not sampler.hopeless(history[:2], late, 0.2)
    assert sampler.hopeless(history[:2], late, 0.2001)
    assert sampler.hopeless(history[:2], replace(late, number=3), 0.1001)
    assert not sampler.hopeless(history[:2], replace(late, number=3, params={}), 9.0)
    assert not sampler.hopeless([], late, 9.0)


def test_window_of_open_questions_slides():
    sampler = any_sampler(concurrent_trials=3)
    history = [opened(i, one) for i, one in enumerate(sampler.ask([]))]
    assert len(history) == 3
    behind = [history[0], *(complete(one, 0.1) for one in history[1:])]
    assert sampler.ask(behind) == []  # the first is still open
    ahead = [complete(history[0], 0.1), *history[1:]]
    assert len(sampler.ask(ahead)) == 1


def test_random_schedules_are_those_of_the_baseline():
    history = search(SAMPLERS["random monotone"](trials=30))
    values = {len(set(trial.params.values())) for trial in history}
    assert {2, LAYERS - 2} <= values  # from single steps to a fall at every layer
    for trial in history:
        assert trial.schedule == Layerwise().schedule(trial.params, BUDGET, SHAPE, TOKENS, RANKER)


def test_uniform_points_spread_over_the_space():
    points = [trial.params for trial in search(any_sampler(trials=60))]
    for parameter in Sigmoid().space(LAYERS).parameters:
        lower = sum(point[parameter.name] < parameter.at(0.5) for point in points)
        assert 15 <= lower <= 45  # 30 expected; beyond by chance with probability below 2e-4

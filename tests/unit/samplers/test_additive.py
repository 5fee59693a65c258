"""The sampler `additive` on models that add up, and on some that do not."""

import math
import random
from dataclasses import replace
from itertools import combinations_with_replacement

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.budget import Budget
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_cost
from schedsearch.core.pareto import costs
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Measurement, SampleScore, Trial, TrialState
from schedsearch.errors import InputError
from schedsearch.samplers.additive import Additive
from schedsearch.samplers.single_cuts import SingleCuts
from tests.pace import examples

LAYERS, FIRST, N_MAX = 5, 1, 4
SHAPE, TOKENS = DecoderShape(LAYERS, 8, 2, 2, 4, 16, 32), (SampleTokens(N_MAX, 4),)
SHARES = (0.0, 0.25, 0.5, 0.75)
COST = flops_cost(SHAPE, TOKENS)

EVERY = [
    Schedule.from_counts((N_MAX, *reversed(rest)), N_MAX)
    for rest in combinations_with_replacement(range(N_MAX + 1), LAYERS - FIRST)
]


def drops_of(seed):
    """What a schedule loses where each layer adds what it loses by its own count."""
    rng = random.Random(seed)
    table = [sorted((rng.random() for _ in range(N_MAX)), reverse=True) for _ in range(LAYERS)]

    def drop(schedule):
        counts = schedule.counts(N_MAX)[FIRST:]
        return sum(([*row, 0.0])[count] for row, count in zip(table, counts, strict=False))

    return drop


def made(drop, **settings):
    """The sampler that knows what single cuts really lose."""

    def divergences(schedules, _samples):
        return list(map(drop, schedules)), 0.0

    cuts, _ = SingleCuts.measured(divergences, LAYERS, FIRST, SHARES)
    return Additive(cuts=cuts, shape=SHAPE, tokens=TOKENS, **settings)


def searched(sampler, drop, history=()):
    """The history at the end; trials are stopped as soon as they are hopeless."""
    trials = list(history)
    while questions := sampler.ask(trials):
        known = tuple(trials)
        for question in questions:
            trial = Trial(len(trials), question.params, question.schedule)
            lost = drop(question.schedule)
            if sampler.hopeless(known, trial, lost):
                trials.append(replace(trial, state=TrialState.PRUNED, reason="hopeless"))
                continue
            scores = [[SampleScore(f"s{i}", value) for i in range(2)] for value in (-lost, 0.0)]
            found = Measurement.of(scores[0], COST(question.schedule), 0.5, scores[1])
            trials.append(replace(trial, state=TrialState.COMPLETE, measurement=found))
    assert sampler.finished(trials)
    return trials


seeds, at_once = st.integers(0, 10**6), st.integers(1, 4)


@examples(40)
@given(seeds, st.floats(0, 1), at_once)
def test_where_losses_add_up_the_first_question_under_a_budget_is_the_optimum(seed, share, q):
    drop = drops_of(seed)
    sampler = made(drop, budget=Budget("feasible", share), concurrent_trials=q, trials=5)
    limit = sampler.budget.limit(SHAPE, TOKENS, FIRST)
    best = min(drop(one) for one in EVERY if COST(one) <= limit)

    history = searched(sampler, drop)

    assert drop(history[0].schedule) == pytest.approx(best)
    assert history[0].params["predicted"] == pytest.approx(best, abs=1e-6)
    assert costs(sampler.best(history))[1] == pytest.approx(best)
    assert all(COST(one.schedule) <= limit for one in history)
    assert len(history) <= 5


@examples(40)
@given(seeds, st.floats(0, 2), at_once)
def test_where_losses_add_up_the_cheapest_within_max_drop_is_found(seed, most, q):
    drop = drops_of(seed)
    sampler = made(drop, max_drop=most, concurrent_trials=q, trials=64)
    cheapest = min(COST(one) for one in EVERY if drop(one) <= most)

    history = searched(sampler, drop)

    assert costs(sampler.best(history))[0] == pytest.approx(cheapest)
    assert len(history) <= 16  # of 20 to 30 on the frontier, by equal steps of the cost


def test_frontier_is_that_of_all_schedules():
    drop = drops_of(1)
    frontier = made(drop, max_drop=1.0).frontier
    pairs = [(COST(one), drop(one)) for one in EVERY]
    best = [min(loss for cost, loss in pairs if cost <= one.cost + 1e-9) for one in frontier]
    assert [one.loss for one in frontier] == pytest.approx(best)
    assert len(frontier) > 20


def saturated(schedule):
    """Nothing adds up: any cut loses all, but for some schedules that one cut never shows."""
    counts = schedule.counts(N_MAX)[FIRST:]
    good = len(set(counts)) > 2 or min(counts) == N_MAX
    return (0.0 if good else 1.0) + (N_MAX - min(counts)) / 100


@examples(20)
@given(st.sampled_from([{"max_drop": 0.05}, {"budget": Budget("feasible", 0.6)}]), at_once)
def test_where_losses_do_not_add_up_the_result_is_what_was_measured(goal, q):
    sampler = made(saturated, concurrent_trials=q, **goal)
    history = searched(sampler, saturated)
    best = sampler.best(history)
    complete = [one for one in history if one.state is TrialState.COMPLETE]
    assert costs(best)[1] == pytest.approx(saturated(best.schedule))
    if "budget" in goal:
        assert costs(best)[1] == min(costs(one)[1] for one in complete)
    else:
        good = [one for one in complete if costs(one)[1] <= goal["max_drop"]]
        assert costs(best)[0] == min(costs(one)[0] for one in good)


@examples(20)
@given(seeds, at_once, st.sampled_from([{"max_drop": 0.4}, {"budget": Budget("flops", 0.8)}]))
def test_search_that_was_killed_goes_on_with_the_same_trials(seed, q, goal):
    drop = drops_of(seed)
    history = searched(made(drop, concurrent_trials=q, **goal), drop)
    for n in range(len(history)):
        assert searched(made(drop, concurrent_trials=q, **goal), drop, history[:n]) == history


def test_trials_are_the_most_that_are_asked():
    for trials in (1, 2, 5):
        drop = drops_of(3)
        assert len(searched(made(drop, max_drop=0.5, trials=trials), drop)) == trials


@pytest.mark.parametrize("measure", ["flops", "kv", "mean_keep"])
def test_frontier_costs_what_its_schedules_cost(measure):
    sampler = made(drops_of(2), budget=Budget(measure, 0.9))
    cost = sampler.budget.cost(SHAPE, TOKENS)
    for one in sampler.frontier:
        assert one.cost == pytest.approx(cost(Schedule.from_counts(one.counts, N_MAX)))


def test_grid_has_the_counts_that_were_measured():
    cuts = SingleCuts(1, (0.0, 0.111), ((1.0, 0.0), (1.0, 0.0)))
    shape, tokens = replace(SHAPE, layers=3), (SampleTokens(1000, 9), SampleTokens(333, 9))
    sampler = Additive(cuts=cuts, shape=shape, tokens=tokens, max_drop=0.0)
    lossless = [one for one in sampler.frontier if one.loss == 0]
    assert lossless[0].counts == (1000, 111, 111)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "either `budget` or `max_drop`"),
        ({"max_drop": 0.1, "budget": Budget("flops", 0.5)}, "either `budget` or `max_drop`"),
        ({"max_drop": -0.1}, "`max_drop` must be a number from 0 up"),
        ({"budget": Budget("flops", 0.01)}, "`budget` must be at least 0."),
        ({"max_drop": 0.1, "trials": 0}, "`trials` must be an integer"),
        ({"max_drop": 0.1, "tokens": ()}, "`tokens` must name"),
        ({"max_drop": 0.1, "shape": replace(SHAPE, layers=9)}, "must be those of a model of 9"),
    ],
)
def test_settings_that_cannot_be_searched_are_refused(settings, said):
    cuts = SingleCuts(1, (0.0,), ((1.0,),) * 4)
    with pytest.raises(InputError, match=said):
        Additive(**{"cuts": cuts, "shape": SHAPE, "tokens": TOKENS, **settings})


def test_every_budget_in_reach_has_a_question_within_it():
    nothing = COST(Schedule((1.0, 0.0, 0.0, 0.0, 0.0)))
    exact = [COST(one) for one in EVERY if COST(one) > nothing]
    for limit in (nothing, *exact, *(math.nextafter(one, 0) for one in exact)):
        sampler = made(drops_of(4), budget=Budget("flops", min(1.0, limit)), trials=1)
        (question,) = sampler.ask([])
        assert COST(question.schedule) <= limit

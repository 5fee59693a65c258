import random
import statistics
from dataclasses import replace

import pytest
import torch
from botorch.acquisition.multi_objective import logei
from torch.utils import cpp_extension

from schedsearch.core.budget import Budget, feasible_range
from schedsearch.core.flops import flops_ratio
from schedsearch.core.pareto import costs, hypervolume, pareto
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Trial, TrialState
from schedsearch.errors import InputError, RunError
from schedsearch.samplers.frontier import Frontier
from schedsearch.samplers.known import Observed
from schedsearch.samplers.surrogate import in_cube
from tests.unit.samplers_bo.budgeted import (
    LAYERS,
    RANKER,
    SHAPE,
    TOKENS,
    at_random,
    complete,
    evaluation,
    failed,
    needs,
    opened,
    pruned,
    search,
)
from tests.unit.samplers_bo.budgeted import make as make_one

LEAST = feasible_range(SHAPE, TOKENS)[0]


class Chance(Frontier):
    """The same space, asked at random."""

    def _candidates(self, known):
        return self._at_random(known.number)


def make(sampler=Frontier, family="logistic", **settings):
    return make_one(sampler, family, **{"budget": Budget("flops", 1.0), **settings})


def modelled(n=8, **settings):
    """A sampler with a model, and complete trials of random points."""
    return make(trials=100, **settings), search(make(Chance, trials=n))


def asked(sampler, history):
    return [question.params for question in sampler.ask(history)]


def observed(sampler, history, number):
    """What the model learns for the question with this number."""
    return sampler._objective(sampler._known(history, number)).observed()


def ratio(trial):
    return flops_ratio(SHAPE, trial.schedule, TOKENS)


def test_order_of_answers_and_of_rows_means_nothing():
    sampler = make(family="uniform", trials=7, concurrent_trials=2, seed=5)
    history = at_random(sampler, 0)
    assert at_random(sampler, 1) == history
    for n in (3, 6):
        shuffled = random.Random(n).sample(history[:n], n)
        assert sampler.ask(shuffled) == sampler.ask(history[:n])
        assert sampler.best(shuffled) == sampler.best(history[:n])
        assert sampler.reference(shuffled) == sampler.reference(history[:n])
    assert asked(replace(sampler, seed=6), history[:6]) != asked(sampler, history[:6])


def test_every_budget_is_searched_and_used_up():
    history = search(make(Chance, trials=40))
    for trial in history:
        assert trial.schedule.ranker == RANKER
        assert LEAST <= ratio(trial) <= trial.params["budget"] <= 1
        more = [1.0] * 2 + [min(1.0, keep + 1 / 16) for keep in trial.schedule.keep[2:]]
        full = trial.params["budget"] > 0.98
        assert full or flops_ratio(SHAPE, Schedule(tuple(more)), TOKENS) > trial.params["budget"]
    assert {int(4 * (trial.params["budget"] - LEAST) / (1 - LEAST)) for trial in history} == {
        0, 1, 2, 3,
    }  # fmt: skip


def test_budgets_end_where_the_user_says():
    sampler = make(Chance, budget=Budget("feasible", 0.25), trials=30)
    most = LEAST + (1 - LEAST) / 4
    assert sampler.space["budget"].high == pytest.approx(most)
    history = search(sampler)
    assert max(map(ratio, history)) <= most
    dear = complete(Trial(90, {}, Schedule.full(LAYERS, RANKER)), 0.0)
    assert sampler.best([dear]) is None


def test_no_compiler_is_called_and_botorch_is_left_as_it_was(monkeypatch):
    def load(*_args, **_settings):
        raise AssertionError("compiles")

    monkeypatch.setattr(cpp_extension, "load", load)
    monkeypatch.setattr(logei, "_load_attempted", False)
    kernel = object()
    monkeypatch.setattr(logei, "_C", kernel)  # would fail if it were used
    sampler, history = modelled()
    assert sampler.ask(history)
    assert logei._C is kernel
    assert not logei._load_attempted


@pytest.mark.parametrize("name", ["_C", "_load_attempted"])
def test_botorch_without_the_names_of_its_kernel_is_refused(monkeypatch, name):
    sampler, history = modelled()
    monkeypatch.delattr(logei, name)
    with pytest.raises(
        RunError, match=f"^BoTorch [0-9.]+ has no {name} in .*; install botorch 0.18"
    ):
        sampler.ask(history)
    assert not hasattr(logei, name)


def test_state_of_torch_is_left_as_it_was_and_means_nothing():
    sampler, history = modelled()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = asked(sampler, history)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    random.seed(2)
    assert asked(sampler, history) == first


def test_open_trials_are_taken_into_account():
    sampler, history = modelled(n=9, concurrent_trials=2)
    (first,) = asked(replace(sampler, concurrent_trials=1), history[:8])
    busy = replace(history[8], state=TrialState.WAITING, measurement=None, params=first)
    (beside,) = asked(sampler, [*history[:8], busy])
    cube = in_cube(sampler.space, [first, beside])
    assert (cube[0] - cube[1]).abs().max() > 0.02


def test_failed_trials_do_not_reach_the_model_and_pruned_ones_do():
    sampler, history = modelled()
    cheapest, dearest = sorted(history, key=ratio)[::7]
    again = replace(opened(8, dearest), params={**dearest.params, "midpoint": 0.5})
    failing, pruning = (observed(sampler, [*history, end(again)], 9) for end in (failed, pruned))
    assert failing == observed(sampler, history, 8)
    drops = [trial.measurement.drop for trial in history]
    assert pruning[-1] == Observed(again.params, again.schedule, sorted(drops)[3], 1e-3)
    again = replace(again, params={**again.params, "budget": ratio(cheapest)})
    (*_, guess) = observed(sampler, [*history, pruned(again)], 9)
    assert guess.drop == cheapest.measurement.drop


def test_nothing_bad_stops_the_search():
    sampler = make(family="uniform", trials=14)
    history: tuple[Trial, ...] = ()
    ends = [failed, pruned, lambda trial: complete(trial, needs(trial.schedule))]
    while questions := sampler.ask(history):
        trial = opened(len(history), questions[0])
        history += (ends[len(history) % 3](trial),)
    assert len(set(map(evaluation, history))) == 14


@pytest.mark.parametrize("error", [0.0, None, 10.0])
@pytest.mark.parametrize("drop", [0.0, 0.25, -0.25])
def test_equal_drops_and_any_error_are_no_obstacle(error, drop):
    sampler, history = modelled()
    flat = [complete(trial, drop, error) for trial in history]
    assert len(sampler.ask(flat)) == 1


def test_hopeless_is_what_a_known_trial_beats():
    sampler, history = modelled()
    order = sorted(history, key=ratio)
    some = [complete(trial, 0.5 - i / 20) for i, trial in enumerate(order)]
    numbered = [replace(trial, number=i) for i, trial in enumerate(some)]
    middle = numbered[4]
    trial = replace(opened(8, middle), number=8)
    assert not sampler.hopeless(numbered, trial, 0.3)
    assert sampler.hopeless(numbered, trial, 0.3001)  # by the trial of the same FLOPs
    cheaper = replace(opened(8, numbered[3]), number=8)
    assert not sampler.hopeless(numbered, cheaper, 0.3001)
    assert not sampler.hopeless(numbered[:7], replace(trial, number=7), 9.0)  # no model yet
    assert not replace(sampler, concurrent_trials=2).hopeless(numbered, trial, 9.0)
    assert not sampler.hopeless(numbered, replace(trial, params={}), 9.0)
    beside = [*numbered, complete(replace(trial, number=8), 0.0)]
    late = replace(trial, number=9)
    assert not replace(sampler, concurrent_trials=2).hopeless(beside, late, 0.3)
    assert sampler.hopeless(beside, late, 0.3)
    foreign = [
        replace(one, schedule=replace(one.schedule, ranker=RankerSpec("random")))
        for one in numbered
    ]
    assert not sampler.hopeless(foreign, trial, 9.0)


def test_what_is_stopped_is_never_on_the_frontier():
    history = search(make(Chance, trials=20), prunes=True)
    stopped = [trial for trial in history if trial.state is TrialState.PRUNED]
    assert stopped
    front = [costs(trial) for trial in pareto(history)]
    for trial in stopped:
        assert any(f <= ratio(trial) and d < needs(trial.schedule) for f, d in front)


def test_best_is_the_cheapest_that_loses_little_enough():
    _, history = modelled()
    order = sorted(history, key=ratio)
    some = [complete(trial, (7 - i) / 10) for i, trial in enumerate(order)]
    assert make(max_drop=0.2).best(some) == some[5]
    assert make(max_drop=0.15).best(some) == some[6]
    assert make().best(some) == some[7]
    assert make().best(some[:7]) == some[6]  # none loses nothing: the one that loses least
    foreign = replace(some[0], schedule=replace(some[0].schedule, ranker=RankerSpec("random")))
    assert make().best([complete(foreign, 0.0)]) is None
    assert make().best([]) is None


def test_reference_is_set_or_half_the_worst_of_the_start():
    sampler, history = modelled(n=12)
    worst = max(trial.measurement.drop for trial in history[:8])
    late = complete(history[11], 99.0)
    assert sampler.reference([*history[:11], late]) == (1.0, worst / 2)
    assert make(reference_drop=0.05).reference(history) == (1.0, 0.05)
    person = replace(late, params={})
    assert sampler.reference([replace(person, number=0)]) == (1.0, 1.0)


def test_more_flops_than_a_trial_that_loses_nothing_are_not_asked():
    # Above it the model is unsure, and would hope to lose less than nothing.
    sampler = make(family="uniform", trials=100, reference_drop=0.2)
    order = sorted(search(make(Chance, "uniform", trials=14)), key=ratio)
    known = [trial for trial in order if ratio(trial) < 0.75]
    lossless = order[len(known)]
    history = [*(complete(trial, 0.5) for trial in known), complete(lossless, 0.0)]
    (point,) = asked(sampler, history)
    assert ratio(known[-1]) < point["budget"] < ratio(lossless)


def test_points_like_those_that_lose_nothing_are_asked():
    sampler, history = modelled(n=12)
    split = [complete(one, 0.0 if one.params["midpoint"] > 0.5 else 0.5) for one in history]
    (point,) = asked(sampler, split)
    assert point["midpoint"] > 0.5


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"budget": Budget("mean_keep", 0.5)}, "budget"),
        ({"budget": Budget("flops", 0.01)}, "at least"),
        ({"max_drop": -0.1}, "max_drop"),
        ({"max_drop": float("nan")}, "max_drop"),
        ({"reference_drop": 0.0}, "reference_drop"),
        ({"reference_drop": float("inf")}, "reference_drop"),
        ({"starts": ({"steepness": 2.0, "midpoint": 0.5},)}, "budget"),
    ],
)
def test_settings_out_of_range_are_refused(settings, named):
    with pytest.raises(InputError, match=named):
        make(**settings)


def test_advances_the_frontier_further_than_chance():
    areas = {Frontier: [], Chance: []}
    for sampler_class, found in areas.items():
        for seed in range(3):
            sampler = make(sampler_class, seed=seed, trials=12, reference_drop=0.2)
            history = search(sampler)
            found.append(hypervolume(history, sampler.reference(history))[-1])
    assert statistics.median(areas[Frontier]) > statistics.median(areas[Chance])

"""What a search costs on the published curve, against plain bisection without any reuse."""

import pytest

from tests.unit.samplers.cost import Counts, Engine, cost, curve, naive, run, slope

SCREENS = (64,)  # of 512 samples
SEEDS = (0, 1, 2)
DEPTHS = (12, 24, 48)


def saved(engine: Engine, **settings: object) -> float:
    """How many times less work the search takes, for the same schedule."""
    found = run(engine, **settings)
    schedule, passes, _ = naive(engine)
    assert found == schedule
    return passes / engine.passes


def gallop(layers: int, seed: int | None, screens: Counts = SCREENS) -> float:
    return saved(Engine(layers, seed, screens), screens=screens)


def test_where_all_samples_need_the_same_a_search_costs_a_tenth():
    assert gallop(12, None) > 11
    assert gallop(28, None) > 18


@pytest.mark.parametrize("seed", SEEDS)
def test_where_samples_differ_the_work_is_saved_too(seed):
    # What no search can save: measuring all samples at each count found.
    assert gallop(12, seed) > 7.5
    assert gallop(28, seed) > 13.5
    assert gallop(28, seed) > 1.3 * saved(Engine(28, seed), method="bisection")


@pytest.mark.parametrize("seed", range(20))
def test_one_sample_in_sixteen_is_screen_enough(seed):
    assert gallop(12, seed, (32,)) > 8
    assert gallop(28, seed, (32,)) > 13


@pytest.mark.parametrize("seed", SEEDS)
def test_short_steps_pay_because_probes_reject(seed):
    # Where none do, steps soon grow.
    assert gallop(12, seed) > 2.2 * saved(Engine(12, seed, SCREENS, probes=0), screens=SCREENS)


@pytest.mark.parametrize("seed", [None, *SEEDS])
def test_guess_saves_questions_and_work(seed):
    guess = tuple(int(count) for count in curve(12))
    plain, guessed = Engine(12, seed, SCREENS), Engine(12, seed, SCREENS)
    assert run(plain, screens=SCREENS) == run(guessed, screens=SCREENS, guess=guess)
    assert guessed.asked < 0.7 * plain.asked
    assert guessed.flops < plain.flops


@pytest.mark.parametrize("seed", [None, *SEEDS])
def test_with_slack_the_work_grows_slower_than_depth_to_three_halves(seed):
    work = []
    for layers in DEPTHS:
        engine = Engine(layers, seed, SCREENS)
        found = run(engine, screens=SCREENS, slack=0.4)
        assert engine.accepts(found)
        assert 1 <= cost(found) / cost(naive(engine)[0]) < 1.2
        work.append(engine.layer_forwards)
    assert slope(DEPTHS, work) < 1.5


def test_slack_is_what_flattens_the_growth_of_plain_bisection():
    def growth(**settings: object) -> float:
        engines = [Engine(layers, 0, probes=0) for layers in DEPTHS]
        for engine in engines:
            run(engine, method="bisection", **settings)
        return slope(DEPTHS, [engine.layer_forwards for engine in engines])

    plain = [naive(Engine(layers, 0))[2] for layers in DEPTHS]
    assert slope(DEPTHS, plain) > 1.8
    assert growth(slack=0.4) < min(1.5, growth() - 0.2)

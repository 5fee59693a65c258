"""What a search costs on the published curve, against plain bisection without any reuse."""

import pytest

from tests.unit.samplers.cost import Engine, cost, curve, naive, run, slope

SCREENS = (8, 64)  # of 512 samples
SEEDS = (0, 1, 2)
DEPTHS = (12, 24, 48)


def saved(layers: int, seed: int | None, **settings: object) -> float:
    """How many times less work the search takes, for the same schedule."""
    engine = Engine(layers, seed, SCREENS)
    found = run(engine, **settings)
    schedule, passes, _ = naive(engine)
    assert found == schedule
    return passes / engine.passes


def test_where_all_samples_need_the_same_a_search_costs_a_tenth():
    assert saved(12, None, screens=SCREENS) > 10
    assert saved(28, None, screens=SCREENS) > 20


@pytest.mark.parametrize("seed", SEEDS)
def test_where_samples_differ_screens_save_work_on_every_depth(seed):
    # What no search can save: measuring all samples at each count found, and at the one below it.
    assert saved(12, seed, screens=SCREENS) > 4.5
    assert saved(28, seed, screens=SCREENS) > 7
    assert saved(28, seed, screens=SCREENS) > 1.5 * saved(28, seed, method="bisection")


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
        engines = [Engine(layers, 0) for layers in DEPTHS]
        for engine in engines:
            run(engine, method="bisection", **settings)
        return slope(DEPTHS, [engine.layer_forwards for engine in engines])

    assert growth() > 1.8
    assert growth(slack=0.4) < 1.5

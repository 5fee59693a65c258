"""The bounds hold for every distribution tried, mostly by exact enumeration of the outcomes."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from schedsearch.core import bounds
from schedsearch.core.bounds import Flips, Losses, certified

ALPHAS = (0.01, 0.05, 0.2)
counts = st.integers(1, 40).flatmap(
    lambda n: st.integers(0, n).flatmap(
        lambda lost: st.tuples(st.just(n), st.just(lost), st.integers(0, n - lost))
    )
)
drops = st.lists(st.floats(-1, 1), min_size=1, max_size=40)


@pytest.mark.parametrize("spent", [1e-3, 0.03])
@pytest.mark.parametrize("n", [1, 6, 16])
def test_exact_bound_fails_at_most_alpha_of_the_time(
    n: int, spent: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Exact: sums the probability of every outcome that would be a false proof, so it cannot fail
    # by chance. The second share spent on the disagreement shows that the sum counts it.
    monkeypatch.setattr(bounds, "_SPENT", spent)
    outcomes = np.array([(a, b) for a in range(n + 1) for b in range(n + 1 - a)])
    for drop in (-0.3, 0.0, 0.02, 0.1, 0.4):
        p_values = np.array([Flips(n, int(a), int(b)).p_value(drop) for a, b in outcomes])
        for disagreement in np.linspace(max(abs(drop), 0.01), 1, 30):
            lost, gained = (disagreement + drop) / 2, (disagreement - drop) / 2
            cells = np.column_stack([outcomes, n - outcomes.sum(axis=1)])
            shares = np.clip([lost, gained, 1 - disagreement], 0, 1)
            weights = stats.multinomial.pmf(cells, n, shares / shares.sum())
            for alpha in ALPHAS:
                assert weights[p_values <= alpha].sum() <= alpha + 1e-9, (drop, disagreement)


@pytest.mark.parametrize("drop", [0.0, 0.02])
def test_exact_bound_wastes_little_of_alpha(drop: float) -> None:
    n, alpha, disagreement = 40, 0.05, 0.3
    lost, gained = (disagreement + drop) / 2, (disagreement - drop) / 2

    failing = sum(
        stats.multinomial.pmf([a, b, n - a - b], n, [lost, gained, 1 - disagreement])
        for a, b in itertools.product(range(20), range(20))
        if (a - b) / n < drop and Flips(n, a, b).p_value(drop) <= alpha
    )

    assert 0.6 * alpha <= failing <= alpha


@pytest.mark.parametrize(("n", "flips"), [(1000, 50), (1000, 100), (4000, 200)])
def test_exact_bound_is_near_the_normal_one_where_that_holds(n: int, flips: int) -> None:
    normal = stats.norm.ppf(0.95) * math.sqrt(flips) / n
    assert normal < Flips(n, flips // 2, flips // 2).upper_bound(0.05) < 1.05 * normal


def test_no_flip_at_all_gives_about_the_rule_of_three() -> None:
    # With gains impossible the least bound is 1 - alpha^(1/n).
    least = 1 - 0.05 ** (1 / 500)
    assert least <= Flips(500, 0, 0).upper_bound(0.05) <= 1.05 * least


def test_exact_p_value_is_the_maximum_over_the_disagreement() -> None:
    seen, tolerance = Flips(40, 3, 4), 0.1
    here = 3 - 4 + 1.645 * math.sqrt(7 + 1.645**2)
    region = [
        (a, b)
        for a in range(41)
        for b in range(41 - a)
        if a - b + 1.645 * math.sqrt(a + b + 1.645**2) <= here + 1e-9
    ]
    interval = stats.binomtest(7, 40).proportion_ci(0.999, method="exact")
    cells = [(a, b, 40 - a - b) for a, b in region]

    worst = max(
        stats.multinomial.pmf(cells, 40, [(q + tolerance) / 2, (q - tolerance) / 2, 1 - q]).sum()
        for q in np.linspace(max(interval.low, tolerance), interval.high, 200)
    )

    # From above, since cells bound what lies between grid points; by less than a hundredth.
    assert worst + 1e-3 <= seen.p_value(tolerance) <= 1.01 * (worst + 1e-3)


@settings(max_examples=15, deadline=None)
@given(counts, st.sampled_from(ALPHAS))
def test_bound_and_p_value_of_flips_agree(seen: tuple[int, int, int], alpha: float) -> None:
    flips = Flips(*seen)
    upper = flips.upper_bound(alpha)
    assert flips.p_value(upper) <= alpha or upper == 1
    assert flips.p_value(max(-1.0, upper - 1e-3)) > alpha * 0.98
    assert upper >= (flips.lost - flips.gained) / flips.n - 1e-6


@settings(max_examples=15, deadline=None)
@given(counts.filter(lambda seen: seen[1] > 0), st.floats(-0.5, 0.9))
def test_losses_never_make_a_proof_easier_nor_gains_harder(
    seen: tuple[int, int, int], tolerance: float
) -> None:
    # To 2 %: the interval of the disagreement moves with the counts.
    n, lost, gained = seen
    p_value = Flips(n, lost, gained).p_value(tolerance)
    assert Flips(n, lost - 1, gained + 1).p_value(tolerance) <= p_value * 1.02 + 1e-9


@settings(max_examples=50)
@given(drops, st.floats(-1, 1), st.floats(-1, 1))
def test_betting_p_value_falls_with_the_tolerance(
    values: list[float], one: float, other: float
) -> None:
    seen = Losses.of(values)
    low, high = sorted((one, other))
    assert 0 <= seen.p_value(high) <= seen.p_value(low) + 1e-12 <= 1 + 1e-12


@settings(max_examples=25)
@given(drops, st.sampled_from(ALPHAS))
def test_betting_bound_and_p_value_agree(values: list[float], alpha: float) -> None:
    seen = Losses.of(values)
    upper = seen.upper_bound(alpha)
    assert seen.p_value(upper) <= alpha
    assert upper == -1 or seen.p_value(max(-1.0, upper - 2e-6)) > alpha


@pytest.mark.parametrize("support", [(-1.0, 0.0, 1.0), (-0.25, 0.5), (0.0, 1.0)])
def test_betting_bound_fails_at_most_alpha_of_the_time(support: tuple[float, ...]) -> None:
    # Exact: all sequences of seven drops, for several probabilities of the support.
    rng = np.random.default_rng(0)
    sequences = list(itertools.product(range(len(support)), repeat=7))
    for shares in rng.dirichlet([0.5] * len(support), size=4):
        mean = float(shares @ np.array(support))
        failing = {alpha: 0.0 for alpha in (0.05, 0.2, 0.5)}
        for sequence in sequences:
            p_value = Losses.of([support[k] for k in sequence]).p_value(mean)
            for alpha in failing:
                failing[alpha] += math.prod(shares[list(sequence)]) * (p_value <= alpha)
        assert all(failed <= alpha + 1e-9 for alpha, failed in failing.items())


def test_shared_images_are_one_unit_whose_size_may_tell_its_drop() -> None:
    # Exact: images with one sample never lose, images with three lose all of it or nothing. The
    # mean over images would be kinder than that over samples.
    lose, large, units = 0.5, 0.4, 8
    shares = [(1 - large), large * lose, large * (1 - lose)]
    kinds = [[0.0], [1.0] * 3, [0.0] * 3]
    mean = large * lose * 3 / (1 - large + 3 * large)

    failing = 0.0
    for sequence in itertools.product(range(3), repeat=units):
        seen = Losses.shared({str(i): kinds[k] for i, k in enumerate(sequence)}, largest=3)
        failing += math.prod(shares[k] for k in sequence) * (seen.p_value(mean) <= 0.2)

    assert 0.0 < failing <= 0.2


def test_copies_of_a_sample_prove_nothing_more() -> None:
    rng = random.Random(0)
    values = [rng.choice([-1.0, 0.0, 0.0, 0.0, 1.0]) for _ in range(200)]
    copied = {str(row): [value] * 4 for row, value in enumerate(values)}

    alone = Losses.of(values).upper_bound(0.05)

    assert Losses.shared(copied, largest=4).upper_bound(0.05) == pytest.approx(alone, abs=2e-6)


def test_betting_bound_is_that_of_the_authors_code() -> None:
    # confseq 0.0.11 with x = (1 - drop) / 2, logarithm of the largest of betting_mart(x, .35,
    # theta=1, trunc_scale=.75,
    # lambdas_fn_positive=lambda x, m: lambda_predmix_eb(x, alpha=.05, fixed_n=300)).
    rng = random.Random(1)
    values = [rng.choice([-0.5, 0.0, 0.0, 0.0, 0.25, 1.0]) for _ in range(300)]
    assert -math.log(Losses.of(values).p_value(0.3)) == pytest.approx(13.289004354880502)


def test_betting_bound_stays_finite_for_many_samples() -> None:
    seen = Losses.of([-1.0] * 200_000)
    assert seen.p_value(0.5) == 0.0
    assert seen.upper_bound(0.05) < -0.99


def test_chain_stops_at_the_first_member_that_is_not_proven() -> None:
    assert certified([0.01, 0.05, 0.06, 0.001], 0.05) == 2
    assert certified([0.2, 0.0], 0.05) == 0
    assert certified([], 0.05) == 0
    assert certified([math.nan], 0.05) == 0


def test_no_p_value_behind_the_first_failure_is_asked_for() -> None:
    def chain():
        yield 0.01
        yield 0.5
        raise AssertionError("looked behind the failure")

    assert certified(chain(), 0.05) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flips(2, 2, 1), r"`lost \+ gained <= n`"),
        (lambda: Flips(0, 0, 0), "n > 0"),
        (lambda: Flips.of([1.0, 0.5]), "use `Losses`"),
        (lambda: Losses((), ()), "got 0 sums"),
        (lambda: Losses((0.0, 0.0), (1, 3), largest=2), "unit 1 has 3"),
        (lambda: Losses.of([0.0, 1.5]), "unit 1 sum to 1.5"),
        (lambda: Losses.of([math.nan]), "unit 0 sum to nan"),
        (lambda: Flips(9, 1, 1).p_value(1.5), "`-1 <= tolerance <= 1`"),
        (lambda: Losses.of([0.0]).p_value(math.nan), "`-1 <= tolerance <= 1`"),
        (lambda: Flips(9, 1, 1).upper_bound(0.001), r"`0\.001 < alpha < 1`"),
        (lambda: Losses.of([0.0]).upper_bound(0.0), "`0 < alpha < 1`"),
    ],
)
def test_impossible_input_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_flips_are_counted_from_drops() -> None:
    assert Flips.of([1.0, 0.0, -1.0, 0, 1]) == Flips(5, 2, 1)

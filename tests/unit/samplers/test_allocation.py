"""The dynamic programme against all choices there are."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.samplers.allocation import allocations

whole = st.integers(-2, 9).map(float)


@st.composite
def problems(draw):
    """Whole numbers, so that sums are exact and ties happen."""
    levels, layers = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    prices = draw(st.lists(whole, min_size=levels, max_size=levels))
    row = st.lists(whole, min_size=levels, max_size=levels)
    return np.array(prices), np.array(draw(st.lists(row, min_size=layers, max_size=layers)))


def every_choice(prices, losses):
    """Cost and loss of all choices that never grow with depth."""
    layers, levels = losses.shape
    for chosen in product(range(levels), repeat=layers):
        if list(chosen) == sorted(chosen, reverse=True):
            loss = sum(losses[layer][level] for layer, level in enumerate(chosen))
            yield sum(prices[level] for level in chosen), loss


@given(problems())
def test_frontier_is_that_of_all_choices(problem):
    found = allocations(*problem)
    pairs = set(every_choice(*problem))
    best = sorted(
        (cost, loss)
        for cost, loss in pairs
        if not any(a <= cost and b <= loss and (a, b) != (cost, loss) for a, b in pairs)
    )
    assert list(zip(found.cost.tolist(), found.loss.tolist(), strict=True)) == best


@given(problems())
def test_levels_are_those_of_cost_and_loss_and_never_grow(problem):
    prices, losses = problem
    found = allocations(prices, losses)
    for cost, loss, levels in zip(found.cost, found.loss, found.levels.tolist(), strict=True):
        assert levels == sorted(levels, reverse=True)
        assert cost == sum(prices[level] for level in levels)
        assert loss == sum(losses[layer][level] for layer, level in enumerate(levels))


def test_more_choices_than_are_followed_cost_little_loss():
    rng = np.random.default_rng(0)
    prices, losses = np.linspace(0, 1, 20), rng.random((12, 20)).cumsum(1)[:, ::-1]
    exact, few = allocations(prices, losses, most=10**6), allocations(prices, losses, most=64)
    assert len(few) <= 64 < len(exact)
    assert (few.cost[0], few.loss[-1]) == (exact.cost[0], exact.loss[-1])
    span = exact.loss[0] - exact.loss[-1]
    for cost, loss in zip(few.cost, few.loss, strict=True):
        best = exact.loss[exact.cost <= cost + 1e-9][-1]
        assert best - 1e-9 <= loss <= best + 0.02 * span


def test_one_level_and_one_layer():
    found = allocations(np.array([2.0]), np.array([[3.0]]))
    assert (found.cost.tolist(), found.loss.tolist(), found.levels.tolist()) == ([2], [3], [[0]])


@pytest.mark.parametrize("layers", [2, 3])
def test_of_equal_choices_one_is_taken(layers):
    found = allocations(np.zeros(3), np.zeros((layers, 3)))
    assert len(found) == 1

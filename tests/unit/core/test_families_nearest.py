"""How near the families come to published curves; the figures of docs/method.md come from here."""

from statistics import fmean, median

import pytest
from scipy.optimize import differential_evolution

from schedsearch.core.budget import Budget
from schedsearch.core.families import FAMILIES, Family
from schedsearch.core.families.layerwise import Layerwise
from schedsearch.core.families.nearest import nearest
from schedsearch.core.families.published import INTERNVL2_8B, LLAVA_1_5_7B, PublishedCurve
from schedsearch.core.families.sigmoid import Sigmoid
from schedsearch.core.families.withdraw import Withdraw
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio
from schedsearch.core.schedule import Schedule
from schedsearch.errors import InputError, ScheduleError

VICUNA_7B = DecoderShape(32, 4096, 32, 32, 128, 11008, 32064)
PROMPT = [SampleTokens(576, 72)]


def error(keep: tuple[float, ...], curve: PublishedCurve) -> float:
    """Mean absolute difference over the layers that were read."""
    return sum(abs(keep[layer] - read) for layer, read in curve.read.items()) / len(curve.read)


def best_error(family: Family, curve: PublishedCurve) -> float:
    """Least error over every parameter of the family, by a global optimiser."""
    parameters = (*family.space(curve.layers).parameters, family.solved(curve.layers))

    def at(shares) -> float:
        point = {each.name: each.at(share) for each, share in zip(parameters, shares, strict=True)}
        return error(family.at(point, curve.layers).keep, curve)

    bounds = [(0.0, 1.0)] * len(parameters)
    return differential_evolution(at, bounds, rng=0, popsize=12, maxiter=60, polish=False).fun


def projected_error(family: Family, curve: PublishedCurve) -> float:
    keep = curve.keep()
    params = nearest(family, keep, VICUNA_7B, PROMPT)
    budget = Budget("flops", flops_ratio(VICUNA_7B, Schedule(keep), PROMPT))
    return error(family.schedule(params, budget, VICUNA_7B, PROMPT).keep, curve)


FITTED = {
    "sigmoid": 0.023,
    "logistic": 0.026,
    "staircase": 0.037,
    "linear": 0.040,
    "step": 0.166,
    "uniform": 0.179,
    "withdraw": 0.210,
}


def test_sigmoid_fits_the_published_curve_best():
    fits = {name: best_error(FAMILIES[name](), LLAVA_1_5_7B) for name in FITTED}
    assert fits == pytest.approx(FITTED, abs=0.001)
    assert fits["sigmoid"] <= 0.03
    assert fits["sigmoid"] < fits["logistic"] < min(fits["linear"], fits["staircase"])


def test_two_levels_fit_the_published_curve_worse_than_a_line():
    ratios = [LLAVA_1_5_7B.read[layer] for layer in range(2, 31)]
    spread = [sum(abs(each - median(part)) for each in part) for part in halves(ratios)]
    best = min(a + b for a, b in zip(spread[::2], spread[1::2], strict=True))
    assert best / 31 == pytest.approx(0.059, abs=0.001)
    assert best / 31 > FITTED["linear"]


def halves(ratios: list[float]) -> list[list[float]]:
    return [part for cut in range(1, len(ratios)) for part in (ratios[:cut], ratios[cut:])]


@pytest.mark.parametrize("curve", [LLAVA_1_5_7B, INTERNVL2_8B], ids=lambda curve: curve.model)
@pytest.mark.parametrize("name", ["linear", "step"])
def test_nearest_is_as_near_as_any_of_a_fine_grid(name, curve):
    family, keep = FAMILIES[name](), curve.keep()
    budget = Budget("flops", flops_ratio(VICUNA_7B, Schedule(keep), PROMPT))

    def distance(params) -> float:
        try:
            found = family.schedule(params, budget, VICUNA_7B, PROMPT).keep
        except InputError:
            return 1.0
        return fmean(abs(a - b) for a, b in zip(found, keep, strict=True))

    (parameter,) = family.space(32).parameters
    grid = {parameter.at(i / 60) for i in range(61)}
    least = min(distance({parameter.name: value}) for value in grid)
    assert distance(nearest(family, keep, VICUNA_7B, PROMPT)) <= least + 2e-4


def test_nearest_sigmoid_is_within_half_a_hundredth_of_the_best_fit():
    assert projected_error(Sigmoid(), LLAVA_1_5_7B) <= FITTED["sigmoid"] + 0.005
    assert projected_error(Sigmoid(), INTERNVL2_8B) <= 0.025


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("uniform", {}),
        ("withdraw", {}),
        ("linear", {"fall": 0.8}),
        ("step", {"layer": 5}),
        ("staircase", {"layer": 8, "steps": 3}),
    ],
)
def test_member_of_the_family_is_its_own_nearest(name, params):
    family, budget = FAMILIES[name](), Budget("flops", 0.55)
    member = family.schedule(params, budget, VICUNA_7B, PROMPT)
    found = nearest(family, member.keep, VICUNA_7B, PROMPT)
    assert found == pytest.approx(params, abs=0.02)


def test_nearest_is_deterministic():
    keep = INTERNVL2_8B.keep()
    one, two = (nearest(FAMILIES["linear"](), keep, VICUNA_7B, PROMPT) for _ in range(2))
    assert one == two


def test_layerwise_is_any_curve_itself():
    keep = LLAVA_1_5_7B.keep()
    point = {**nearest(Layerwise(), keep, VICUNA_7B, PROMPT), "scale": 1.0}
    assert Layerwise().at(point, 32).keep == keep


def test_curve_that_is_cheaper_than_the_family_is_refused():
    family, keep = Withdraw(first=20), (1.0, 1.0) + (0.1,) * 30
    with pytest.raises(InputError, match=r"`budget` must be a FLOPs ratio in"):
        nearest(family, keep, VICUNA_7B, PROMPT)


def test_curve_of_another_model_is_refused():
    with pytest.raises(InputError, match="got 31 for a model of 32"):
        nearest(Sigmoid(), (1.0,) * 31, VICUNA_7B, PROMPT)
    with pytest.raises(ScheduleError, match="must be non-increasing"):
        nearest(Layerwise(), (0.5,) * 31 + (0.6,), VICUNA_7B, PROMPT)


@pytest.mark.parametrize("curve", [LLAVA_1_5_7B, INTERNVL2_8B], ids=lambda curve: curve.model)
def test_published_curve_is_a_schedule_through_what_was_read(curve):
    keep = Schedule(curve.keep()).keep
    assert len(keep) == 32
    assert {layer: keep[layer] for layer in curve.read} == pytest.approx(curve.read)


def test_layers_that_were_not_read_lie_between():
    keep = INTERNVL2_8B.keep()
    assert keep[6] == pytest.approx(0.79 - (0.79 - 0.585) / 3)
    assert keep[30] == keep[31] == 0.085

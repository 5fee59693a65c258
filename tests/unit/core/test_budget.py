from statistics import fmean

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schedsearch.core.budget import Budget, Measure, feasible_range, solve_budget
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio, kv_ratio
from schedsearch.core.schedule import Schedule
from schedsearch.errors import InputError
from tests.unit.core.strategies import decoder_shapes, descending, ratios, token_sets

VICUNA_7B = DecoderShape(
    layers=32,
    hidden_size=4096,
    heads=32,
    kv_heads=32,
    head_dim=128,
    mlp_size=11008,
    vocab_size=32064,
)
PROMPT_616 = [SampleTokens(n_vision=576, n_text=40)]


def uniform(keep: float) -> Schedule:
    return Schedule((1.0, 1.0) + (keep,) * 30)


def solve(budget: Budget) -> Schedule:
    return solve_budget(uniform, budget, VICUNA_7B, PROMPT_616)


@given(decoder_shapes(), token_sets, descending(ratios, max_size=10), st.integers(0, 2))
def test_every_schedule_lies_in_the_feasible_range(shape, tokens, keep, first):
    assume(first + len(keep) <= shape.layers)
    tail = keep + keep[-1:] * (shape.layers - first - len(keep))
    schedule = Schedule((1.0,) * first + tail)
    least, most = feasible_range(shape, tokens, first, floor=keep[-1])
    assert least <= flops_ratio(shape, schedule, tokens) <= most == 1.0


def test_half_the_feasible_range_of_llava_7b():
    least, most = feasible_range(VICUNA_7B, PROMPT_616)
    assert least == pytest.approx((2 * 616 + 30 * 40) / (32 * 616), rel=0.03)  # nearly linear
    shares = (0.0, 0.5, 1.0)
    limits = [Budget("feasible", share).limit(VICUNA_7B, PROMPT_616) for share in shares]
    assert limits == [least, pytest.approx((least + most) / 2), most]


def test_feasible_range_depends_on_the_first_reducible_layer():
    share = Budget("feasible", 0.0)
    assert (
        share.limit(VICUNA_7B, PROMPT_616, first=9)
        == (feasible_range(VICUNA_7B, PROMPT_616, first=9)[0])
    )


@pytest.mark.parametrize("amount", [0.1, 0.01])
def test_budget_out_of_reach_is_refused_with_the_range(amount):
    with pytest.raises(InputError, match=r"FLOPs ratio in \[0\.122, 1\.0\].*but got"):
        solve(Budget("flops", amount))


def test_range_that_is_named_can_be_used():
    for amount in (0.122, 1.0):
        solve(Budget("flops", amount))


@pytest.mark.parametrize(
    ("budget", "unit"),
    [(Budget("kv", 0.05), "KV cache ratio"), (Budget("mean_keep", 0.05), "mean keep ratio")],
)
def test_range_is_named_in_the_unit_of_the_budget(budget, unit):
    with pytest.raises(InputError, match=rf"`budget` must be a {unit} in \[0\.\d+, 1\.0\]"):
        solve(budget)


@pytest.mark.parametrize(
    ("measure", "cost"),
    [
        ("flops", lambda schedule: flops_ratio(VICUNA_7B, schedule, PROMPT_616)),
        ("kv", lambda schedule: kv_ratio(VICUNA_7B, schedule, PROMPT_616)),
        ("mean_keep", lambda schedule: fmean(schedule.keep)),
    ],
)
def test_every_measure_finds_the_schedule_that_costs_the_budget(measure, cost):
    assert solve(Budget(measure, cost(uniform(0.5)))) == uniform(0.5)
    assert solve(Budget(measure, cost(uniform(0.5)) - 1e-9)) == uniform(287 / 576)


def test_cost_of_ones_own_is_met_from_below():
    def seconds(schedule: Schedule) -> float:
        return sum(0.25 + keep for keep in schedule.keep)

    own = Measure("seconds", "seconds", lambda _shape, _tokens: seconds, shares=False)
    assert solve(Budget(own, 8 + 2 + 30 * 0.25)) == uniform(0.25)
    with pytest.raises(InputError, match=r"`budget` must be seconds in \[10\.0, 40\.0\]"):
        solve(Budget(own, 3.0))


def test_prompts_without_vision_tokens_leave_only_the_full_ratio():
    text_only = [SampleTokens(0, 40)]
    assert feasible_range(VICUNA_7B, text_only) == (1.0, 1.0)
    assert solve_budget(uniform, Budget("flops", 1.0), VICUNA_7B, text_only) == uniform(1.0)


@pytest.mark.parametrize("measure", ["flops", "feasible", "kv", "mean_keep"])
def test_budget_is_read_from_a_mapping_or_a_line(measure):
    assert Budget.parse({measure: 0.4}) == Budget.parse(f"{measure}: 0.4") == Budget(measure, 0.4)


@pytest.mark.parametrize(
    "value",
    [
        0.4,
        None,
        "",
        "flops",
        "flops: much",
        "flop: 0.4",
        "flops: nan",
        [0.4],
        {},
        {"flops": 0.4, "kv": 0.4},
        {"flop": 0.4},
        {"flops": 40},
        {"flops": -0.1},
        {"flops": True},
        {"kv": "0.4"},
        {"milliseconds": 12.0},
        {3: 0.4},
    ],
)
def test_anything_else_is_refused_with_an_example(value):
    wrong = "must be one of flops, feasible, kv, mean_keep|in [a-z_]+ must be a number"
    with pytest.raises(InputError, match=f"^a budget ({wrong}).*; (write|choose) "):
        Budget.parse(value)


@pytest.mark.parametrize("measure", ["flops", "feasible", "kv", "mean_keep"])
def test_text_of_a_budget_is_read_back(measure):
    assert str(Budget(measure, 0.4)) == f"{measure}: 0.4"
    assert Budget.parse(str(Budget(measure, 0.1 + 0.2))) == Budget(measure, 0.1 + 0.2)


def test_budgets_of_different_costs_differ():
    def own(seconds: float) -> Measure:
        return Measure("flops", "FLOPs ratio", lambda _shape, _tokens: lambda _schedule: seconds)

    one = own(1.0)
    assert Budget(one, 0.4) == Budget(one, 0.4)
    assert len({Budget(one, 0.4), Budget(own(1.0), 0.4), Budget("flops", 0.4)}) == 3


def test_share_of_the_feasible_range_is_a_budget_in_flops():
    budget = Budget("feasible", 0.25)
    limit = budget.limit(VICUNA_7B, PROMPT_616)
    assert budget.absolute(VICUNA_7B, PROMPT_616) == Budget("flops", limit)
    assert Budget("kv", 0.25).absolute(VICUNA_7B, PROMPT_616) == Budget("kv", 0.25)


def test_only_shares_end_at_one():
    own = Measure("seconds", "seconds", lambda _shape, _tokens: lambda _schedule: 0.0, shares=False)
    assert Budget(own, 40.0).amount == 40.0
    with pytest.raises(InputError, match=r"^a budget in flops must be a number in \[0, 1\]"):
        Budget("flops", 40.0)
    with pytest.raises(InputError, match=r"^a budget in seconds must be a number in \[0, inf\]"):
        Budget(own, -1.0)

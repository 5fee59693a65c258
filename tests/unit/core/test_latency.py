import json
import pickle
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.budget import Budget, solve_budget
from schedsearch.core.families import FAMILIES
from schedsearch.core.flops import DecoderShape, SampleTokens
from schedsearch.core.latency import Conditions, LatencyModel
from schedsearch.core.schedule import Schedule
from schedsearch.errors import InputError

CONDITIONS = Conditions(
    model="tiny",
    device="cpu",
    dtype="float32",
    attention="sdpa",
    torch="2.13.0",
    threads=1,
    batch=4,
    n_vision=64,
    n_text=10,
    ranker="last",
    timed_layers=5,
    repeats=3,
)
MODEL = LatencyModel(6, (10, 42, 74), (1.0, 2.0, 4.0), 20.0, 0.75, 0.5, CONDITIONS)
SHAPE = DecoderShape(6, 64, 4, 4, 16, 128, 200)
SAMPLE = SampleTokens(64, 10)

times = st.floats(0, 1e3)


@st.composite
def latency_models(draw: st.DrawFn, layers: int | None = None) -> LatencyModel:
    tokens = tuple(sorted(draw(st.sets(st.integers(1, 900), min_size=2, max_size=9))))
    return LatencyModel(
        layers=layers or draw(st.integers(1, 40)),
        tokens=tokens,
        layer_ms=tuple(draw(st.lists(times, min_size=len(tokens), max_size=len(tokens)))),
        outside_ms=draw(times),
        reduce_ms=draw(times),
        drop_ms=draw(times),
        conditions=CONDITIONS,
        error_ms=draw(st.none() | times),
    )


def test_layer_time_is_linear_between_and_beyond_the_measured_counts():
    at = {0: 0.6875, 10: 1.0, 26: 1.5, 42: 2.0, 58: 3.0, 74: 4.0, 90: 5.0}
    assert {tokens: MODEL.layer_time(tokens) for tokens in at} == at


def test_layer_time_is_never_negative():
    assert replace(MODEL, layer_ms=(1.0, 9.0, 9.0)).layer_time(1) == 0.0


@given(latency_models())
def test_layer_time_never_falls(model):
    found = [model.layer_time(tokens) for tokens in range(1000)]
    assert found == sorted(found)


def test_falling_times_are_pooled_to_their_mean():
    noisy = LatencyModel(6, (1, 2, 3, 4, 5), (3.0, 1.0, 2.0, 6.0, 5.0), 0, 0, 0, CONDITIONS)
    assert [noisy.layer_time(tokens) for tokens in noisy.tokens] == [2.0, 2.0, 2.0, 5.5, 5.5]


@given(latency_models())
def test_pooled_times_are_the_isotonic_regression(model):
    """Against the max-min formula: the highest lower mean of runs that hold the point."""
    times, last = model.layer_ms, len(model.layer_ms)
    expected = [
        max(min(fmean(times[a:b]) for b in range(i + 1, last + 1)) for a in range(i + 1))
        for i in range(last)
    ]
    assert [model.layer_time(tokens) for tokens in model.tokens] == pytest.approx(expected)


def test_prefill_is_the_sum_of_its_parts():
    schedule = Schedule((1.0, 1.0, 0.5, 0.5, 0.0, 0.0))
    assert MODEL.prefill_time(Schedule.full(6), SAMPLE) == 20 + 6 * 4.0
    assert MODEL.prefill_time(schedule, SAMPLE) == 20 + 2 * 4 + 2 * 2 + 2 * 1 + 0.75 + 2 * 0.5


def test_prompts_that_lose_nothing_pay_for_no_drop():
    text_only = SampleTokens(0, 10)
    assert MODEL.prefill_time(Schedule((1.0, 1.0, 0.5, 0.5, 0.5, 0.5)), text_only) == 20 + 6 * 1.0


@given(
    latency_models(layers=6),
    st.lists(st.builds(SampleTokens, st.integers(0, 300), st.integers(1, 50)), min_size=1),
    st.lists(st.floats(0, 1), min_size=6, max_size=6),
)
def test_cost_is_the_mean_over_the_samples(model, samples, keep):
    schedule = Schedule(sorted(keep, reverse=True))
    expected = fmean(model.prefill_time(schedule, sample) for sample in samples)
    assert model.cost(SHAPE, samples)(schedule) == pytest.approx(expected)


@pytest.mark.parametrize("extra", [0.0, 0.5])
@pytest.mark.parametrize("name", ["uniform", "sigmoid", "step", "linear"])
@given(share=st.floats(0, 1), noisy=st.booleans(), n_text=st.integers(1, 30))
def test_milliseconds_are_used_up_to_the_token(name, extra, share, noisy, n_text):
    family = FAMILIES[name]()
    params = {one.name: one.at(0.5) for one in family.space(6).parameters}
    layer_ms = (1.5, 1.0, 4.0) if noisy else MODEL.layer_ms
    model = replace(MODEL, layer_ms=layer_ms, reduce_ms=extra, drop_ms=extra)
    samples = [SAMPLE, SampleTokens(64, n_text)]
    cost = model.cost(SHAPE, samples)
    solved = family.solved(6)
    least, most = (cost(family.at({**params, solved.name: solved.at(end)}, 6)) for end in (0, 1))
    limit = min(least + share * (most - least), most)

    found = family.schedule(params, Budget(model.measure, limit), SHAPE, samples)

    counts = found.counts(64)
    one_more = Schedule.from_counts([min(64, count + 1) for count in counts], 64)
    drops_that_come_or_go = 6 * extra + extra
    assert cost(found) <= limit
    assert counts == (64,) * 6 or cost(one_more) + drops_that_come_or_go > limit


def test_limit_out_of_reach_is_refused_in_milliseconds():
    budget = Budget(MODEL.measure, 5.0)
    with pytest.raises(InputError, match=r"must be milliseconds in \[\d+\.\d+, 44\.0\]"):
        solve_budget(lambda keep: Schedule((1.0, 1.0) + (keep,) * 4), budget, SHAPE, [SAMPLE])


@given(latency_models())
def test_measures_are_equal_where_the_models_are(model):
    same = LatencyModel.from_json(model.to_json())
    assert Budget(model.measure, 5.0) == Budget(same.measure, 5.0)
    assert hash(Budget(model.measure, 5.0)) == hash(Budget(same.measure, 5.0))
    slower = replace(model, outside_ms=model.outside_ms + 1)
    assert Budget(slower.measure, 5.0) != Budget(model.measure, 5.0)


@given(latency_models())
def test_json_and_pickle_give_the_same_model_back(model):
    assert LatencyModel.from_json(model.to_json()) == model
    model.layer_time(5)
    assert pickle.loads(pickle.dumps(model)) == model  # noqa: S301


def test_file_names_its_format(tmp_path):
    path = tmp_path / "latency.json"
    path.write_text(MODEL.to_json(), encoding="utf-8")
    assert json.loads(MODEL.to_json())["format"] == "schedsearch.latency/1"
    assert LatencyModel.load(path) == MODEL


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"layers": 0}, "`layers` must be at least 1, but got 0"),
        ({"tokens": (10, 74, 42)}, "must be positive and ascend, but got 74 -> 42"),
        ({"tokens": (10, 10, 42)}, "must be positive and ascend, but got 10 -> 10"),
        ({"tokens": (0, 10, 42)}, "must be positive and ascend, but got 0 -> 0"),
        ({"tokens": (10, 42)}, "2 counts and 3 times"),
        ({"tokens": (10,), "layer_ms": (1.0,)}, "two token counts or more"),
        ({"layer_ms": (1.0, -2.0, 4.0)}, "0 or more, but got -2.0"),
        ({"outside_ms": -1.0}, "0 or more, but got -1.0"),
        ({"drop_ms": float("nan")}, "0 or more, but got nan"),
        ({"reduce_ms": float("inf")}, "0 or more, but got inf"),
        ({"error_ms": -0.5}, "0 or more, but got -0.5"),
    ],
)
def test_impossible_measurements_are_refused(change, expected):
    with pytest.raises(InputError, match=expected):
        replace(MODEL, **change)


def content(**changes):
    value = json.loads(MODEL.to_json())
    value["latency"] |= changes
    return json.dumps(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is not JSON"),
        ('{"format": ', "is not JSON"),
        ("[]", "must be"),
        (content().replace('"outside_ms"', '"layers": 6, "outside_ms"'), "`layers` appears twice"),
        ('{"format": "schedsearch.schedule/1"}', "`format` must be 'schedsearch.latency/1'"),
        ('{"format": "schedsearch.latency/1"}', "`latency` is missing"),
        (content(layer_mss=[1]), r"`latency.layer_mss` is no field .* did you mean `layer_ms`"),
        (content(layers="6"), "`latency.layers` must be a valid integer, but got '6'"),
        (content(layer_ms=[1, 2, "x"]), r"`latency.layer_ms\[2\]` must be a valid number"),
        (content(layer_ms=[4, 2, -1]), "0 or more, but got -1"),
        (content(outside_ms=1).replace('"outside_ms": 1', '"outside_ms": NaN'), "outside_ms"),
    ],
)
def test_unusable_file_is_one_error_with_its_place(tmp_path, text, expected):
    path = tmp_path / "latency.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"latency\.json: .*{expected}"):
        LatencyModel.load(path)


def test_missing_file_is_one_error(tmp_path):
    with pytest.raises(InputError, match=r"gone\.json: .*schedsearch profile"):
        LatencyModel.load(tmp_path / "gone.json")


def test_model_of_another_depth_is_refused():
    with pytest.raises(InputError, match="measured on 6 decoder layers, but got 8"):
        MODEL.cost(replace(SHAPE, layers=8), [SAMPLE])
    with pytest.raises(InputError, match="measured on 6 decoder layers, but got 4"):
        MODEL.cost(SHAPE, [SAMPLE])(Schedule.full(4))


def test_mean_over_nothing_is_refused():
    with pytest.raises(InputError, match="at least one sample"):
        MODEL.cost(SHAPE, [])

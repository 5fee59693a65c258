"""The parts of a prefill on a clock that only the parts themselves move."""

from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from schedsearch import RankerSpec, Schedule
from schedsearch.core.flops import SampleTokens
from schedsearch.errors import DataError
from schedsearch.evaluation.latency import timing
from schedsearch.evaluation.latency.measure import measure_latency
from schedsearch.reduction import reduction
from schedsearch.reduction.rankers import RANKERS
from schedsearch.reduction.rankers.last import LastRanker
from tests.engine.tiny import LAYERS, N_VISION, TinyLlava, build, pad, question

OUTSIDE, REDUCE, DROP = 0.5, 0.125, 0.0625
SAMPLE = SampleTokens(N_VISION, 17)
SCHEDULES = [
    Schedule.full(LAYERS),
    Schedule((1.0, 1.0, 0.5, 0.5, 0.25, 0.25), RankerSpec("slow")),
    Schedule((1.0, 0.9, 0.7, 0.5, 0.3, 0.1), RankerSpec("slow")),
]


def layer_seconds(tokens: int) -> float:
    return 0.01 + 0.001 * tokens


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the parts of the model take; nothing else does."""
    now = SimpleNamespace(seconds=0.0, speed=1.0)

    def tick(seconds: float) -> None:
        now.seconds += seconds / now.speed

    class SlowRanker(LastRanker):
        def scores(self, *args: Any) -> torch.Tensor:
            tick(DROP)
            return super().scores(*args)

    def slow_prompt(*args: Any, **kwargs: Any) -> Any:
        tick(REDUCE)
        return make_prompt(*args, **kwargs)

    make_prompt = reduction.make_prompt
    monkeypatch.setattr(reduction, "make_prompt", slow_prompt)
    monkeypatch.setitem(RANKERS, "slow", SlowRanker)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    now.tick = tick
    return now


@pytest.fixture
def model(clock):
    made = build(TinyLlava())
    made.lm_head.register_forward_hook(lambda *_: clock.tick(OUTSIDE))
    for layer in made.model.language_model.layers:
        layer.register_forward_hook(lambda *call: clock.tick(layer_seconds(call[-1].shape[1])))
    return made


def inputs(rows: int = 2) -> dict[str, Any]:
    return pad([question(seed) for seed in range(rows)], "left")


def measured(model: Any, repeats: int = 3, **more: Any) -> tuple[Any, list[float]]:
    slow = RankerSpec("slow")
    return measure_latency(
        model, inputs(), SCHEDULES, name="tiny", ranker=slow, repeats=repeats, **more
    )


def test_every_part_is_found(model):
    latency, _ = measured(model)
    assert latency.tokens == (17, 26, 35, 44, 54, 63, 72, 81)
    expected = [1e3 * layer_seconds(tokens) for tokens in latency.tokens]
    assert latency.layer_ms == pytest.approx(expected)
    assert latency.outside_ms == pytest.approx(1e3 * OUTSIDE)
    assert latency.reduce_ms == pytest.approx(1e3 * REDUCE)
    assert latency.drop_ms == pytest.approx(1e3 * DROP)
    where = latency.conditions
    assert (where.batch, where.n_vision, where.n_text, where.timed_layers) == (2, 64, 17, 5)
    assert (where.model, where.device, where.dtype, where.ranker) == (
        "tiny",
        "cpu",
        "float32",
        "slow",
    )


def test_parts_add_up_to_whole_prefills(model):
    latency, whole = measured(model)
    predicted = [latency.prefill_time(schedule, SAMPLE) for schedule in SCHEDULES]
    assert predicted == pytest.approx(whole)
    assert latency.error_ms == pytest.approx(0.0, abs=1e-6)
    counts = [SCHEDULES[1].counts(N_VISION), SCHEDULES[2].counts(N_VISION)]
    for time, kept, drops in zip(whole[1:], counts, (2, 5), strict=True):
        layers = sum(layer_seconds(17 + count) for count in kept)
        assert time == pytest.approx(1e3 * (OUTSIDE + layers + REDUCE + drops * DROP))


def test_machine_that_changes_speed_favours_no_part(model, clock):
    speeds = iter((0.5, 2.0, 0.25, 1.0, 1.0))

    def turn_over(_done: int, _all: int) -> None:
        clock.speed = next(speeds)

    latency, whole = measured(model, repeats=4, on_progress=turn_over)
    ratio = latency.outside_ms / (1e3 * OUTSIDE)
    assert ratio != pytest.approx(1.0)
    assert latency.layer_time(81) == pytest.approx(ratio * 1e3 * layer_seconds(81))
    assert latency.prefill_time(SCHEDULES[0], SAMPLE) == pytest.approx(whole[0])


def test_machine_that_slows_down_steadily_favours_no_part(model, clock, monkeypatch):
    readings = count()

    def perf_counter() -> float:
        clock.speed = 1 / (1 + 0.01 * next(readings))
        return clock.seconds

    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=perf_counter))
    latency, whole = measured(model, repeats=2)
    assert whole[0] > 1.3 * 1e3 * (OUTSIDE + LAYERS * layer_seconds(81))
    assert latency.prefill_time(SCHEDULES[0], SAMPLE) == pytest.approx(whole[0])


def test_every_timed_layer_finds_an_empty_cache(model):
    lengths: list[int] = []
    for index, layer in enumerate(model.model.language_model.layers):
        layer.register_forward_pre_hook(
            lambda _module, _args, kwargs, index=index: lengths.append(
                kwargs["past_key_values"].get_seq_length(index)
            ),
            with_kwargs=True,
        )
    measured(model)
    assert len(lengths) > 8 * 5 * 4
    assert set(lengths) == {0}


def test_unmeasured_turn_leaves_no_trace(model, clock):
    clock.speed = 0.001

    def turn_over(_done: int, _all: int) -> None:
        clock.speed = 1.0

    latency, _ = measured(model, repeats=1, on_progress=turn_over)
    assert latency.outside_ms == pytest.approx(1e3 * OUTSIDE)


def test_progress_counts_turns(model):
    seen: list[tuple[int, int]] = []
    measured(model, repeats=2, on_progress=lambda done, all_: seen.append((done, all_)))
    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_model_is_the_same_afterwards(model):
    prompt = inputs()
    with torch.inference_mode():
        before = model(**prompt).logits
    hooks = [len(layer._forward_pre_hooks) for layer in model.model.language_model.layers]
    measured(model)
    with torch.inference_mode():
        assert torch.equal(model(**prompt).logits, before)
    after = [len(layer._forward_pre_hooks) for layer in model.model.language_model.layers]
    assert after == hooks


def test_layers_are_back_after_an_error(model):
    def fail(*_args: Any) -> None:
        raise RuntimeError("stop")

    layers = model.model.language_model.layers
    with pytest.raises(RuntimeError, match="stop"):
        measured(model, on_progress=fail)
    # The second forward without layers fails inside the context that takes them away.
    calls = iter([None] * 3)
    model.lm_head.register_forward_hook(lambda *_: next(calls))
    with pytest.raises(StopIteration):
        measured(model)
    assert model.model.language_model.layers is layers


@pytest.mark.parametrize(
    "bad",
    [
        question(1, images=0),
        pad([question(1), question(2, behind=14)], "left"),
        pad([question(1, behind=79), question(2, images=2)], "left"),  # as long
    ],
    ids=["no vision", "padded", "uneven"],
)
def test_uneven_prompts_are_refused(model, bad):
    with pytest.raises(DataError, match="equal length with equally many vision tokens"):
        measure_latency(model, bad, [], name="tiny", repeats=1)


def test_nothing_to_check_leaves_the_error_open(model):
    latency, whole = measure_latency(model, inputs(), [], name="tiny", repeats=1)
    assert latency.error_ms is None
    assert whole == []

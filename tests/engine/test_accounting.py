"""What a reduced prefill costs is what the formulas of core say, to the byte and the operation."""

import gc
import weakref
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from schedsearch import RankerSpec, Schedule, reduce
from schedsearch.core.flops import kv_bytes, layer_flops, prefill_flops, ranking_flops
from schedsearch.models.adapters import adapter_for
from schedsearch.reduction.prefill import Prefill
from tests.engine.tiny import (
    CONFIGURATIONS,
    KEEP,
    LAYERS,
    N_VISION,
    VOCAB,
    TinyLlava,
    build,
    question,
    shared,
)

SCHEDULE = Schedule(KEEP)
COUNTS = (64, 64, 32, 32, 16, 7)
SAMPLE = question(41, before=5, behind=12)
N_TEXT = 17


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("tiny", CONFIGURATIONS, ids=str)
def test_kv_cache_holds_the_predicted_bytes_and_nothing_behind_them(
    tiny: TinyLlava, dtype: torch.dtype
) -> None:
    model = build(tiny).to(dtype)
    sample = {**SAMPLE, "pixel_values": SAMPLE["pixel_values"].to(dtype)}

    with reduce(model, SCHEDULE):
        cache = model(**sample).past_key_values

    tensors = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
    assert [cache.get_seq_length(layer) for layer in range(LAYERS)] == [c + N_TEXT for c in COUNTS]
    shape = adapter_for(model).shape(model)
    predicted = kv_bytes(shape, COUNTS, N_TEXT, bytes_per_value=dtype.itemsize)
    # A view would keep the storage of the longer tensor alive.
    assert sum(tensor.untyped_storage().nbytes() for tensor in tensors) == predicted
    assert sum(tensor.nbytes for tensor in tensors) == predicted


def test_kv_cache_of_two_images_and_decoding_has_the_predicted_lengths() -> None:
    model, sample = shared(), question(42, before=5, behind=12, images=2)

    with reduce(model, SCHEDULE):
        found = model.generate(**sample, max_new_tokens=4, return_dict_in_generate=True)

    lengths = [found.past_key_values.get_seq_length(layer) for layer in range(LAYERS)]
    # Three words stand between the images; the last of four tokens is never fed back.
    assert lengths == [count + N_TEXT + 3 + 3 for count in SCHEDULE.counts(2 * N_VISION)]


def measured_flops(model: Any, sample: dict[str, Any]) -> tuple[list[int], int]:
    with FlopCounterMode(display=False) as counter:
        model(**sample)
    by_module = counter.get_flop_counts()
    name = "LlavaForConditionalGeneration"
    layers = [
        sum(by_module[f"{name}.model.language_model.layers.{layer}"].values())
        for layer in range(LAYERS)
    ]
    return layers, sum(by_module[f"{name}.lm_head"].values())


@pytest.mark.parametrize(("ranker", "rows"), [("last", 1), ("text", 12), ("random", 0)])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_counted_flops_equal_the_formula_layer_by_layer(
    kv_heads: int, ranker: str, rows: int
) -> None:
    # Under sdpa on a CPU the counter sees no attention at all.
    model = shared(TinyLlava(kv_heads, "eager"))
    shape = adapter_for(model).shape(model)

    with reduce(model, Schedule(KEEP, RankerSpec(ranker))):
        layers, head = measured_flops(model, SAMPLE)

    expected = [layer_flops(shape, count + N_TEXT) for count in COUNTS]
    for layer in (1, 3, 4):  # before each drop
        expected[layer] += ranking_flops(shape, COUNTS[layer] + N_TEXT, rows)
    assert layers == expected
    rankings = sum(ranking_flops(shape, COUNTS[layer] + N_TEXT, rows) for layer in (1, 3, 4))
    width = N_VISION + N_TEXT
    total = prefill_flops(shape, COUNTS, N_TEXT, head_rows=width) + rankings
    assert sum(layers) + head == total
    assert head == 2 * width * shape.hidden_size * VOCAB


def test_full_schedule_counts_as_the_unmodified_model() -> None:
    model = shared(TinyLlava(attention="eager"))
    expected = measured_flops(model, SAMPLE)

    with reduce(model, Schedule.full(LAYERS)):
        assert measured_flops(model, SAMPLE) == expected


def test_no_state_of_a_prefill_outlives_its_forward() -> None:
    model = shared()

    with reduce(model, SCHEDULE):
        output = model(**SAMPLE)
        gc.collect()
        assert not [found for found in gc.get_objects() if type(found) is Prefill]

        cache = weakref.ref(output.past_key_values)
        del output
        gc.collect()
        assert cache() is None, "the reduction keeps the KV cache alive"

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from schedsearch.core.flops import (
    DecoderShape,
    SampleTokens,
    flops_ratio,
    kv_bytes,
    kv_ratio,
    layer_flops,
    prefill_flops,
    ranking_flops,
)
from schedsearch.core.schedule import Schedule
from schedsearch.errors import InputError
from tests.unit.core.strategies import decoder_shapes, ratios, token_sets

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


def llama(kv_heads: int, head_dim: int) -> tuple[LlamaForCausalLM, DecoderShape]:
    """A small random Llama in eager attention, the only one whose FLOPs torch counts on CPU."""
    shape = DecoderShape(
        layers=3,
        hidden_size=48,
        heads=4,
        kv_heads=kv_heads,
        head_dim=head_dim,
        mlp_size=80,
        vocab_size=101,
    )
    config = LlamaConfig(
        num_hidden_layers=shape.layers,
        hidden_size=shape.hidden_size,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.mlp_size,
        vocab_size=shape.vocab_size,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval(), shape


@pytest.mark.parametrize("head_rows", [1, 7])
@pytest.mark.parametrize("length", [7, 33, 130])
@pytest.mark.parametrize(
    ("kv_heads", "head_dim"),
    [(4, 12), (2, 12), (1, 12), (2, 20)],
    ids=["mha", "gqa", "mqa", "wide"],
)
def test_formula_equals_what_torch_counts(kv_heads, head_dim, length, head_rows):
    model, shape = llama(kv_heads, head_dim)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.arange(length)[None] % 101, logits_to_keep=head_rows, use_cache=False)

    formula = prefill_flops(shape, (length - 5,) * shape.layers, n_text=5, head_rows=head_rows)
    # transformers 5.17 makes its rotary tables by a matrix product.
    tables = counter.get_flop_counts().get("LlamaForCausalLM.model.rotary_emb", {})
    assert counter.get_total_flops() - sum(tables.values()) == formula


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_kv_formula_equals_the_bytes_of_a_real_cache(kv_heads):
    model, shape = llama(kv_heads, head_dim=12)
    cache = DynamicCache()
    with torch.no_grad():
        model(torch.arange(17)[None], past_key_values=cache)

    stored = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert kv_bytes(shape, (12, 12, 12), n_text=5, bytes_per_value=4) == stored


@pytest.mark.parametrize("rows", [1, 20])
def test_ranking_formula_equals_what_torch_counts(rows):
    query, key = torch.randn(4, rows, 12), torch.randn(4, 33, 12)
    with FlopCounterMode(display=False) as counter:
        query @ key.transpose(1, 2)
    assert ranking_flops(llama(4, 12)[1], tokens=33, rows=rows) == counter.get_total_flops()


def test_llava_7b_prefill_costs_what_is_published():
    full = prefill_flops(VICUNA_7B, (576,) * 32, n_text=40, head_rows=1)
    assert full / 1e12 == pytest.approx(8.18, abs=0.005)


def test_half_dropped_at_layer_two_of_llava_7b():
    half = Schedule((1.0, 1.0) + (0.5,) * 30)
    assert flops_ratio(VICUNA_7B, half, PROMPT_616) == pytest.approx(0.556, abs=5e-4)
    assert kv_ratio(VICUNA_7B, half, PROMPT_616) == pytest.approx(0.562, abs=5e-4)


def test_ratio_over_samples_is_a_ratio_of_means():
    schedule = Schedule((1.0,) * 2 + (0.25,) * 30)
    tokens = [SampleTokens(576, 40), SampleTokens(2880, 10), SampleTokens(576, 40)]
    reduced = sum(
        prefill_flops(VICUNA_7B, schedule.counts(one.n_vision), one.n_text) for one in tokens
    )
    full = sum(32 * layer_flops(VICUNA_7B, one.n_vision + one.n_text) for one in tokens)
    assert flops_ratio(VICUNA_7B, schedule, tokens) == reduced / full

    kept, everything = (
        sum(kv_bytes(VICUNA_7B, which.counts(one.n_vision), one.n_text) for one in tokens)
        for which in (schedule, Schedule.full(32))
    )
    assert kv_ratio(VICUNA_7B, schedule, tokens) == kept / everything


@given(decoder_shapes(), token_sets)
def test_keep_all_costs_exactly_everything(shape, tokens):
    full = Schedule.full(shape.layers)
    assert flops_ratio(shape, full, tokens) == 1.0
    assert kv_ratio(shape, full, tokens) == 1.0


@given(st.data(), decoder_shapes(), token_sets)
def test_dropping_more_never_costs_more(data, shape, tokens):
    same_depth = st.lists(ratios, min_size=shape.layers, max_size=shape.layers)
    keep = sorted(data.draw(same_depth), reverse=True)
    lower = [ratio * data.draw(ratios) for ratio in keep]
    more, less = Schedule(keep), Schedule(sorted(lower, reverse=True))
    assert flops_ratio(shape, less, tokens) <= flops_ratio(shape, more, tokens) <= 1
    assert kv_ratio(shape, less, tokens) <= kv_ratio(shape, more, tokens) <= 1


def uniform(keep: float) -> Schedule:
    return Schedule((1.0, 1.0) + (keep,) * 30)


def test_ratio_over_no_samples_is_refused():
    with pytest.raises(InputError, match="needs at least one sample"):
        flops_ratio(VICUNA_7B, uniform(0.5), [])


def test_schedule_of_another_depth_is_refused():
    with pytest.raises(InputError, match="got 31 for a model of 32"):
        flops_ratio(VICUNA_7B, Schedule.full(31), PROMPT_616)
    with pytest.raises(InputError, match="got 31 for a model of 32"):
        kv_bytes(VICUNA_7B, (576,) * 31, n_text=40)


def test_impossible_sizes_are_refused():
    with pytest.raises(InputError, match="`kv_heads` must be at least 1, but got 0"):
        DecoderShape(2, 64, 4, 0, 16, 128, 100)
    with pytest.raises(InputError, match="a prompt must have tokens"):
        SampleTokens(0, 0)

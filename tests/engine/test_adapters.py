"""Who is served by which adapter, and what is refused with the reason."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    MllamaConfig,
    MllamaForConditionalGeneration,
    PreTrainedConfig,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)

from schedsearch import RankerSpec, Schedule, ScheduleError, UnsupportedError, reduce
from schedsearch.engine.adapters import ADAPTERS, adapter_for
from schedsearch.engine.adapters.generic import GenericAdapter
from schedsearch.testing import AdapterContract
from tests.engine.families import FAMILIES, TEXT, UNPROVEN

WARNING = "ignore:.*runs through the generic one"


@pytest.mark.filterwarnings(WARNING)
class TestUnprovenFamily(AdapterContract):
    build = staticmethod(UNPROVEN["vip_llava"].build)
    samples = staticmethod(UNPROVEN["vip_llava"].samples)
    vision_tokens = UNPROVEN["vip_llava"].vision_tokens
    attentions = ("sdpa",)


def test_every_adapter_is_proven_by_a_family() -> None:
    served = {type(family.build("sdpa")).__name__ for family in FAMILIES.values()}
    assert served == ADAPTERS.keys()


def test_an_unknown_architecture_is_served_with_a_warning() -> None:
    model = UNPROVEN["vip_llava"].build("sdpa")
    with pytest.warns(UserWarning, match="VipLlava.*no adapter of its own.*contract suite"):
        adapter = adapter_for(model)
    assert type(adapter) is GenericAdapter


def tiny(config: Any, cls: Any) -> Any:
    with torch.device("meta"):
        return cls(config)


def moe() -> Any:
    text = TEXT | {"num_experts": 4, "moe_intermediate_size": 16, "num_experts_per_tok": 2}
    text |= {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1]}}
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "out_hidden_size": 32}
    vision["deepstack_visual_indexes"] = [0]
    return tiny(
        Qwen3VLMoeConfig(text_config=text, vision_config=vision),
        Qwen3VLMoeForConditionalGeneration,
    )


def cross_attention() -> Any:
    text = {**TEXT, "cross_attention_layers": [1], "num_hidden_layers": 2}
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e4}
    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_global_layers": 1, "image_size": 32}
    vision |= {"attention_heads": 2, "intermediate_size": 16, "vision_output_dim": 32}
    return tiny(
        MllamaConfig(text_config=text, vision_config=vision), MllamaForConditionalGeneration
    )


def test_what_the_generic_adapter_cannot_serve_is_named() -> None:
    message = "needs .*`self_attn` with a config in every layer.*write an adapter"
    with pytest.raises(UnsupportedError, match=message):
        adapter_for(cross_attention())


def test_a_mixture_of_experts_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="mixture of experts.*dense checkpoint"):
        adapter_for(moe())


def test_remote_code_is_refused_with_the_native_checkpoints() -> None:
    class InternVLChatConfig(PreTrainedConfig):
        model_type = "internvl_chat"
        vision_config: Any = None

    class InternVLChatModel(nn.Module):
        config = InternVLChatConfig()

    with pytest.raises(UnsupportedError, match="InternVLChatModel cannot be reduced: .*-hf"):
        adapter_for(InternVLChatModel())


def gemma3() -> Any:
    return FAMILIES["gemma3"].build("sdpa")


def test_a_drop_that_no_layer_can_rank_names_the_first_that_can() -> None:
    schedule = Schedule((1.0, 0.5, 0.5, 0.5, 0.5, 0.5))
    with pytest.raises(ScheduleError, match="before layer 1 .*drop from layer 2 on"):
        reduce(gemma3(), schedule).__enter__()

    with reduce(gemma3(), Schedule(schedule.keep, RankerSpec("random"))):
        pass


def test_tokens_behind_a_sliding_layer_are_ranked_by_the_full_layer_before_it() -> None:
    adapter = adapter_for(gemma3())

    assert adapter.windows(gemma3()) == (12, None, 12, None, 12, None)
    ranking = [adapter.ranking_layer(gemma3(), layer) for layer in range(6)]
    assert ranking == [None, None, 1, 1, 3, 3]


def test_flash_attention_with_sliding_windows_is_refused() -> None:
    model = gemma3()
    model.get_decoder().config._attn_implementation_internal = "flash_attention_2"
    schedule = Schedule((1.0, 1.0, 0.5, 0.5, 0.5, 0.5))
    with pytest.raises(UnsupportedError, match="sliding-window layers.*sdpa or eager"):
        reduce(model, schedule).__enter__()


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("attn_logit_softcapping", 50.0, "caps its attention logits"),
        ("layer_types", ["full_attention", "chunked_attention"] * 3, "chunked_attention"),
        ("layer_types", ["sliding_attention"] * 6, "sliding-window attention in every"),
    ],
)
def test_attention_that_the_runtime_does_not_know_is_refused(
    setting: str, value: Any, message: str
) -> None:
    model = gemma3()
    setattr(model.get_decoder().config, setting, value)
    with pytest.raises(UnsupportedError, match=message):
        adapter_for(model)


def test_layers_that_take_more_per_token_are_refused() -> None:
    model = FAMILIES["llava"].build("sdpa")
    sample = next(iter(FAMILIES["llava"].samples(model).values()))
    layer = model.get_decoder().layers[2]
    extra = torch.zeros(*sample["input_ids"].shape, 4)
    layer.register_forward_pre_hook(
        lambda _m, args, kwargs: (args, {**kwargs, "per_layer_input": extra}),
        with_kwargs=True,
        prepend=True,
    )
    with (
        reduce(model, Schedule((1.0, 1.0, 0.5, 0.5, 0.5))),
        pytest.raises(UnsupportedError, match="'per_layer_input'.*adapter of its own"),
    ):
        model(**sample)


def test_deepstack_out_of_reach_is_refused() -> None:
    model = FAMILIES["qwen3_vl"].build("sdpa")
    decoder = model.get_decoder()
    decoder._deepstack_process = None
    with pytest.raises(UnsupportedError, match="_deepstack_process.*between 5.17 and 5.23"):
        adapter_for(model)

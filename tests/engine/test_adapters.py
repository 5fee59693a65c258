"""Who is served by which adapter, and what is refused with the reason."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AriaConfig,
    AriaForConditionalGeneration,
    CohereConfig,
    GPTNeoXConfig,
    GraniteMoeConfig,
    JetMoeConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MixtralConfig,
    MllamaConfig,
    MllamaForConditionalGeneration,
    Phi3Config,
    PhiConfig,
    PreTrainedConfig,
    Qwen2MoeConfig,
    Qwen3Config,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
    SmolLM3Config,
    Starcoder2Config,
)

from schedsearch import RankerSpec, Schedule, ScheduleError, UnsupportedError, reduce
from schedsearch.models.adapters import adapter_for
from schedsearch.models.adapters.generic import GenericAdapter
from schedsearch.testing import AdapterContract
from tests.engine.families import FAMILIES, IMAGE, TEXT, TOWER, UNPROVEN, clip

WARNING = "ignore:.*runs through the generic one"


@pytest.mark.filterwarnings(WARNING)
class TestUnprovenFamily(AdapterContract):
    build = staticmethod(UNPROVEN["vip_llava"].build)
    samples = staticmethod(UNPROVEN["vip_llava"].samples)
    vision_tokens = UNPROVEN["vip_llava"].vision_tokens
    attentions = ("sdpa",)


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


def around(text: Any) -> Any:
    """LLaVA around a text model of another family."""
    config = LlavaConfig(vision_config=clip(), text_config=text, image_token_index=IMAGE)
    return tiny(config, LlavaForConditionalGeneration)


def aria() -> Any:
    text = {**TEXT, "moe_num_experts": 4, "moe_topk": 2, "moe_num_shared_experts": 1}
    config = AriaConfig(
        vision_config={**TOWER, "image_size": 16},
        text_config=text,
        projector_patch_to_query_dict={"16": 4},
        image_token_index=IMAGE,
    )
    return tiny(config, AriaForConditionalGeneration)


MIXTURES = {
    "qwen3_vl_moe": moe,
    "aria": aria,
    "mixtral": lambda: around(MixtralConfig(**TEXT)),
    "granite": lambda: around(GraniteMoeConfig(**TEXT)),
    "jetmoe": lambda: around(JetMoeConfig(**TEXT)),
    "qwen2": lambda: around(Qwen2MoeConfig(**TEXT)),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixture_of_experts_is_refused_whatever_its_config_calls_them(name: str) -> None:
    with pytest.raises(UnsupportedError, match="mixture of experts.*dense checkpoint"):
        adapter_for(MIXTURES[name]())


def test_experts_in_a_single_layer_are_found() -> None:
    model = FAMILIES["llava"].build("sdpa")
    model.get_decoder().layers[3].mlp.experts = nn.ModuleList([nn.Linear(4, 4)])

    with pytest.raises(UnsupportedError, match="layer 3 holds mlp.experts"):
        adapter_for(model)


@pytest.mark.parametrize("config", [Starcoder2Config, PhiConfig, GPTNeoXConfig])
def test_layers_whose_flops_would_be_counted_wrong_are_refused(config: Any) -> None:
    """Their MLPs have two matrices in place of three."""
    with pytest.raises(UnsupportedError, match="layer 0 .*but a gated MLP.*counted wrong"):
        adapter_for(around(config(**{**TEXT, "sliding_window": None})))


@pytest.mark.parametrize("config", [Phi3Config, Qwen3Config, SmolLM3Config, CohereConfig])
def test_usual_layers_in_other_arrangements_are_served(config: Any) -> None:
    """Fused matrices, norms inside the attention, layers without positions."""
    assert adapter_for(around(config(**TEXT))).shape(around(config(**TEXT))).mlp_size == 64


def test_layers_of_different_sizes_are_refused_with_what_differs() -> None:
    config = pytest.importorskip("transformers.models.gemma4.configuration_gemma4")
    text = config.Gemma4TextConfig(**TEXT)
    if not getattr(text, "is_heterogeneous", False):
        pytest.skip("this release knows no sizes by layer")

    with pytest.raises(UnsupportedError, match="differ in head_dim.*layers are all alike"):
        adapter_for(around(text))


def test_a_layer_of_another_size_is_refused_without_a_word_in_the_config() -> None:
    model = FAMILIES["llava"].build("sdpa")
    model.get_decoder().layers[2].mlp.up_proj = nn.Linear(32, 48)

    with pytest.raises(UnsupportedError, match="layer 2 .*counted wrong"):
        adapter_for(model)


@pytest.mark.filterwarnings(WARNING)
def test_positions_that_layers_make_themselves_are_refused_from_the_start() -> None:
    model = UNPROVEN["vip_llava"].build("sdpa")
    del model.get_decoder().rotary_emb

    with pytest.raises(UnsupportedError, match="needs .*`rotary_emb`.*write an adapter"):
        reduce(model, Schedule((1.0,) * 5)).__enter__()


@pytest.mark.filterwarnings(WARNING)
@pytest.mark.parametrize(
    "given",
    [None, (), torch.zeros(1, 3, 8), (torch.zeros(1, 3, 8),) * 2, (torch.zeros(3, 1, 27, 8),) * 2],
)
def test_position_embeddings_of_another_form_are_refused(given: Any) -> None:
    model = UNPROVEN["vip_llava"].build("sdpa")
    sample = next(iter(UNPROVEN["vip_llava"].samples(model).values()))
    for layer in model.get_decoder().layers:
        layer.register_forward_pre_hook(
            lambda _m, args, kwargs: (args, {**kwargs, "position_embeddings": given}),
            with_kwargs=True,
            prepend=True,
        )
        layer.self_attn.forward = lambda hidden_states, **_: (hidden_states, None)

    with (
        reduce(model, Schedule((1.0, 0.5, 0.5, 0.5, 0.5), RankerSpec("uniform"))),
        pytest.raises(UnsupportedError, match="`position_embeddings`, rotary tables"),
    ):
        model(**sample)


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
    with pytest.raises(ScheduleError, match="before layer 1 .*remove from layer 2 on"):
        reduce(gemma3(), schedule).__enter__()

    with reduce(gemma3(), Schedule(schedule.keep, RankerSpec("random"))):
        pass


def test_a_model_in_which_only_the_last_layer_sees_everything_ranks_nothing() -> None:
    """As Gemma 3 does with six layers and its own pattern."""
    model = gemma3()
    types = ["sliding_attention"] * 5 + ["full_attention"]
    model.get_decoder().config.layer_types = types
    schedule = Schedule((1.0, 1.0, 0.5, 0.5, 0.5, 0.5))

    with pytest.raises(ScheduleError, match="before layer 2 .*; use a ranker without attention"):
        reduce(model, schedule).__enter__()

    with reduce(model, Schedule(schedule.keep, RankerSpec("diverse"))):
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

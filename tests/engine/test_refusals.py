"""What would run and be silently wrong is refused, with place and remedy; the rest just runs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MistralConfig,
    StaticCache,
)

from schedsearch import InputError, RankerSpec, Schedule, ScheduleError, UnsupportedError, reduce
from schedsearch.core.schedule import Target
from tests.engine.tiny import KEEP, LAYERS, TinyLlava, build, question, shared

SCHEDULE = Schedule(KEEP)
SAMPLE = question(71)
IDS = SAMPLE["input_ids"]
ARCHITECTURE = "LlavaForConditionalGeneration"


def refusal(model: Any, schedule: Schedule) -> InputError:
    """Error of entering the context."""
    with pytest.raises(InputError) as caught, reduce(model, schedule):
        pass
    return caught.value


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            replace(SCHEDULE, target=Target("Qwen2VLForConditionalGeneration", LAYERS)),
            "made for Qwen2VLForConditionalGeneration, but the model is LlavaForConditional",
        ),
        (
            replace(SCHEDULE, target=Target(ARCHITECTURE, LAYERS, hidden_size=4096)),
            "hidden size 4096, but the model has 64",
        ),
        (Schedule((1.0, 1.0, 0.5)), "6 decoder layers, but got 3"),
        (Schedule((0.5,) * LAYERS), "must be 1 at layer 0, but got 0.5.*from layer 1"),
        (Schedule(KEEP, RankerSpec("nearest")), "`ranker.name` must be one of .*last, .*'nearest'"),
        (
            Schedule(KEEP, RankerSpec("random", (("sede", 1),))),
            "`ranker.params` of 'random'.*sede",
        ),
        (Schedule(KEEP, RankerSpec("last", (("seed", 1),))), "`ranker.params` of 'last'"),
    ],
    ids=["architecture", "hidden size", "depth", "layer 0", "ranker", "typo", "no parameters"],
)
def test_a_schedule_that_does_not_fit_is_refused(schedule: Schedule, message: str) -> None:
    model = shared()

    with pytest.raises(ScheduleError, match=message), reduce(model, schedule):
        pass

    with reduce(model, SCHEDULE):  # the refusal left no claim on the model
        pass


def test_a_matching_target_is_accepted() -> None:
    target = Target(ARCHITECTURE, LAYERS, hidden_size=64)

    with reduce(shared(), replace(SCHEDULE, target=target)) as reduction:
        shared()(**SAMPLE)
        assert set(reduction.kept) == {2, 3, 4, 5}


SMALL = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "vocab_size": 160,
}


def test_a_model_that_is_not_multimodal_is_refused() -> None:
    error = refusal(LlamaForCausalLM(LlamaConfig(**SMALL)), SCHEDULE)

    assert isinstance(error, UnsupportedError)
    assert "LlamaForCausalLM is not a multimodal model" in str(error)
    assert ARCHITECTURE in str(error)


def test_an_unsupported_architecture_is_refused() -> None:
    text = CLIPTextConfig(**SMALL)
    config = CLIPConfig(
        text_config=text, vision_config=CLIPVisionConfig(**SMALL | {"image_size": 32})
    )

    error = refusal(CLIPModel(config), SCHEDULE)

    assert isinstance(error, UnsupportedError)
    assert "CLIPModel has no adapter, and the generic one cannot serve it" in str(error)
    assert "`get_decoder()` that returns a text model with `layers`" in str(error)


def test_a_module_without_any_config_is_refused() -> None:
    assert "not a multimodal model" in str(refusal(torch.nn.Linear(2, 2), SCHEDULE))


def test_a_decoder_with_sliding_windows_is_refused() -> None:
    text = MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=16)
    vision = CLIPVisionConfig(**SMALL | {"image_size": 32})
    model = LlavaForConditionalGeneration(LlavaConfig(text_config=text, vision_config=vision))

    assert "sliding-window" in str(refusal(model, SCHEDULE))

    model.config.text_config.sliding_window = None
    with reduce(model, SCHEDULE):
        pass


def test_an_attention_implementation_without_support_is_refused() -> None:
    model = build(TinyLlava(attention="flex_attention"))

    assert "'flex_attention' is not supported" in str(refusal(model, SCHEDULE))


def generation_config(model: Any, **settings: Any) -> Any:
    """What a user would write; the settings of the model are its own."""
    return GenerationConfig(**{**model.generation_config.to_dict(), **settings})


def static_cache(model: Any) -> StaticCache:
    return StaticCache(config=model.config.get_text_config(), max_cache_len=128)


def embeds(model: Any) -> torch.Tensor:
    return model.get_input_embeddings()(IDS)


CALLS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "static cache by argument": (
        lambda model: model.generate(**SAMPLE, cache_implementation="static"),
        "cache_implementation='static' is not supported.*dynamic cache",
    ),
    "static cache by generation config": (
        lambda model: model.generate(
            **SAMPLE, generation_config=generation_config(model, cache_implementation="static")
        ),
        "cache_implementation='static'",
    ),
    "static cache by positional generation config": (
        lambda model: model.generate(
            IDS, generation_config(model, cache_implementation="static"), **without_ids()
        ),
        "cache_implementation='static'",
    ),
    "offloaded static cache": (
        lambda model: model.generate(**SAMPLE, cache_implementation="offloaded_static"),
        "cache_implementation='offloaded_static'",
    ),
    "static cache in generate": (
        lambda model: model.generate(
            **SAMPLE, past_key_values=static_cache(model), max_new_tokens=2
        ),
        "StaticCache is not supported",
    ),
    "static cache in forward": (
        lambda model: model(**SAMPLE, past_key_values=static_cache(model)),
        "StaticCache is not supported",
    ),
    "chunked prefill": (
        lambda model: model.generate(**SAMPLE, prefill_chunk_size=16),
        "`prefill_chunk_size` splits the prompt.*leave it unset",
    ),
    "chunked prefill by generation config": (
        lambda model: model.generate(
            **SAMPLE, generation_config=generation_config(model, prefill_chunk_size=16)
        ),
        "`prefill_chunk_size`",
    ),
    "no cache": (
        lambda model: model.generate(**SAMPLE, use_cache=False),
        "`use_cache=False` would rank tokens anew.*leave `use_cache` on",
    ),
    "no cache by generation config": (
        lambda model: model.generate(
            **SAMPLE, generation_config=generation_config(model, use_cache=False)
        ),
        "`use_cache=False`",
    ),
    "embeddings in forward": (
        lambda model: model(inputs_embeds=embeds(model)),
        "`inputs_embeds` hide which tokens are vision.*`input_ids`",
    ),
    "embeddings in generate": (
        lambda model: model.generate(inputs_embeds=embeds(model), max_new_tokens=2),
        "`inputs_embeds` hide",
    ),
    "prepared mask": (
        lambda model: model(
            **{**SAMPLE, "attention_mask": torch.zeros(1, 1, IDS.shape[1], IDS.shape[1])}
        ),
        "4-D attention mask.*2-D",
    ),
    "prepared mask on a cached prompt": (
        lambda model: model(
            input_ids=torch.tensor([[7, 8]]),
            attention_mask=torch.zeros(1, 1, 2, IDS.shape[1] + 2),
            past_key_values=model(**SAMPLE).past_key_values,
        ),
        "4-D attention mask.*2-D",
    ),
    "decoder alone": (
        lambda model: model.get_decoder()(inputs_embeds=embeds(model)),
        "decoder was called without the multimodal model.*call the model itself",
    ),
}


def without_ids() -> dict[str, Any]:
    return {key: value for key, value in SAMPLE.items() if key != "input_ids"}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_cannot_be_right_is_refused(name: str) -> None:
    model, (call, message) = shared(), CALLS[name]

    with reduce(model, SCHEDULE):
        with pytest.raises(UnsupportedError, match=message):
            call(model)
        # The refusal leaves nothing behind that would disturb the next call.
        assert torch.isfinite(model(**SAMPLE).logits).all()


def test_the_models_own_generation_config_is_checked() -> None:
    model = build(TinyLlava())
    model.generation_config.cache_implementation = "static"

    with reduce(model, SCHEDULE), pytest.raises(UnsupportedError, match="'static'"):
        model.generate(**SAMPLE)


def test_an_argument_overrides_the_generation_config() -> None:
    model = build(TinyLlava())
    model.generation_config.use_cache = False

    with reduce(model, SCHEDULE) as reduction:
        model.generate(**SAMPLE, use_cache=True, max_new_tokens=2)
        assert reduction.kept


def test_text_prompts_run_unreduced() -> None:
    model, text = shared(), question(72, images=0)
    settings = {"max_new_tokens": 4, "do_sample": False}
    expected, generated = model(**text).logits, model.generate(**text, **settings)

    with reduce(model, SCHEDULE) as reduction:
        assert torch.equal(model(**text).logits, expected)
        assert torch.equal(model.generate(**text, **settings), generated)
        assert reduction.kept == {}


def test_the_image_free_prompt_of_a_single_token_runs() -> None:
    model = shared()

    with reduce(model, Schedule(KEEP, RankerSpec("text"))):
        assert model(input_ids=torch.tensor([[7]])).logits.shape == (1, 1, 200)


def test_input_ids_may_be_positional() -> None:
    model = shared()

    with reduce(model, SCHEDULE) as reduction:
        expected = model(**SAMPLE).logits
        model(IDS, SAMPLE["pixel_values"])
        assert torch.equal(model(IDS, SAMPLE["pixel_values"]).logits, expected)
        model.generate(IDS, **without_ids(), max_new_tokens=2)
        assert set(reduction.kept) == {2, 3, 4, 5}


@pytest.mark.parametrize("keys", [[], ["a", "b"]])
def test_sample_keys_that_do_not_fit_the_batch_are_refused(keys: list[str]) -> None:
    model = shared()

    with reduce(model, SCHEDULE) as reduction:
        reduction.prompt(keys=keys)
        with pytest.raises(InputError, match=f"`keys` must name each of 1 rows.*got {len(keys)}"):
            model(**SAMPLE)

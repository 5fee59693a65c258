"""Reduction of models and caches that other libraries have changed: it works, or says why not."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import DynamicCache, LlavaForConditionalGeneration, QuantizedCache, cache_utils

from schedsearch import Schedule, UnsupportedError, reduce
from schedsearch.core.sample import FirstSamples
from schedsearch.demo import checkpoint_path
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import make_metric
from schedsearch.models.fingerprint import weights_fingerprint
from schedsearch.models.loading import describe, load_model
from schedsearch.models.wrappers import unwrapped
from schedsearch.testing.reference import appended, masked_forward
from tests.engine.devices import PretendedDevices, place
from tests.engine.embedded import QUESTIONS, REDUCED, embedded, task
from tests.engine.tiny import (
    CONFIGURATIONS,
    KEEP,
    TOLERANCE,
    TinyLlava,
    build,
    eager_twin,
    question,
    shared,
)
from tests.pace import some

# PEFT asks every model by a name that transformers has given up.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

SCHEDULE = Schedule(KEEP)
SAMPLE = question(71)
LAST = [SAMPLE["input_ids"].shape[1] - 1]
GREEDY = {"do_sample": False, "return_dict_in_generate": True, "output_logits": True}


def answer(model: Any, inputs: Any = SAMPLE, tokens: int = 6, **settings: Any) -> Any:
    with torch.no_grad():
        return model.generate(**inputs, **GREEDY, max_new_tokens=tokens, **settings)


def logits(output: Any) -> torch.Tensor:
    return torch.cat(output.logits)


def expected() -> Any:
    with reduce(shared(), SCHEDULE):
        return answer(shared())


# Wrapped models


def lora(model: Any, seed: int = 3, name: str = "default") -> Any:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        r=4,
        target_modules=r".*language_model.*(q_proj|v_proj|up_proj)",
        init_lora_weights=False,
    )
    torch.manual_seed(seed)
    if hasattr(model, "peft_config"):
        model.add_adapter(name, config)
        return model
    return peft.get_peft_model(model, config).eval()


def test_lora_is_reduced_through_its_wrapper_as_after_merging() -> None:
    wrapped = lora(build(TinyLlava()))
    with reduce(wrapped, SCHEDULE) as reduction:
        found, columns = answer(wrapped), reduction.kept
    with reduce(wrapped.get_base_model(), SCHEDULE):
        inside = answer(wrapped)

    merged = wrapped.merge_and_unload()
    with reduce(merged, SCHEDULE):
        alone = answer(merged)

    assert set(columns) == {2, 3, 4, 5}
    assert torch.equal(logits(found), logits(inside))
    assert torch.equal(found.sequences, alone.sequences)
    assert (logits(found) - logits(alone)).abs().max() < TOLERANCE
    assert (logits(found)[0] - logits(expected())[0]).abs().max() > 0.1


def test_names_and_copies_of_peft_are_no_part_of_a_layer() -> None:
    """An adapter may be called an expert; what is trained whole stands there twice."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        r=4, target_modules=r".*language_model.*q_proj", modules_to_save=["o_proj"]
    )
    model = peft.get_peft_model(build(TinyLlava()), config, adapter_name="domain_expert").eval()

    with reduce(model, SCHEDULE) as reduction:
        model(**SAMPLE)
        assert reduction.kept


def test_a_wrapped_model_describes_the_model_inside() -> None:
    target = describe(lora(build(TinyLlava())))

    assert target.architecture == "LlavaForConditionalGeneration"
    assert target.weights != weights_fingerprint(shared())


def test_the_fingerprint_follows_the_active_adapter() -> None:
    model = lora(lora(build(TinyLlava())), seed=4, name="other")
    first = weights_fingerprint(model)

    model.set_adapter("other")
    assert weights_fingerprint(model) != first
    model.set_adapter("default")
    assert weights_fingerprint(model) == first
    with model.disable_adapter():
        assert weights_fingerprint(model) != first


@pytest.mark.parametrize("kind", ["PromptTuningConfig", "PrefixTuningConfig"])
def test_virtual_tokens_are_refused(kind: str) -> None:
    peft = pytest.importorskip("peft")
    config = getattr(peft, kind)(
        task_type="CAUSAL_LM",
        num_virtual_tokens=3,
        num_layers=6,
        token_dim=64,
        num_attention_heads=4,
    )
    model = peft.get_peft_model(build(TinyLlava()), config)

    with pytest.raises(UnsupportedError, match="virtual tokens before the prompt.*use LoRA"):
        unwrapped(model)


def test_data_parallel_copies_are_refused() -> None:
    model = nn.DataParallel(build(TinyLlava()))

    with (
        pytest.raises(UnsupportedError, match="DataParallel.*`device_map`"),
        reduce(model, SCHEDULE),
    ):
        pass


def test_tensor_parallel_heads_are_refused() -> None:
    model = build(TinyLlava())
    model._tp_size = 2

    with (
        pytest.raises(UnsupportedError, match="tensor parallel.*`device_map`"),
        reduce(model, SCHEDULE),
    ):
        pass


def decoder_in_place(model: Any) -> Any:
    model.get_decoder().compile(backend="eager")
    return model


def layers_in_place(model: Any) -> Any:
    for layer in model.get_decoder().layers:
        layer.compile(backend="eager")
    return model


@pytest.mark.parametrize("compiled", some([decoder_in_place, layers_in_place], []))
def test_a_compiled_model_is_reduced_and_restored(compiled: Callable[[Any], Any]) -> None:
    """The backend runs what was traced as it is: what is tested is what gets traced, and when."""
    torch._dynamo.reset()
    schedule, plain = Schedule((1.0, 0.2)), build(TinyLlava(layers=2))
    full = logits(answer(plain, tokens=2))
    with reduce(plain, schedule):
        reduced = logits(answer(plain, tokens=2))
    model = compiled(plain)
    model(**SAMPLE)  # traced without hooks

    with reduce(model, schedule) as reduction:
        model(**SAMPLE)
        found = logits(answer(model, tokens=2))
        assert set(reduction.kept) == {1}

    assert (found - reduced).abs().max() < TOLERANCE
    assert (reduced - full)[0].abs().max() > 0.1
    assert (model(**SAMPLE).logits[:, -1] - full[:1]).abs().max() < TOLERANCE


# Quantised, offloaded and spread models


def reduces_as_its_own_reference(model: Any, sample: Any = SAMPLE, keep: Any = KEEP) -> None:
    """Compares with the masked model on the same weights."""
    last = [sample["input_ids"].shape[1] - 1]
    with torch.no_grad():
        with reduce(model, Schedule(keep)) as reduction:
            found = model(**sample).logits[0, -1]
            assert reduction.kept
        full = model(**sample).logits[0, -1]
        model.set_attn_implementation("eager")
        masked, _ = masked_forward(model, sample, keep, last)
    assert (found - masked[-1]).abs().max() < TOLERANCE
    assert (found - full).abs().max() > 0.1


class Int8Linear(nn.Module):
    """Weights as int8 with a scale for each row, as quantising libraries replace `nn.Linear`."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.scale = linear.weight.detach().abs().amax(1, keepdim=True) / 127
        whole_numbers = (linear.weight.detach() / self.scale).round().to(torch.int8)
        self.weight = nn.Parameter(whole_numbers, requires_grad=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return states @ (self.weight * self.scale).T


def test_layers_with_replaced_linear_modules_are_reduced() -> None:
    model = build(TinyLlava())
    for layer in model.get_decoder().layers:
        for parent in (layer.self_attn, layer.mlp):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(parent, name, Int8Linear(child))

    assert weights_fingerprint(model) != weights_fingerprint(shared())
    reduces_as_its_own_reference(model)


def test_weights_on_disk_are_reduced(tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="needs accelerate")
    build(TinyLlava()).save_pretrained(tmp_path / "model")
    decoder = "model.language_model"
    places = {"model.vision_tower": "cpu", "model.multi_modal_projector": "cpu", "lm_head": "cpu"}
    places |= {f"{decoder}.{part}": "cpu" for part in ("embed_tokens", "norm", "rotary_emb")}
    places |= {f"{decoder}.layers.{n}": "disk" if n in (1, 3, 4) else "cpu" for n in range(6)}
    model = LlavaForConditionalGeneration.from_pretrained(
        tmp_path / "model", device_map=places, offload_folder=tmp_path / "offloaded"
    )
    assert model.get_decoder().layers[3].mlp.up_proj.weight.is_meta
    model.generation_config = shared().generation_config

    with reduce(model, SCHEDULE):
        found = logits(answer(model))
    # Kernels depend on where weights lie in memory; what a file gives lies otherwise: 2e-5 seen.
    assert (found - logits(expected())).abs().max() < TOLERANCE


def test_a_model_whose_embeddings_lie_on_disk_is_evaluated() -> None:
    pytest.importorskip("accelerate", reason="needs accelerate")
    model, processor = load_model(checkpoint_path(), device_map={"model": "disk", "lm_head": "cpu"})
    assert model.get_input_embeddings().weight.is_meta
    few = FirstSamples(QUESTIONS, 4)
    ids = tuple(sample.id for sample in few)

    scores = [
        Evaluator(one, processor, few, make_metric("log_likelihood")).evaluate(task(REDUCED, ids))
        for one in (model, embedded()[0])
    ]

    # Read into other places of memory, weights give other last bits, also without any reduction.
    pairs = list(zip(*scores, strict=True))
    assert all(one.score == pytest.approx(two.score, abs=1e-3) for one, two in pairs)
    assert len({one.score for one, _ in pairs}) > 1


@pytest.mark.parametrize("tiny", CONFIGURATIONS, ids=str)
def test_layers_on_two_devices_are_reduced(tiny: TinyLlava) -> None:
    model = build(tiny)
    with reduce(model, SCHEDULE):
        together = answer(model)
    for layer in model.get_decoder().layers[2:]:
        place(layer, 1)
    place(model.get_decoder().norm, 1)
    place(model.lm_head, 0)

    with PretendedDevices(), reduce(model, SCHEDULE):
        found = answer(model)

    assert torch.equal(logits(found), logits(together))


def test_the_pretended_devices_do_not_mix() -> None:
    with PretendedDevices(), pytest.raises(RuntimeError, match="two devices"):
        torch.ones(2, device="cpu:1") + torch.ones(2)


# Caches

needs_fp8 = pytest.mark.skipif(
    not hasattr(cache_utils, "Fp8QuantizedLayer"), reason="this release has no fp8 cache"
)


@pytest.fixture
def lossless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantisation that rounds nothing, so that the cache's bookkeeping is all that differs."""

    def keep_all(_layer: Any, tensor: torch.Tensor, scale: Any = None) -> Any:
        return tensor, scale

    layer = cache_utils.Fp8QuantizedLayer
    monkeypatch.setattr(layer, "_quantize", keep_all)
    monkeypatch.setattr(layer, "_dequantize", lambda _layer, kept: kept[0])


@needs_fp8
@pytest.mark.usefixtures("lossless")
@pytest.mark.parametrize("settings", [{}, {"num_beams": 3}], ids=["greedy", "beams"])
def test_a_quantized_cache_keeps_what_a_dynamic_one_keeps(settings: dict[str, Any]) -> None:
    model = shared()

    with reduce(model, SCHEDULE):
        dynamic = model.generate(**SAMPLE, max_new_tokens=8, do_sample=False, **settings)
        found = model.generate(
            **SAMPLE,
            max_new_tokens=8,
            do_sample=False,
            cache_implementation="quantized",
            cache_config={"backend": "fp8"},
            **settings,
        )

    assert torch.equal(found, dynamic)


@needs_fp8
def test_a_quantized_cache_is_reduced_and_serves_a_second_turn() -> None:
    model, sizes = shared(), [LAST[0] + 1 - 64 + kept for kept in (64, 64, 32, 32, 16, 7)]
    cache = QuantizedCache("fp8", model.config)

    with reduce(model, SCHEDULE):
        first = answer(model, past_key_values=cache)
        lengths = [cache.get_seq_length(layer) for layer in range(len(KEEP))]
        turn = torch.cat([first.sequences, torch.tensor([[7, 8, 9]])], dim=1)
        mask = torch.ones_like(turn)
        second = answer(model, {"input_ids": turn, "attention_mask": mask}, past_key_values=cache)

    assert lengths == [size + 5 for size in sizes]
    assert cache.get_seq_length(5) == sizes[5] + 5 + 1 + 3 + 5
    # Prefill attends to what it has just computed; only later steps read rounded keys and values.
    assert torch.equal(first.logits[0], expected().logits[0])
    assert torch.isfinite(logits(second)).all()


class Stream:
    """A stream on a machine without a GPU: everything is in order anyway."""

    def wait_stream(self, _other: Any) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_error: Any) -> None:
        pass


def test_an_offloaded_cache_keeps_what_a_dynamic_one_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda _device: Stream())
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    model, offloads = shared(), []
    offload = DynamicCache.offload
    monkeypatch.setattr(
        DynamicCache,
        "offload",
        lambda cache, layer, *args: (offloads.append(layer), offload(cache, layer, *args)),
    )

    with reduce(model, SCHEDULE):
        found = answer(model, cache_implementation="offloaded")

    assert len(offloads) == 6 * len(KEEP)
    assert torch.equal(logits(found), logits(expected()))


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU")
def test_an_offloaded_cache_without_a_gpu_is_refused() -> None:
    with reduce(shared(), SCHEDULE), pytest.raises(UnsupportedError, match="no GPU here.*unset"):
        answer(shared(), cache_implementation="offloaded")


def test_continuous_batching_is_refused_inside_only() -> None:
    model = shared()

    with reduce(model, SCHEDULE), pytest.raises(UnsupportedError, match="padded batch"):
        model.generate_batch([[5, 6, 7]])

    assert "init_continuous_batching" not in vars(model)


# Conversations and threads


def test_assistant_text_behind_the_image_is_text_of_the_prompt() -> None:
    """An earlier answer, a second question and the beginning of the next answer in one prompt."""
    tiny = TinyLlava()
    conversation = appended(SAMPLE, [61, 62, 63, 21, 22, 23, 24, 64, 65])
    rows = [conversation["input_ids"].shape[1] - 1]

    with reduce(shared(tiny), SCHEDULE):
        found = answer(shared(tiny), conversation)

    tokens = found.sequences[0, rows[0] + 1 :].tolist()
    whole_text = appended(conversation, tokens[:-1])
    masked, _ = masked_forward(eager_twin(tiny), whole_text, KEEP, rows)
    assert (logits(found) - masked[-len(tokens) :]).abs().max() < TOLERANCE


def test_callers_that_share_a_lock_wait_and_get_their_own_schedule() -> None:
    model, lock = build(TinyLlava()), threading.Lock()
    schedules = [SCHEDULE, Schedule((1.0, 1.0, 0.3, 0.3, 0.3, 0.3))]
    alone, found = [], {}
    for schedule in schedules:
        with reduce(model, schedule):
            alone.append(logits(answer(model)))

    def serve(number: int) -> None:
        with lock, reduce(model, schedules[number % 2]):
            found[number] = logits(answer(model))

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert all(torch.equal(found[number], alone[number % 2]) for number in range(6))


@pytest.fixture(autouse=True)
def forget_traces() -> Iterator[None]:
    yield
    torch._dynamo.reset()

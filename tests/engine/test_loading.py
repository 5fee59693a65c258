"""Loading: every broken checkpoint is one readable error, found before weights are read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from schedsearch.demo import checkpoint_path
from schedsearch.engine.loading import describe, load_model, weights_fingerprint
from schedsearch.errors import InputError, UnsupportedError
from tests.engine import tiny
from tests.engine.embedded import embedded


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint_path(), tmp_path / "checkpoint"))


def test_a_checkpoint_loads_in_evaluation_mode_in_float32_on_the_cpu() -> None:
    model, processor = load_model(str(checkpoint_path()), device="cpu")

    assert (model.training, model.dtype, model.device.type) == (False, torch.float32, "cpu")
    assert processor.chat_template


def test_dtype_and_attention_are_as_asked() -> None:
    model, _ = load_model(checkpoint_path(), dtype="bfloat16", device="cpu", attention="eager")

    assert model.dtype == torch.bfloat16
    assert model.get_decoder().config._attn_implementation == "eager"


def config(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "config.json").write_text(text)

    return write


def _cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100_000])


def _edit_head(folder: Path, edit: Callable[[dict[str, torch.Tensor], str], None]) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    edit(weights, next(name for name in weights if name.endswith("lm_head.weight")))
    save_file(weights, path, metadata={"format": "pt"})


def _lose_a_weight(folder: Path) -> None:
    _edit_head(folder, lambda weights, head: weights.__delitem__(head))


def _narrow_a_weight(folder: Path) -> None:
    _edit_head(folder, lambda weights, head: weights.update({head: weights[head][:3].clone()}))


def _lose(*names: str) -> Callable[[Path], None]:
    def lose(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return lose


TEXT_ONLY = json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]})
REMOTE_CODE = json.dumps(
    {
        "model_type": "internvl_chat",
        "architectures": ["InternVLChatModel"],
        "auto_map": {"AutoConfig": "configuration_internvl_chat.InternVLChatConfig"},
    }
)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (config(TEXT_ONLY), UnsupportedError, "is not a multimodal model: .* for a LlamaConfig"),
        (config(REMOTE_CODE), UnsupportedError, "InternVL .*original form.*take a native one"),
        (config("{"), InputError, "the config of .* cannot be loaded: .*not a valid JSON"),
        (config('{"model_type": "nonsense"}'), InputError, "the config of .*`nonsense`"),
        (_lose("config.json"), InputError, "the config of .* cannot be loaded"),
        (_lose("model.safetensors"), InputError, "the model of .* cannot be loaded: .*no file"),
        (
            _lose("tokenizer.json", "tokenizer_config.json", "processor_config.json"),
            InputError,
            "the processor of .* cannot be loaded",
        ),
        (_cut_weights, InputError, "the model of .* cannot be loaded: .*incomplete"),
        (_lose_a_weight, InputError, "lacks 1 weights of Llava.*, lm_head.weight among them"),
        (_narrow_a_weight, InputError, "the model of .* cannot be loaded"),
    ],
)
def test_a_broken_checkpoint_is_one_error_that_names_it(
    checkpoint: Path, spoil: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    spoil(checkpoint)

    with pytest.raises(error, match=message) as caught:
        load_model(checkpoint, device="cpu")

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./absent", "the model folder ./absent does not exist"),
        (Path("absent"), "the model folder absent does not exist"),
        (__file__, "is a file; name the folder"),
        ("nobody/nothing", "the config of nobody/nothing cannot be loaded: .*check the name"),
        ("nothing", "the config of nothing cannot be loaded: .*check the name"),
    ],
)
def test_what_is_not_there_is_named(name: str | Path, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_model(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int3"}, "`dtype` must be auto, float32, float16, bfloat16, but got 'int3'"),
        ({"device": "abacus"}, "`device` 'abacus' cannot be used"),
        ({"device": "meta:x"}, "`device` 'meta:x' cannot be used"),
        ({"attention": "sharp"}, r"the model of .* cannot be loaded: .*sharp"),
    ],
)
def test_invalid_arguments_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_model(checkpoint_path(), **{"device": "cpu", **options})


def test_the_fingerprint_does_not_depend_on_dtype_but_on_every_matrix() -> None:
    model = tiny.build(tiny.TinyLlava(layers=2))
    before = weights_fingerprint(model)

    assert weights_fingerprint(tiny.build(tiny.TinyLlava(layers=2)).to(torch.bfloat16)) == before
    assert weights_fingerprint(tiny.build(tiny.TinyLlava(layers=2), seed=2)) != before
    for name, parameter in model.named_parameters():
        original = parameter.data.clone()
        parameter.data *= 1.5
        changed = bool((parameter.data != original).any())
        assert (weights_fingerprint(model) != before) is changed, name
        parameter.data = original
    assert weights_fingerprint(model) == before


def test_a_model_describes_itself_as_a_target() -> None:
    model, _ = embedded()

    target = describe(model, "demo")

    assert (target.architecture, target.layers, target.hidden_size, target.model) == (
        "LlavaForConditionalGeneration",
        8,
        128,
        "demo",
    )
    assert target.weights == weights_fingerprint(model)

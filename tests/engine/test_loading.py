"""Loading: every broken checkpoint is one readable error, found before weights are read."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from schedsearch.demo import checkpoint_path
from schedsearch.errors import InputError, UnsupportedError
from schedsearch.evaluation.identity import evaluation_context
from schedsearch.evaluation.metrics import make_metric
from schedsearch.models import loading
from schedsearch.models.fingerprint import memory_fingerprint, weights_fingerprint
from schedsearch.models.loading import describe, load_model
from schedsearch.models.precision import precision
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
        ({"device_map": "auto"}, "`device` and `device_map` both place the model; give one"),
        ({"quantization": "3bit"}, "`quantization` must be 8bit or 4bit, but got '3bit'"),
    ],
)
def test_invalid_arguments_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_model(checkpoint_path(), **{"device": "cpu", **options})


@pytest.mark.parametrize(
    ("options", "package"),
    [({"device_map": "auto"}, "accelerate"), ({"quantization": "8bit"}, "bitsandbytes")],
)
def test_a_missing_package_is_named(
    options: dict[str, Any], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == package else "installed")

    with pytest.raises(InputError, match=f"{package}, which is not installed; pip install"):
        load_model(checkpoint_path(), **options)


def test_a_model_is_spread_by_its_device_map() -> None:
    pytest.importorskip("accelerate", reason="needs accelerate")

    places = {"model": "cpu", "lm_head": "disk"}

    model, _ = load_model(checkpoint_path(), device_map=places)

    assert model.hf_device_map == places
    assert weights_fingerprint(model) == weights_fingerprint(embedded()[0])


@pytest.mark.parametrize("bits", [8, 4])
def test_a_quantized_model_keeps_its_weights_fingerprint_but_no_scores(bits: int) -> None:
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")
    (full, processor), metric = embedded(), make_metric("exact_match")

    model, _ = load_model(checkpoint_path(), device="cpu", quantization=f"{bits}bit")

    assert getattr(model, f"is_loaded_in_{bits}bit")
    assert weights_fingerprint(model) == weights_fingerprint(full)
    contexts = [evaluation_context(one, processor, metric) for one in (full, model)]
    assert contexts[0]["config"] != contexts[1]["config"]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "8bit"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}, "4bit fp4"),
        ({"quant_method": "gptq", "bits": 4}, "gptq 4bit"),
        ({"quant_method": "fp8"}, "fp8"),
    ],
)
def test_precision_names_every_dtype_and_the_quantization(
    settings: dict[str, Any], name: str
) -> None:
    model = tiny.build(tiny.TinyLlava(layers=2)).to(torch.bfloat16)
    assert precision(model) == ("bfloat16", None)

    model.lm_head.to(torch.float32)
    model.config.quantization_config = settings

    assert precision(model) == ("bfloat16+float32", name)


# Fingerprints


def fingerprint_of(folder: Path) -> str:
    return weights_fingerprint(load_model(folder, device="cpu")[0])


def test_the_fingerprint_is_of_the_file_wherever_it_lies(checkpoint: Path, tmp_path: Path) -> None:
    content = (checkpoint / "model.safetensors").read_bytes()

    before = fingerprint_of(checkpoint)
    moved = Path(shutil.move(checkpoint, tmp_path / "another name"))

    assert before == fingerprint_of(moved) == hashlib.sha256(content).hexdigest()


def test_the_fingerprint_changes_with_a_single_value(checkpoint: Path) -> None:
    before = fingerprint_of(checkpoint)

    _edit_head(checkpoint, lambda weights, head: weights[head][3, 5].add_(0.5))

    assert fingerprint_of(checkpoint) != before


def test_the_fingerprint_of_a_changed_model_is_no_longer_its_files() -> None:
    model, _ = load_model(checkpoint_path(), device="cpu")
    from_files = weights_fingerprint(model)

    model.lm_head.weight.data[3, 5] += 0.5
    changed = weights_fingerprint(model)
    model.lm_head.weight.data[3, 5] -= 0.5

    assert changed != from_files
    assert weights_fingerprint(model) == from_files


def test_files_are_read_once_and_none_that_the_hub_names_by_their_hash(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = count_reads(monkeypatch)

    assert fingerprint_of(checkpoint) == fingerprint_of(checkpoint)
    assert len(read) == 1

    blob = checkpoint / "blobs" / ("0123456789abcdef" * 4)
    blob.parent.mkdir()
    shutil.move(checkpoint / "model.safetensors", blob)
    os.utime(blob)  # another file, as far as anyone can see
    (checkpoint / "model.safetensors").symlink_to(blob)

    assert fingerprint_of(checkpoint) == blob.name
    assert len(read) == 1


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    seen: list[Any] = []
    digest = hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda *args: (seen.append(args[0].name), digest(*args))[1]
    )
    return seen


def test_a_model_in_the_hubs_cache_loads_offline_by_its_id(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert constants.HF_HUB_OFFLINE
    commit = "0" * 40
    model_cache = tmp_path / "hub" / "models--someone--tiny"
    snapshot = model_cache / "snapshots" / commit
    snapshot.parent.mkdir(parents=True)
    (model_cache / "refs").mkdir()
    (model_cache / "refs" / "main").write_text(commit)
    shutil.copytree(checkpoint, snapshot)
    weights = (snapshot / "model.safetensors").read_bytes()
    blob = model_cache / "blobs" / hashlib.sha256(weights).hexdigest()
    blob.parent.mkdir()
    shutil.move(snapshot / "model.safetensors", blob)
    (snapshot / "model.safetensors").symlink_to(blob)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    read = count_reads(monkeypatch)

    found = [
        weights_fingerprint(load_model("someone/tiny", device="cpu", revision=revision)[0])
        for revision in (None, "main", commit)
    ]

    assert found == [blob.name] * 3
    assert read == []
    with pytest.raises(InputError, match="someone/tiny cannot be loaded"):
        load_model("someone/tiny", revision="another", device="cpu")


def test_shards_have_one_fingerprint_that_depends_on_each(checkpoint: Path) -> None:
    model, _ = load_model(checkpoint, device="cpu")
    (checkpoint / "model.safetensors").unlink()
    model.save_pretrained(checkpoint, max_shard_size="1MB")
    shards = sorted(checkpoint.glob("model-*.safetensors"))
    hashes = [hashlib.sha256(shard.read_bytes()).hexdigest() for shard in shards]

    assert len(shards) > 1
    assert fingerprint_of(checkpoint) == hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def test_scores_depend_on_the_config_but_not_on_its_origin(checkpoint: Path) -> None:
    _, processor = embedded()
    metric = make_metric("exact_match")

    def context() -> Any:
        return evaluation_context(load_model(checkpoint, device="cpu")[0], processor, metric)

    original, settings = context(), json.loads((checkpoint / "config.json").read_text())
    assert original == evaluation_context(embedded()[0], processor, metric)
    settings["text_config"]["rms_norm_eps"] = 1e-3
    (checkpoint / "config.json").write_text(json.dumps(settings))

    changed = context()

    assert {name for name in original if original[name] != changed[name]} == {"config"}


def test_the_memory_fingerprint_does_not_depend_on_dtype_but_on_every_matrix() -> None:
    model = tiny.build(tiny.TinyLlava(layers=2))
    before = memory_fingerprint(model)

    assert memory_fingerprint(tiny.build(tiny.TinyLlava(layers=2)).to(torch.bfloat16)) == before
    assert memory_fingerprint(tiny.build(tiny.TinyLlava(layers=2), seed=2)) != before
    for name, parameter in model.named_parameters():
        original = parameter.data.clone()
        parameter.data *= 1.5
        changed = bool((parameter.data != original).any())
        assert (memory_fingerprint(model) != before) is changed, name
        parameter.data = original
    assert weights_fingerprint(model) == memory_fingerprint(model) == before


def test_the_memory_fingerprint_does_not_depend_on_where_in_a_storage_weights_lie() -> None:
    values = torch.randn(37, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    alone, inside = torch.nn.Linear(37, 1, bias=False), torch.nn.Linear(37, 1, bias=False)
    alone.weight = torch.nn.Parameter(values[None].clone())
    inside.weight = torch.nn.Parameter(torch.cat([values[:3], values])[3:][None])

    assert memory_fingerprint(inside) == memory_fingerprint(alone)
    inside.weight.data[0, 36] += 1
    assert memory_fingerprint(inside) != memory_fingerprint(alone)


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

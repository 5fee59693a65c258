"""Loading a model with its processor, such that whatever is wrong is one readable error."""

import logging
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    BitsAndBytesConfig,
    PreTrainedConfig,
)

from schedsearch.core.reading import place_of
from schedsearch.core.schedule import Target
from schedsearch.core.shown import shown
from schedsearch.errors import InputError, UnsupportedError
from schedsearch.models.adapters import REMEDY, REMOTE_CODE, adapter_for
from schedsearch.models.fingerprint import remember_files, weights_fingerprint
from schedsearch.models.model_name import looks_like_path
from schedsearch.models.wrappers import unwrapped

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_QUANTIZATIONS = ("8bit", "4bit")

log = logging.getLogger(__name__)


class NoSuchModel(InputError):
    """A name is no folder, and nothing of that name can be had from the hub.

    Args:
        folder: What does not exist.
        why: What the hub, or its local cache, said.
    """

    def __init__(self, folder: str | Path, why: str) -> None:
        super().__init__(
            f"there is no folder {folder}, and from the hub {why}; check the name; offline only "
            f"the local cache is searched"
        )
        self.why = why


def load_model(
    id_or_path: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    quantization: str | None = None,
    attention: str | None = None,
    trust_remote_code: bool = False,
) -> tuple[Any, Any]:
    """Load a multimodal model, in evaluation mode, and its processor.

    Whether the runtime can serve the model is known from its config, before weights are read.

    Args:
        id_or_path: Folder in the layout of transformers, or a hub id. With `HF_HUB_OFFLINE=1`
            only what the local cache holds can be loaded by id.
        revision: Branch, tag or commit on the hub.
        dtype: "float32", "float16", "bfloat16", or "auto": float32 on the CPU, the checkpoint's
            own elsewhere.
        device: Default: a GPU where there is one.
        device_map: In place of `device`: "auto", or a place for each module, to spread the model
            over devices, host memory and disk; needs accelerate.
        quantization: "8bit" or "4bit" weights; needs bitsandbytes. Without `device_map` all of it
            goes to `device`.
        attention: Attention implementation; default: what transformers chooses.
        trust_remote_code: Whether code that comes with the checkpoint may run.

    Raises:
        InputError: The checkpoint does not exist, cannot be read or is incomplete, or an
            argument is invalid.
        UnsupportedError: The model is not multimodal, or has no adapter.
    """
    place = _place(id_or_path)
    target = _device(device)
    precision = _dtype(dtype, target)
    spread = _spread(device, device_map, quantization, target, precision)
    common = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        kind = PreTrainedConfig.get_config_dict(place, revision=revision)[0].get("model_type")
    except Exception as error:  # transformers raises many kinds; all mean the checkpoint
        raise _unreadable(place, "config", error) from error
    if kind == REMOTE_CODE:
        raise UnsupportedError(f"{place} cannot be loaded: {REMEDY}")
    try:
        config = AutoConfig.from_pretrained(place, **common)
    except Exception as error:
        raise _unreadable(place, "config", error) from error
    _check_servable(place, config, trust_remote_code)
    try:
        processor = AutoProcessor.from_pretrained(place, **common)
    except Exception as error:
        raise _unreadable(place, "processor", error) from error
    try:
        model, report = AutoModelForImageTextToText.from_pretrained(
            place,
            config=config,
            dtype=precision,
            attn_implementation=attention,
            output_loading_info=True,
            **spread,
            **common,
        )
    except Exception as error:
        raise _unreadable(place, "model", error) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(
            f"the checkpoint {place} lacks {len(missing)} weights of {type(model).__name__}, "
            f"{missing[0]} among them; they would be random: get the complete checkpoint"
        )
    model = model.eval() if spread else model.to(target).eval()
    remember_files(model, place, revision)
    log.info("loaded %s: %s, %s on %s", place, type(model).__name__, model.dtype, model.device)
    return model, processor


def describe(model: Any, name: str | None = None) -> Target:
    """The target that schedules for this model carry.

    Args:
        model: A multimodal model with an adapter.
        name: Where it came from: a hub id or a folder.
    """
    model = unwrapped(model)
    adapter = adapter_for(model)
    shape = adapter.shape(model)
    return Target(
        architecture=adapter.architecture(model),
        layers=shape.layers,
        hidden_size=shape.hidden_size,
        model=name,
        weights=weights_fingerprint(model),
    )


def _place(id_or_path: str | Path) -> str:
    text = str(id_or_path)
    path = place_of(text)
    # Not the methods of Path, which raise for a name that is too long.
    if os.path.isdir(path):
        return str(path)
    if os.path.exists(path):
        raise InputError(f"{text} is a file; name the folder that holds config.json and weights")
    if isinstance(id_or_path, Path) or looks_like_path(text):
        raise InputError(f"the model folder {text} does not exist; name an existing folder")
    return text


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"`device` {shown(device)} cannot be used: {_reason(error)}; choose cpu, or cuda where "
            "torch finds a GPU"
        ) from None
    return found


def _dtype(dtype: str | torch.dtype, device: torch.device) -> str | torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else "auto"
    if dtype not in _DTYPES:
        raise InputError(
            f"`dtype` must be auto, {', '.join(_DTYPES)}, but got {shown(dtype)}; choose one of "
            "them"
        )
    return _DTYPES[dtype]


def _spread(
    device: str | torch.device | None,
    device_map: str | Mapping[str, Any] | None,
    quantization: str | None,
    target: torch.device,
    precision: str | torch.dtype,
) -> dict[str, Any]:
    """Arguments of `from_pretrained` for a model that transformers itself has to place."""
    if device_map is None and quantization is None:
        return {}
    if device_map is not None and device is not None:
        raise InputError("`device` and `device_map` both place the model; give one of them")
    if quantization not in (None, *_QUANTIZATIONS):
        raise InputError(
            f"`quantization` must be {' or '.join(_QUANTIZATIONS)}, but got {shown(quantization)}; "
            "choose one of them"
        )
    _check_installed("accelerate", "`device_map` and `quantization` need")
    spread: dict[str, Any] = {"device_map": {"": target} if device_map is None else device_map}
    if quantization is None:
        return spread
    _check_installed("bitsandbytes", "`quantization` needs")
    if quantization == "8bit":
        return {**spread, "quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    compute = precision if isinstance(precision, torch.dtype) else torch.bfloat16
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute
    )
    return {**spread, "quantization_config": config}


def _check_installed(package: str, who: str) -> None:
    if find_spec(package) is None:
        raise InputError(f"{who} {package}, which is not installed; pip install {package}")


def _check_servable(place: str, config: Any, trust_remote_code: bool) -> None:
    """Build the model without memory for its weights, and ask for its adapter."""
    try:
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(
                config, trust_remote_code=trust_remote_code
            )
    except ValueError as error:
        raise UnsupportedError(
            f"{place} is not a multimodal model: transformers knows no image-text-to-text model "
            f"for a {type(config).__name__}, so there are no vision tokens to reduce; choose a "
            "multimodal checkpoint"
        ) from error
    adapter_for(model)


def _unreadable(place: str, part: str, error: Exception) -> InputError:
    if os.path.isdir(place):
        return InputError(
            f"the {part} of {place} cannot be loaded: {_reason(error)}; check its files, and the "
            "arguments"
        )
    return NoSuchModel(place, f"the {part} of {place} cannot be loaded: {_reason(error)}")


def _reason(error: BaseException) -> str:
    """First line of a library's message, which may run over a page."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__

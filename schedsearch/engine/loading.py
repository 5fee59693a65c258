"""Loading a model with its processor, such that whatever is wrong is one readable error."""

import hashlib
import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedConfig,
)

from schedsearch.core.schedule import Target
from schedsearch.engine.adapters import REMEDY, REMOTE_CODE, adapter_for
from schedsearch.errors import InputError, UnsupportedError

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_SAMPLED = 4096

log = logging.getLogger(__name__)


def load_model(
    id_or_path: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device | None = None,
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
    log.info("loaded %s: %s, %s on %s", place, type(model).__name__, model.dtype, target)
    return model.to(target).eval(), processor


def describe(model: Any, name: str | None = None) -> Target:
    """The target that schedules for this model carry.

    Args:
        model: A multimodal model with an adapter.
        name: Where it came from: a hub id or a folder.
    """
    adapter = adapter_for(model)
    shape = adapter.shape(model)
    return Target(
        architecture=adapter.architecture(model),
        layers=shape.layers,
        hidden_size=shape.hidden_size,
        model=name,
        weights=weights_fingerprint(model),
    )


def weights_fingerprint(model: nn.Module) -> str:
    """SHA-256 (hex) over all parameters: names, shapes, and up to 4096 values of each as bfloat16.

    Values lie at an even stride, so that any retrained or merged weight matrix changes the result
    at a cost that hardly grows with the model. Rounding to bfloat16 makes a checkpoint that is
    stored in float32 or bfloat16 give one fingerprint in both; float16 rounds differently.
    It tells models apart; it does not protect against somebody who wants to deceive.
    """
    content = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        values = parameter.detach().flatten()
        picked = values[:: -(-values.numel() // _SAMPLED)].to(torch.bfloat16)
        content.update(f"{name} {tuple(parameter.shape)}\n".encode())
        content.update(picked.contiguous().view(torch.int16).cpu().numpy().tobytes())
    return content.hexdigest()


def _place(id_or_path: str | Path) -> str:
    text = str(id_or_path)
    path = Path(text).expanduser()
    if path.is_dir():
        return str(path)
    if path.exists():
        raise InputError(f"{text} is a file; name the folder that holds config.json and weights")
    if isinstance(id_or_path, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1:
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
            f"`device` {device!r} cannot be used: {_reason(error)}; choose cpu, or cuda where "
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
            f"`dtype` must be auto, {', '.join(_DTYPES)}, but got {dtype!r}; choose one of them"
        )
    return _DTYPES[dtype]


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
    remedy = (
        "check its files, and the arguments"
        if Path(place).is_dir()
        else "check the name: it is no folder here, and offline only the local cache is searched"
    )
    return InputError(f"the {part} of {place} cannot be loaded: {_reason(error)}; {remedy}")


def _reason(error: BaseException) -> str:
    """First line of a library's message, which may run over a page."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__

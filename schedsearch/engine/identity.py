"""What a stored score depends on: everything that could change it, and nothing else."""

import hashlib
import inspect
import json
import uuid
from collections.abc import Callable
from typing import Any

import torch
import transformers

from schedsearch.core.canonical import digest
from schedsearch.engine.adapters import adapter_for
from schedsearch.engine.fingerprint import weights_fingerprint
from schedsearch.engine.metrics import METRICS, Metric
from schedsearch.engine.wrappers import unwrapped

RUNTIME = "reduction/2"
"""Version of the runtime's arithmetic; a change that moves any score must change it."""


def evaluation_context(
    model: Any, processor: Any, metric: Metric, template: str | None = None
) -> dict[str, Any]:
    """Everything but sample, ranker and counts that a score depends on, as plain JSON values.

    Args:
        model: The model that evaluates.
        processor: Its processor.
        metric: What is measured.
        template: Chat template in place of the processor's own.
    """
    model = unwrapped(model)
    weights = next(model.parameters())
    config: Any = adapter_for(model).decoder(model).config
    device = torch.cuda.get_device_name(weights.device) if weights.is_cuda else "cpu"
    return {
        "runtime": RUNTIME,
        "weights": weights_fingerprint(model),
        "config": digest(_arithmetic(model.config.to_dict())),
        "processor": _processor_digest(processor, template),
        "metric": metric_identity(metric),
        "dtype": str(weights.dtype),
        "attention": config._attn_implementation or "eager",
        "device": device,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


_NO_ARITHMETIC = ("_name_or_path", "_commit_hash", "transformers_version", "dtype")


def _arithmetic(config: Any) -> Any:
    """A config, quantization included, without what says only where the model came from."""
    if isinstance(config, dict):
        kept = {name: value for name, value in config.items() if name not in _NO_ARITHMETIC}
        return {str(name): _arithmetic(value) for name, value in kept.items()}
    if isinstance(config, (list, tuple)):
        return [_arithmetic(value) for value in config]
    return _plain(config)


def _processor_digest(processor: Any, template: str | None) -> str:
    tokenizer = processor.tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None)
    words = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab())
    settings = json.loads(processor.to_json_string())
    return digest([settings, words, template or getattr(processor, "chat_template", None)])


def metric_identity(metric: Metric) -> dict[str, Any]:
    """Name and settings; for a metric that is not ours, its code too."""
    settings = {name: _plain(value) for name, value in sorted(vars(metric).items())}
    described: dict[str, Any] = {"name": metric.name, "settings": settings}
    if type(metric) not in METRICS.values():
        described["code"] = _code(type(metric))
    return described


def _plain(value: Any) -> Any:
    if callable(value):
        return _code(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


def _code(thing: Callable[..., Any] | type) -> str:
    """Hash of the source and of what a function has bound.

    Where there is no source, or something is bound that has no value to compare (a model, say), a
    name that nothing else ever has: better evaluated again than a wrong score.
    """
    bound: list[Any] = []
    if inspect.isfunction(thing):
        bound = [cell.cell_contents for cell in thing.__closure__ or ()]
        bound += [*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()]
    try:
        source = inspect.getsource(thing)
    except (OSError, TypeError):
        return f"unknown source {uuid.uuid4()}"
    if not all(isinstance(value, (str, int, float, bool, type(None))) for value in bound):
        return f"unknown state {uuid.uuid4()}"
    return hashlib.sha256(f"{source}\n{bound!r}".encode()).hexdigest()

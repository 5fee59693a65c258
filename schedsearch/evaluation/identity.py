"""What a stored score depends on: everything that could change it, and nothing else."""

import json
from collections.abc import Mapping
from typing import Any

import torch
import transformers

from schedsearch.core.canonical import digest
from schedsearch.evaluation.metric_identity import metric_identity, plain
from schedsearch.evaluation.metrics import Metric
from schedsearch.models.adapters import adapter_for
from schedsearch.models.fingerprint import weights_fingerprint
from schedsearch.models.wrappers import unwrapped
from schedsearch.version import RUNTIME


def evaluation_context(
    model: Any,
    processor: Any,
    metric: Metric,
    template: str | None = None,
    identity: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything but sample, ranker and counts that a score depends on, as plain JSON values.

    Args:
        model: The model that evaluates.
        processor: Its processor.
        metric: What is measured.
        template: Chat template in place of the processor's own.
        identity: Of the metric, where it is known; see `metric_identity`.
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
        "metric": dict(identity or metric_identity(metric)),
        "dtype": str(weights.dtype),
        "attention": config._attn_implementation or "eager",
        "device": device,
        "torch": str(torch.__version__),  # whose own class would need torch to be read
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
    return plain(config)


def _processor_digest(processor: Any, template: str | None) -> str:
    tokenizer = processor.tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None)
    words = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab())
    settings = json.loads(processor.to_json_string())
    return digest([settings, words, template or getattr(processor, "chat_template", None)])

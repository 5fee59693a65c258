"""Independent reference: eager attention over the whole sequence, nothing ever removed.

Dropped tokens are hidden as keys from every row at every later layer. The kept sets come from the
full attention weights of the layer before, as the eager model returns them. One sample at a time,
no padding, no KV cache: decoding recomputes everything.
"""

import math
from typing import Any

import torch

Kept = dict[int, list[int]]


def masked_forward(
    model: Any, inputs: dict[str, Any], keep: tuple[float, ...], rows: list[int]
) -> tuple[torch.Tensor, Kept]:
    """Logits `(sequence, vocab)` and kept vision columns by drop layer.

    Args:
        model: Loaded with eager attention.
        inputs: One unpadded sample.
        keep: Keep ratio of each layer.
        rows: Rows whose attention ranks.
    """
    image_token = model.config.image_token_id
    vision = (inputs["input_ids"][0] == image_token).nonzero()[:, 0].tolist()
    alive = list(vision)
    weights: dict[int, torch.Tensor] = {}
    kept: Kept = {}
    handles = []

    def before_layer(index: int) -> Any:
        def hook(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
            nonlocal alive
            count = math.ceil(keep[index] * len(vision) - 1e-6)
            if count < len(alive):
                attention = weights[index - 1][0].float().mean(0)[rows].mean(0)
                best = sorted(alive, key=lambda column: (-attention[column].item(), column))
                alive = sorted(best[:count])
                kept[index] = list(alive)
            gone = [column for column in vision if column not in alive]
            if gone:
                mask = kwargs["attention_mask"].clone()
                mask[..., gone] = torch.finfo(mask.dtype).min
                kwargs = {**kwargs, "attention_mask": mask}
            return args, kwargs

        return hook

    def after_attention(index: int) -> Any:
        def hook(_module: Any, _args: Any, output: Any) -> None:
            weights[index] = output[1]

        return hook

    for index, layer in enumerate(model.get_decoder().layers):
        handles.append(layer.register_forward_pre_hook(before_layer(index), with_kwargs=True))
        handles.append(layer.self_attn.register_forward_hook(after_attention(index)))
    try:
        with torch.no_grad():
            logits = model(**inputs, use_cache=False).logits[0]
    finally:
        for handle in handles:
            handle.remove()
    return logits, kept


def masked_decode(
    model: Any, inputs: dict[str, Any], keep: tuple[float, ...], rows: list[int], steps: int
) -> tuple[torch.Tensor, list[int], Kept]:
    """Greedy decoding by recomputation: logits `(steps, vocab)`, tokens, kept sets."""
    ids, collected, tokens = inputs["input_ids"], [], []
    kept: Kept = {}
    for _ in range(steps):
        step = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        logits, kept = masked_forward(model, step, keep, rows)
        collected.append(logits[-1])
        tokens.append(int(logits[-1].argmax()))
        ids = torch.cat([ids, torch.tensor([[tokens[-1]]])], dim=1)
    return torch.stack(collected), tokens, kept

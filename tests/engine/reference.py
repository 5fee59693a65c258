"""Independent reference: eager attention over the whole sequence, nothing ever removed.

Dropped tokens are hidden as keys from every row at every later layer. The kept sets come from the
full attention weights of the layer before, as the eager model returns them. One prompt at a time,
no padding, no KV cache: decoding recomputes everything.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

Kept = dict[int, list[int]]


def ranking_rows(inputs: dict[str, Any], ranker: str, image_token: int) -> list[int]:
    """Rows whose attention ranks, for one unpadded prompt."""
    ids = inputs["input_ids"][0].tolist()
    if ranker == "last" or image_token not in ids:
        return [len(ids) - 1]
    return list(range(len(ids) - ids[::-1].index(image_token), len(ids)))


@contextmanager
def masking(
    model: Any,
    prompt: torch.Tensor,
    keep: tuple[float, ...],
    rows: list[int],
    given: Kept | None = None,
) -> Iterator[Kept]:
    """Hide what `keep` drops from every forward of `model` inside the context.

    Args:
        model: Loaded with eager attention, to be called without a KV cache.
        prompt: `(sequence,)` ids that every row of every call begins with.
        keep: Keep ratio of each layer.
        rows: Rows whose attention ranks.
        given: Kept sets to apply in place of ranked ones.

    Yields:
        Kept vision columns by drop layer, of the latest forward.
    """
    vision = (prompt == model.config.image_token_id).nonzero()[:, 0].tolist()
    alive: list[int] = []
    weights: dict[int, torch.Tensor] = {}
    kept: Kept = {}
    handles = []

    def before_layer(index: int) -> Any:
        def hook(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
            nonlocal alive
            if index == 0:
                alive = list(vision)
                kept.clear()
            count = math.ceil(keep[index] * len(vision) - 1e-6)
            if count < len(alive):
                if given is None:
                    attention = weights[index - 1][0].float().mean(0)[rows].mean(0)
                    best = sorted(alive, key=lambda column: (-attention[column].item(), column))
                    alive = sorted(best[:count])
                else:
                    alive = given[index]
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
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def masked_forward(
    model: Any,
    inputs: dict[str, Any],
    keep: tuple[float, ...],
    rows: list[int],
    given: Kept | None = None,
) -> tuple[torch.Tensor, Kept]:
    """Logits `(sequence, vocab)` and kept sets of one unpadded sample."""
    with masking(model, inputs["input_ids"][0], keep, rows, given) as kept:
        logits = model(**inputs, use_cache=False).logits[0]
    return logits, kept


def masked_decode(
    model: Any, inputs: dict[str, Any], keep: tuple[float, ...], rows: list[int], steps: int
) -> tuple[torch.Tensor, list[int]]:
    """Greedy decoding by recomputation: logits `(steps, vocab)` and tokens."""
    collected, tokens = [], []
    for _ in range(steps):
        logits, _ = masked_forward(model, appended(inputs, tokens), keep, rows)
        collected.append(logits[-1])
        tokens.append(int(logits[-1].argmax()))
    return torch.stack(collected), tokens


def appended(inputs: dict[str, Any], tokens: list[int]) -> dict[str, Any]:
    """One unpadded sample with more tokens behind it."""
    ids = torch.cat([inputs["input_ids"], torch.tensor([tokens], dtype=torch.long)], dim=1)
    return {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}

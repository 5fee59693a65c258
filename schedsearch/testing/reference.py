"""Independent reference for reduced models: eager attention over everything, nothing ever removed.

Removed tokens are hidden as keys from every row at every later layer. The kept sets come from what
the softmax of the eager model's ranking layer is given, in double precision, where attention does
not end at 0. One prompt at a time, no padding, no KV cache: decoding recomputes everything. Shares
no code with the runtime.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

Inputs = dict[str, torch.Tensor]
"""Arguments of a model; `input_ids` and `attention_mask` `(1, sequence)` of one unpadded prompt."""

Kept = dict[int, list[int]]
"""Columns of the vision tokens that stay, by the layer that they enter."""


def vision_tokens_of(model: Any) -> tuple[int, ...]:
    """Ids that the config names as placeholders of images and videos."""
    ids = (getattr(model.config, name, None) for name in ("image_token_id", "video_token_id"))
    return tuple(token for token in ids if token is not None)


def ranking_rows(
    inputs: Mapping[str, torch.Tensor], ranker: str, vision_tokens: Sequence[int]
) -> list[int]:
    """Rows whose attention ranks, for one unpadded prompt under `last` or `text`."""
    ids = inputs["input_ids"][0].tolist()
    vision = [column for column, token in enumerate(ids) if token in vision_tokens]
    first = vision[-1] + 1 if vision and ranker == "text" else len(ids) - 1
    return list(range(first, len(ids)))


def ranking_layer(model: Any, layer: int) -> int:
    """The nearest layer before `layer` that attends to the whole prompt."""
    types = getattr(model.get_decoder().config, "layer_types", None)
    while layer > 0:
        layer -= 1
        if types is None or types[layer] == "full_attention":
            return layer
    raise ValueError("no layer before the cut attends to the whole prompt")


@contextmanager
def masking(
    model: Any,
    prompt: torch.Tensor,
    keep: Sequence[float],
    rows: Sequence[int],
    given: Kept | None = None,
    vision_tokens: Sequence[int] | None = None,
    window: int = 1,
) -> Iterator[Kept]:
    """Hide what `keep` removes from every forward of `model` inside the context.

    Args:
        model: Loaded with eager attention, to be called without a KV cache.
        prompt: `(sequence,)` ids that every row of every call begins with.
        keep: Keep ratio of each layer.
        rows: Rows whose attention ranks.
        given: Kept sets to apply in place of ranked ones.
        vision_tokens: Placeholder ids; default: what the config names.
        window: Neighbouring vision tokens of which the best come before any second best.

    Yields:
        Kept vision columns by cut layer, of the latest forward.
    """
    ids = vision_tokens_of(model) if vision_tokens is None else vision_tokens
    vision = [column for column, token in enumerate(prompt.tolist()) if token in ids]
    alive: list[int] = []
    weights: dict[int, torch.Tensor] = {}
    kept: Kept = {}
    handles = []

    def choose(index: int, count: int) -> list[int]:
        if given is not None:
            return given[index]
        if count == 0:
            return []
        logs = weights[ranking_layer(model, index)][0][:, rows].flatten(0, 1)
        attention = logs.logsumexp(0)
        best = sorted(alive, key=lambda column: (-attention[column].item(), column))
        neighbours = [vision.index(column) // window for column in best]
        places = [neighbours[:n].count(own) for n, own in enumerate(neighbours)]
        first = sorted(range(len(best)), key=lambda n: (places[n] if window > 1 else 0, n))
        return sorted(best[n] for n in first[:count])

    def before_layer(index: int) -> Any:
        def hook(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
            nonlocal alive
            if index == 0:
                alive = list(vision)
                kept.clear()
            count = math.ceil(keep[index] * len(vision) - 1e-6)
            if count < len(alive):
                alive = kept[index] = choose(index, count)
            gone = [column for column in vision if column not in alive]
            if gone:
                mask = kwargs["attention_mask"].clone()
                mask[..., gone] = torch.finfo(mask.dtype).min
                kwargs = {**kwargs, "attention_mask": mask}
            return args, kwargs

        return hook

    def after_attention(index: int) -> Any:
        def hook(_module: Any, _args: Any, _output: Any) -> None:
            weights[index] = latest[0]

        return hook

    for index, layer in enumerate(model.get_decoder().layers):
        handles.append(layer.register_forward_pre_hook(before_layer(index), with_kwargs=True))
        handles.append(layer.self_attn.register_forward_hook(after_attention(index)))
    try:
        with seeing_softmax() as latest:
            yield kept
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def seeing_softmax() -> Iterator[list[torch.Tensor]]:
    """Note, of the latest softmax, its logarithm in double precision."""
    softmax, latest = torch.nn.functional.softmax, [torch.empty(0)]

    def seen(scores: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        latest[0] = scores.double().log_softmax(-1)
        return softmax(scores, *args, **kwargs)

    torch.nn.functional.softmax = seen  # type: ignore[assignment]
    try:
        yield latest
    finally:
        torch.nn.functional.softmax = softmax


def masked_forward(
    model: Any,
    inputs: Inputs,
    keep: Sequence[float],
    rows: Sequence[int],
    given: Kept | None = None,
    vision_tokens: Sequence[int] | None = None,
    window: int = 1,
) -> tuple[torch.Tensor, Kept]:
    """Logits `(sequence, vocab)` and kept sets of one unpadded sample."""
    prompt = inputs["input_ids"][0]
    with masking(model, prompt, keep, rows, given, vision_tokens, window) as kept:
        logits: torch.Tensor = model(**inputs, use_cache=False).logits[0]
    return logits, kept


def masked_decode(
    model: Any, inputs: Inputs, keep: Sequence[float], rows: Sequence[int], steps: int
) -> tuple[torch.Tensor, list[int]]:
    """Greedy decoding by recomputation: logits `(steps, vocab)` and tokens."""
    collected: list[torch.Tensor] = []
    tokens: list[int] = []
    for _ in range(steps):
        logits, _ = masked_forward(model, appended(inputs, tokens), keep, rows)
        collected.append(logits[-1])
        tokens.append(int(logits[-1].argmax()))
    return torch.stack(collected), tokens


def appended(inputs: Mapping[str, torch.Tensor], tokens: Sequence[int]) -> Inputs:
    """One unpadded sample with more text tokens after it."""
    prompt = inputs["input_ids"]
    new = torch.tensor([list(tokens)], dtype=torch.long)
    longer = {
        name: torch.cat([value, value.new_zeros(new.shape)], dim=1)
        for name, value in inputs.items()
        if value.shape == prompt.shape
    }
    ids = torch.cat([prompt, new], dim=1)
    return {**inputs, **longer, "input_ids": ids, "attention_mask": torch.ones_like(ids)}


def padded(samples: Sequence[Mapping[str, torch.Tensor]], side: str) -> Inputs:
    """A batch of samples, its rows padded on one side, its vision inputs at their ends."""
    prompts = [sample["input_ids"] for sample in samples]
    width = max(ids.shape[1] for ids in prompts)
    names = dict.fromkeys(name for sample in samples for name in sample)
    batch = {}
    for name in names:
        given = [(one[name], ids) for one, ids in zip(samples, prompts, strict=True) if name in one]
        if all(value.shape == ids.shape for value, ids in given):
            rows = [
                one.get(name, torch.zeros_like(ids))
                for one, ids in zip(samples, prompts, strict=True)
            ]
            gaps = [width - row.shape[1] for row in rows]
            sides = [(gap, 0) if side == "left" else (0, gap) for gap in gaps]
            pairs = zip(rows, sides, strict=True)
            batch[name] = torch.cat([torch.nn.functional.pad(row, gap) for row, gap in pairs])
        else:
            batch[name] = _joined([value for value, _ in given])
    return batch


def _joined(values: Sequence[torch.Tensor]) -> torch.Tensor:
    """Joined along the first dimension; the others grow with zeros to the largest."""
    shapes = [value.shape[1:] for value in values]
    sizes = [max(shape[dim] for shape in shapes) for dim in range(values[0].dim() - 1)]
    grown = []
    for value in values:
        gaps = [(0, size - own) for size, own in zip(sizes, value.shape[1:], strict=True)]
        grown.append(torch.nn.functional.pad(value, [n for gap in gaps[::-1] for n in gap]))
    return torch.cat(grown)

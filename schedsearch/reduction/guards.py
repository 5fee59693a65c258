"""Refusals: calls that would run and be silently wrong under a reduction."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from schedsearch.core.schedule import Schedule
from schedsearch.errors import ScheduleError, UnsupportedError
from schedsearch.models.adapters import Adapter
from schedsearch.models.prompt import Prompt
from schedsearch.reduction.rankers import make_ranker

_REDUCED = ("hidden_states", "attention_mask", "position_embeddings", "position_ids")
_LOSS = ("shift_labels",)
"""Arguments of the loss, which models hand to their layers too."""
_PACKING = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx")
"""Arguments by which transformers is told where the prompts of a packed row begin."""

Shape = tuple[int, int]


def check_fits(model: nn.Module, adapter: Adapter, schedule: Schedule) -> None:
    """Refuse a schedule that was not made for this model.

    Raises:
        ScheduleError: Architecture, depth or width differ, the ranker is unknown, or tokens are
            removed before the layer that would rank them.
        UnsupportedError: The model runs an attention implementation without support.
    """
    shape, architecture = adapter.shape(model), adapter.architecture(model)
    target = schedule.target
    if target is not None and target.architecture != architecture:
        raise ScheduleError(
            f"the schedule was made for {target.architecture}, but the model is {architecture}; "
            "search a schedule for this model"
        )
    if schedule.layers != shape.layers:
        raise ScheduleError(
            f"`keep` must have one ratio for each of the model's {shape.layers} decoder layers, "
            f"but got {schedule.layers}; search a schedule for this model"
        )
    hidden = target.hidden_size if target else None
    if hidden is not None and hidden != shape.hidden_size:
        raise ScheduleError(
            f"the schedule was made for hidden size {hidden}, but the model has "
            f"{shape.hidden_size}; search a schedule for this model"
        )
    if schedule.keep[0] < 1 and make_ranker(schedule.ranker).reads_attention:
        raise ScheduleError(
            f"`keep` must be 1 at layer 0, but got {schedule.keep[0]}: no layer before it has "
            "seen the tokens that would be removed; remove from layer 1 on, or use a ranker "
            "that works before the layers, such as diverse"
        )
    if (getattr(model, "tp_size", None) or 1) > 1:
        raise UnsupportedError(
            "the model is tensor parallel: each process would rank tokens by its own share of the "
            "heads and keep others; spread it by `device_map`"
        )
    config: Any = adapter.decoder(model).config
    attention = config._attn_implementation or "eager"
    if attention not in ("eager", "sdpa") and "flash" not in attention:
        raise UnsupportedError(
            f"attention implementation {attention!r} is not supported under a reduction; load "
            "the model with `attn_implementation` set to sdpa, eager or a flash attention"
        )
    if "flash" in attention and any(adapter.windows(model)):
        raise UnsupportedError(
            f"{architecture} has sliding-window layers, and {attention} would count the window in "
            "tokens that are left instead of positions; load the model with `attn_implementation` "
            "set to sdpa or eager"
        )


def check_ranking(
    architecture: str, ranked: Iterable[int], ranking: Sequence[int | None]
) -> list[int]:
    """The layer that ranks each cut.

    Args:
        architecture: Class name of the model.
        ranked: Layers before which the ranker reads attention to remove tokens.
        ranking: For each layer the earlier one whose attention ranks; `None` if there is none.

    Raises:
        ScheduleError: See above.
    """
    sources = []
    for layer in ranked:
        source = ranking[layer]
        if source is None:
            able = (n for n, layer_before in enumerate(ranking) if layer_before is not None)
            first = next(able, None)
            later = f"remove from layer {first} on, or " if first is not None else ""
            raise ScheduleError(
                f"no layer of {architecture} before layer {layer} attends to the whole prompt, so "
                f"none can rank the tokens that the schedule removes there; {later}use a ranker "
                "without attention, such as diverse"
            )
        sources.append(source)
    return sources


def check_layer_inputs(args: Sequence[Any], kwargs: Mapping[str, Any], shape: Shape) -> None:
    """Refuse layers that take more per token than states, mask and positions.

    Args:
        args: Positional arguments of a decoder layer.
        kwargs: Its keyword arguments.
        shape: Rows and columns of the batch.

    Raises:
        UnsupportedError: An argument has a value for every token of the whole prompt, which would
            not fit the tokens that are left.
    """
    named = {name: value for name, value in kwargs.items() if name not in _REDUCED + _LOSS}
    for name, value in (*enumerate(args[1:], start=1), *named.items()):
        if isinstance(value, torch.Tensor) and tuple(value.shape[:2]) == shape:
            raise UnsupportedError(
                f"the decoder layers take an argument per token ({name!r}) that the runtime does "
                "not know how to reduce; the model needs an adapter of its own"
            )
    rotary = kwargs.get("position_embeddings")
    tables = rotary if isinstance(rotary, (tuple, list)) else ()
    sizes = [one.shape if isinstance(one, torch.Tensor) else () for one in tables]
    fit = [len(one) == 3 and one[0] in (1, shape[0]) and one[1] == shape[1] for one in sizes]
    if not fit or not all(fit):
        found = type(rotary).__name__
        raise UnsupportedError(
            "the decoder layers must take their positions as `position_embeddings`, rotary tables "
            f"with a row for every token, but got {found}; the model needs an adapter of its own"
        )


def check_forward(
    inputs: Mapping[str, Any] | None,
    cache: Any,
    adapter: Adapter,
    config: Any,
    *,
    continues: bool,
) -> None:
    """Refuse forward calls under which the runtime cannot know what to remove.

    Args:
        inputs: Arguments of the multimodal module; `None` if only its decoder was called.
        cache: The KV cache, or `None`.
        adapter: Knows which arguments carry vision.
        config: Of the decoder.
        continues: Whether the cache already holds a prompt.

    Raises:
        UnsupportedError: See above; the message names the remedy.
    """
    if inputs is None:
        raise UnsupportedError(
            "the decoder was called without the multimodal model, so its vision tokens are "
            "unknown; call the model itself with `input_ids`"
        )
    if getattr(cache, "is_compileable", False):
        raise rigid_cache(type(cache).__name__)
    mask = inputs.get("attention_mask")
    if mask is not None and not (isinstance(mask, torch.Tensor) and mask.dim() == 2):
        raise UnsupportedError(
            "a prepared 4-D attention mask hides which tokens are padding; pass the 2-D "
            "`attention_mask` of the processor"
        )
    if continues:
        given = [name for name in adapter.vision_inputs if _holds_something(inputs.get(name))]
        if given:
            raise UnsupportedError(
                f"new images (`{given[0]}`) came with a KV cache that already holds a prompt; a "
                "reduction ranks the vision tokens of the first prompt only, so send all images "
                "there"
            )
    elif inputs.get("input_ids") is None:
        raise UnsupportedError(
            "`inputs_embeds` hide which tokens are vision; pass `input_ids` and the processor's "
            "pixel values"
        )
    else:
        shape = tuple(inputs["input_ids"].shape)
        if mask is not None and tuple(mask.shape) != shape:
            raise UnsupportedError(
                f"`attention_mask` must have one value for each token, {shape}, but got "
                f"{tuple(mask.shape)}; pass the one of the processor"
            )
        caches = inputs.get("use_cache")
        caches = getattr(config, "use_cache", True) if caches is None else caches
        _check_unpacked(inputs, mask, caches=caches or cache is not None)


def _check_unpacked(inputs: Mapping[str, Any], mask: torch.Tensor | None, *, caches: bool) -> None:
    """Refuse rows that hold several prompts.

    Raises:
        UnsupportedError: The arguments say so.
    """
    found = next((f"`{name}`" for name in _PACKING if inputs.get(name) is not None), None)
    if mask is not None and mask.dtype != torch.bool and bool((mask > 1).any()):
        found = "numbers of prompts in `attention_mask`"
    positions = inputs.get("position_ids")
    if isinstance(positions, torch.Tensor) and positions.shape[-1] > 1:
        if _begins_again(positions, mask, caches=caches):
            found = "`position_ids` that begin again, or jump without a mask,"
    if found is not None:
        raise UnsupportedError(
            f"{found} say that rows hold several prompts, which a reduction would rank as one; "
            "pass one prompt in each row, padded"
        )


def _begins_again(positions: torch.Tensor, mask: torch.Tensor | None, *, caches: bool) -> bool:
    """Whether positions fall within a row.

    Where there is no mask and nothing is cached, transformers takes every step other than 1 for
    the beginning of another prompt; M-RoPE, whose first of three axes stands still within an image,
    is never taken for packed.
    """
    axes = positions.shape[0] if positions.dim() == 3 else 1
    steps = (positions[0] if positions.dim() == 3 else positions).diff(dim=-1)
    if mask is None and not caches and axes != 3:
        return bool((steps != 1).any())
    again = steps < 0
    if mask is not None:
        own = mask[:, -positions.shape[-1] :].bool().to(again.device)
        again = again & own[:, 1:] & own[:, :-1]
    return bool(again.any())


def _holds_something(value: Any) -> bool:
    if isinstance(value, Mapping):  # `generate` passes what it encoded, which may be nothing
        return any(part is not None for part in value.values())
    return value is not None


def check_prompt(prompt: Prompt) -> None:
    """Refuse prompts whose last token might be removed.

    Raises:
        UnsupportedError: A prompt ends in a vision token, whose row predicts the answer.
    """
    ends = prompt.vision.gather(1, prompt.last_row[:, None])[:, 0]
    if bool(ends.any()):
        raise UnsupportedError(
            f"the prompt in row {int(ends.int().argmax())} ends in a vision token, which may be "
            "removed although it predicts the answer; put the question after the images, and "
            "count padding on the left in where you pass prompt lengths"
        )


def rigid_cache(name: str) -> UnsupportedError:
    """Error for caches whose layers cannot differ in length."""
    return UnsupportedError(
        f"{name} is not supported, because reduced layers cache fewer tokens than the others; use "
        "the dynamic cache, which is the default"
    )

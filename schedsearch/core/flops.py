"""What a schedule costs: FLOPs and KV cache of the decoder, and the schedule for a budget.

FLOPs are 2 x multiply-adds. Attention counts the full square of the sequence, not its causal
half, because that is what the literature reports. A ratio covers the decoder layers only: neither
the vision tower nor the LM head nor the ranking is in it; the last two have functions here.
With s tokens in a layer, hidden size D, H query heads and H_kv key/value heads of width h, and a
gated MLP of width f, one layer costs

    4 s D H h  +  4 s D H_kv h  +  6 s D f  +  4 H h s^2.

All counts are exact integers.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

from schedsearch.core.schedule import Schedule, reducible_layers
from schedsearch.errors import InputError


@dataclass(frozen=True)
class DecoderShape:
    """The sizes of a language model that determine its cost.

    Attributes:
        layers: Decoder layers.
        hidden_size: Width of the residual stream.
        heads: Query heads.
        kv_heads: Key/value heads; equal to `heads` without grouped-query attention.
        head_dim: Width of one head.
        mlp_size: Inner width of the gated MLP (three matrices).
        vocab_size: Rows of the LM head.
    """

    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_size: int
    vocab_size: int

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            if getattr(self, name) < 1:
                raise InputError(
                    f"`{name}` must be at least 1, but got {getattr(self, name)}; "
                    f"read it from the configuration of the language model"
                )


@dataclass(frozen=True)
class SampleTokens:
    """The prompt of one sample, counted.

    Attributes:
        n_vision: Vision tokens.
        n_text: Every other prompt token.
    """

    n_vision: int
    n_text: int

    def __post_init__(self) -> None:
        if self.n_vision < 0 or self.n_text < 0 or self.n_vision + self.n_text == 0:
            raise InputError(
                f"a prompt must have tokens, but got {self.n_vision} vision tokens and "
                f"{self.n_text} text tokens; count again"
            )


def layer_flops(shape: DecoderShape, tokens: int) -> int:
    """Return the FLOPs of one decoder layer that processes `tokens` tokens."""
    linear, square = _layer_terms(shape)
    return linear * tokens + square * tokens**2


def prefill_flops(
    shape: DecoderShape, counts: Sequence[int], n_text: int, head_rows: int = 0
) -> int:
    """Return the FLOPs of one prompt through the decoder.

    Args:
        shape: The language model.
        counts: Vision tokens per layer, shape (layers,), as `Schedule.counts` gives them.
        n_text: Text tokens, all of which every layer processes.
        head_rows: Rows that go through the LM head; 2 x hidden size x vocabulary FLOPs each.
    """
    _check_depth(shape, len(counts))
    layers = sum(layer_flops(shape, count + n_text) for count in counts)
    return layers + 2 * head_rows * shape.hidden_size * shape.vocab_size


def ranking_flops(shape: DecoderShape, tokens: int, rows: int = 1) -> int:
    """Return the FLOPs of ranking once: `rows` queries against `tokens` keys in every head."""
    return 2 * rows * shape.heads * shape.head_dim * tokens


def kv_bytes(
    shape: DecoderShape, counts: Sequence[int], n_text: int, bytes_per_value: int = 2
) -> int:
    """Return the bytes of the KV cache after prefill; `counts` has shape (layers,)."""
    _check_depth(shape, len(counts))
    per_token = 2 * shape.kv_heads * shape.head_dim * bytes_per_value
    return per_token * (sum(counts) + n_text * shape.layers)


def flops_ratio(shape: DecoderShape, schedule: Schedule, tokens: Sequence[SampleTokens]) -> float:
    """Return the decoder's mean FLOPs under `schedule` / its mean FLOPs on full prompts.

    A ratio of means over the samples, so that long prompts weigh as much as they cost.
    """
    prompts = _by_length(tokens)
    full = Schedule.full(schedule.layers)
    return _decoder_flops(shape, schedule, prompts) / _decoder_flops(shape, full, prompts)


def kv_ratio(shape: DecoderShape, schedule: Schedule, tokens: Sequence[SampleTokens]) -> float:
    """Return the mean KV cache after prefill under `schedule` / the mean of full prompts."""
    _check_depth(shape, schedule.layers)
    kept = full = 0
    for n_vision, group in _by_length(tokens).items():
        kept += group.samples * sum(schedule.counts(n_vision)) + group.text * shape.layers
        full += (group.samples * n_vision + group.text) * shape.layers
    return kept / full


def feasible_range(
    shape: DecoderShape, tokens: Sequence[SampleTokens], first: int = 2, floor: float = 0.0
) -> tuple[float, float]:
    """Return the least and the greatest FLOPs ratio that any schedule reaches.

    Args:
        shape: The language model.
        tokens: The samples over which ratios are taken.
        first: First layer that may process fewer vision tokens than there are.
        floor: Share of the vision tokens that no layer goes below.

    Raises:
        InputError: `first` is not a layer.
    """
    tail = reducible_layers(first, shape.layers)
    least = Schedule((1.0,) * first + (floor,) * len(tail))
    return flops_ratio(shape, least, tokens), 1.0


def share_of_feasible(share: float, feasible: tuple[float, float]) -> float:
    """Return the FLOPs ratio that lies `share` of the way up the feasible range.

    Raises:
        InputError: `share` is outside [0, 1].
    """
    if not 0.0 <= share <= 1.0:
        raise InputError(
            f"the share of the feasible range must lie in [0, 1], but got {share!r}; "
            f"0.5 means half way from the least reachable FLOPs ratio to 1"
        )
    least, most = feasible
    return min(most, least + share * (most - least))  # rounding must not leave the range


def solve_budget(
    curve: Callable[[float], Schedule],
    low: float,
    high: float,
    budget: float,
    shape: DecoderShape,
    tokens: Sequence[SampleTokens],
) -> Schedule:
    """Return the costliest schedule of a family whose FLOPs ratio is within `budget`.

    The ratio is never above the budget, and one more vision token in every layer would be.

    Args:
        curve: Maps the family's solved parameter to a schedule; every layer's ratio must grow,
            or stay, with the parameter.
        low: Least value of the parameter.
        high: Greatest value of the parameter.
        budget: FLOPs ratio as `flops_ratio` defines it.
        shape: The language model.
        tokens: The samples over which the ratio is taken.

    Raises:
        InputError: The budget is outside what the curve reaches; the message names the range.
    """
    prompts = _by_length(tokens)
    full = _decoder_flops(shape, Schedule.full(shape.layers), prompts)

    def candidate(value: float) -> Schedule:
        return _on_grid(curve(value), prompts)

    def cost(schedule: Schedule) -> float:
        return _decoder_flops(shape, schedule, prompts) / full

    best, most = candidate(low), candidate(high)
    if not cost(best) <= budget <= cost(most):
        raise InputError(
            f"`budget` must be a FLOPs ratio in {_rounded_inward(cost(best), cost(most))}, which "
            f"this family can reach, but got {budget!r}; choose one inside, or state it as a share "
            f"of the feasible range"
        )
    if cost(most) <= budget:
        return most
    # 2**-50 of the range moves no layer of any prompt by more than one token.
    for _ in range(50):
        middle = (low + high) / 2
        schedule = candidate(middle)
        if cost(schedule) <= budget:
            low, best = middle, schedule
        else:
            high = middle
    return best


def _on_grid(schedule: Schedule, n_visions: Iterable[int]) -> Schedule:
    """Return the schedule with each ratio written as k / n of the prompts it was solved for.

    Bisection ends at the upper edge of a count, inside the slack of `kept_count`; on a prompt of
    another length such a ratio would keep a token more than the plain fraction does.
    """
    lengths = [n for n in n_visions if n]
    if not lengths:
        return schedule
    counts = [schedule.counts(n) for n in lengths]
    keep = tuple(
        min(count / n for n, count in zip(lengths, layer, strict=True))
        for layer in zip(*counts, strict=True)
    )
    return Schedule(keep, schedule.ranker, schedule.target)


def _rounded_inward(low: float, high: float) -> str:
    """Return the range in four digits, so that both ends shown are themselves inside it."""
    return f"[{math.ceil(low * 1e4) / 1e4}, {math.floor(high * 1e4) / 1e4}]"


@dataclass
class _Group:
    """Prompts with one number of vision tokens: how many, their text tokens, summed and squared."""

    samples: int = 0
    text: int = 0
    text_squared: int = 0


def _by_length(tokens: Sequence[SampleTokens]) -> dict[int, _Group]:
    """Return the prompts by vision tokens: sums suffice, because FLOPs are quadratic in length."""
    if not tokens:
        raise InputError("a ratio needs at least one sample, but got none; pass token counts")
    groups: dict[int, _Group] = {}
    for sample in tokens:
        group = groups.setdefault(sample.n_vision, _Group())
        group.samples += 1
        group.text += sample.n_text
        group.text_squared += sample.n_text**2
    return groups


def _decoder_flops(shape: DecoderShape, schedule: Schedule, prompts: dict[int, _Group]) -> int:
    """Return the FLOPs of all decoder layers, summed over the prompts."""
    _check_depth(shape, schedule.layers)
    linear, square = _layer_terms(shape)
    total = 0
    for n_vision, group in prompts.items():
        for count in schedule.counts(n_vision):
            length = group.samples * count + group.text
            length_squared = (group.samples * count + 2 * group.text) * count + group.text_squared
            total += linear * length + square * length_squared
    return total


def _layer_terms(shape: DecoderShape) -> tuple[int, int]:
    """Return the FLOPs of a layer per token, and per squared token."""
    query = shape.heads * shape.head_dim
    key = shape.kv_heads * shape.head_dim
    projections = 4 * shape.hidden_size * (query + key)
    mlp = 6 * shape.hidden_size * shape.mlp_size
    return projections + mlp, 4 * query


def _check_depth(shape: DecoderShape, layers: int) -> None:
    if layers != shape.layers:
        raise InputError(
            f"the schedule must have one ratio per decoder layer, but got {layers} for a model "
            f"of {shape.layers}; use a schedule that was made for this model"
        )

"""What a schedule costs: FLOPs and KV cache of the decoder.

FLOPs are 2 x multiply-adds. Attention counts the full square of the sequence, not its causal
half, because that is what the literature reports. A ratio covers the decoder layers only: neither
the vision tower nor the LM head nor the ranking is in it; the last two have functions here.
With s tokens in a layer, hidden size D, H query heads and H_kv key/value heads of width h, and a
gated MLP of width f, one layer costs

    4 s D H h  +  4 s D H_kv h  +  6 s D f  +  4 H h s^2.

All counts are exact integers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from schedsearch.core.schedule import Schedule
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


Cost = Callable[[Schedule], float]


def flops_cost(shape: DecoderShape, tokens: Sequence[SampleTokens]) -> Cost:
    """Return the function of a schedule: decoder's mean FLOPs / its mean FLOPs on full prompts.

    A ratio of means over the samples, so that long prompts weigh as much as they cost.
    """
    prompts = _by_length(tokens)
    full = _decoder_flops(shape, Schedule.full(shape.layers), prompts)
    return lambda schedule: _decoder_flops(shape, schedule, prompts) / full


def flops_ratio(shape: DecoderShape, schedule: Schedule, tokens: Sequence[SampleTokens]) -> float:
    """Return what `flops_cost` says of one schedule."""
    return flops_cost(shape, tokens)(schedule)


def kv_cost(shape: DecoderShape, tokens: Sequence[SampleTokens]) -> Cost:
    """Return the function of a schedule: mean KV cache after prefill / the mean of full prompts."""
    prompts = _by_length(tokens)

    def kept(schedule: Schedule) -> int:
        _check_depth(shape, schedule.layers)
        return sum(
            group.samples * sum(schedule.counts(n_vision)) + group.text * shape.layers
            for n_vision, group in prompts.items()
        )

    full = kept(Schedule.full(shape.layers))
    return lambda schedule: kept(schedule) / full


def kv_ratio(shape: DecoderShape, schedule: Schedule, tokens: Sequence[SampleTokens]) -> float:
    """Return what `kv_cost` says of one schedule."""
    return kv_cost(shape, tokens)(schedule)


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


def prompt_ratios(
    shape: DecoderShape, fewer: Sequence[SampleTokens], full: Sequence[SampleTokens]
) -> tuple[float, float]:
    """FLOPs ratio and KV ratio of shorter prompts, whole through all layers, to the full ones.

    Ratios of means over the samples, as `flops_ratio` has them for schedules.
    """
    lengths = [[one.n_vision + one.n_text for one in prompts] for prompts in (fewer, full)]
    flops = [sum(layer_flops(shape, length) for length in each) for each in lengths]
    return flops[0] / flops[1], sum(lengths[0]) / sum(lengths[1])

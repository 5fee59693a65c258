"""What the contract suite for adapters works with: a model, its twin, and ways to run them."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from transformers import LogitsProcessor

from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.models.adapters import Adapter
from schedsearch.reduction.reduction import reduce
from schedsearch.testing.reference import (
    Inputs,
    Kept,
    appended,
    masked_forward,
    padded,
    ranking_rows,
)

TOLERANCE = 1e-4
"""On float32 logits of size 1: other shapes sum in another order, 2e-5 measured, times five."""

EFFECT = 0.1
"""Least change of a logit by the removed tokens; what is wrong changes logits as much."""

STEPS = 8
"""Decode steps after the prefill."""

_HOOKS = ("hooks", "hooks_with_kwargs", "hooks_always_called")


def randomise(model: Any, seed: int = 1) -> Any:
    """Random weights under which attention is peaky, so that removing tokens moves the logits."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            gain = 2.0 if "q_proj" in name or "k_proj" in name else 0.7
            inputs = parameter[0].numel()
            parameter.data.normal_(0, gain / inputs**0.5, generator=generator)
        elif parameter.unique().numel() > 1:  # norms and biases begin as ones and zeros
            parameter.data.normal_(0, parameter.numel() ** -0.5, generator=generator)
    model.generation_config.pad_token_id = 0
    model.generation_config.eos_token_id = None
    return model.eval().requires_grad_(False)


@dataclass(frozen=True)
class Expected:
    """What the masked model says of one sample with the answer after it.

    Attributes:
        logits: `(sequence + STEPS, vocab)`.
        kept: Vision columns by cut layer.
        effect: How much the removed tokens change the logits after the prompt.
    """

    logits: torch.Tensor
    kept: Kept
    effect: float


@dataclass
class Subject:
    """A model under test with its eager twin, which the reference masks.

    Attributes:
        model: With the attention implementation under test.
        twin: The same weights with eager attention.
        adapter: Of the model.
        samples: Prompts of one row by name.
        vision_tokens: Placeholder ids.
        answer: `STEPS + 1` text tokens, the last of which is never fed.
    """

    model: Any
    twin: Any
    adapter: Adapter
    samples: dict[str, Inputs]
    vision_tokens: tuple[int, ...]
    answer: list[int]
    _expected: dict[Any, Expected] = field(default_factory=dict)

    @property
    def layers(self) -> int:
        """Decoder layers."""
        return self.adapter.shape(self.model).layers

    @property
    def first(self) -> int:
        """The first layer before which tokens can be ranked."""
        ranked = (self.adapter.ranking_layer(self.model, n) for n in range(self.layers))
        return next(layer for layer, source in enumerate(ranked) if source is not None)

    def keep(self, *ratios: float) -> tuple[float, ...]:
        """Keep ratios from the first possible cut on; the last one holds to the end."""
        open_layers = self.layers - self.first
        wanted = (*ratios, *[ratios[-1]] * open_layers)
        return (1.0,) * self.first + wanted[:open_layers]

    @property
    def falling(self) -> tuple[float, ...]:
        """Cuts in neighbouring layers and after a pause."""
        return self.keep(0.6, 0.4, 0.4, 0.15)

    def n_vision(self, name: str) -> int:
        """Vision tokens of a sample."""
        ids = self.samples[name]["input_ids"]
        return int(sum((ids == token).sum() for token in self.vision_tokens))

    def expected(self, name: str, keep: tuple[float, ...], ranker: str = "last") -> Expected:
        """The masked model on one sample."""
        key = name, keep, ranker
        if key not in self._expected:
            sample = self.samples[name]
            rows = ranking_rows(sample, ranker, self.vision_tokens)
            whole = appended(sample, self.answer[:STEPS])
            tokens = self.vision_tokens
            logits, kept = masked_forward(self.twin, whole, keep, rows, vision_tokens=tokens)
            kept = dict(kept)
            full, _ = masked_forward(self.twin, whole, (1.0,) * self.layers, rows)
            effect = (full - logits)[-STEPS - 1 :].abs().max().item()
            self._expected[key] = Expected(logits, kept, effect)
        return self._expected[key]

    def cast(self, dtype: torch.dtype) -> "Subject":
        """Model and samples in another precision; without reference."""
        if dtype == self.model.dtype:
            return self
        samples = {
            name: {n: v.to(dtype) if v.is_floating_point() else v for n, v in sample.items()}
            for name, sample in self.samples.items()
        }
        model = copy.deepcopy(self.model).to(dtype)
        return replace(self, model=model, samples=samples, _expected={})

    def one_length(self) -> list[Inputs]:
        """All samples with more text after the shorter ones."""
        width = max(one["input_ids"].shape[1] for one in self.samples.values())
        gaps = [width - one["input_ids"].shape[1] for one in self.samples.values()]
        return [
            appended(one, (self.answer * width)[:gap])
            for one, gap in zip(self.samples.values(), gaps, strict=True)
        ]

    def batch(self, side: str = "left") -> Inputs:
        """All samples in one batch."""
        return padded(list(self.samples.values()), side)


def prefix_tasks(subject: Subject) -> Iterator[tuple[tuple[float, ...], int]]:
    """Schedules and how many leading layers the next ones share, as a search asks them."""
    first, layers = subject.first, subject.layers
    yield (1.0,) * layers, first
    for layer in range(first, layers):
        settled = (1.0,) * first + tuple(0.7 * 0.8**n for n in range(layer - first))
        top = 0.7 * 0.8 ** (layer - first)
        for ratio in sorted({min(0.2, top), min(0.4, top), top}):
            yield settled + (ratio,) * (layers - layer), layer
    yield subject.keep(0.7), first
    yield subject.keep(1.0, 0.5), first


class _Forced(LogitsProcessor):  # type: ignore[misc]
    """Makes `generate` answer with given tokens."""

    def __init__(self, width: int, answer: Sequence[int]) -> None:
        self._width, self._answer = width, answer

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        forced_scores = torch.full_like(scores, float("-inf"))
        forced_scores[:, self._answer[input_ids.shape[1] - self._width]] = 0.0
        return forced_scores


def forced(subject: Subject, batch: Inputs) -> torch.Tensor:
    """Logits `(batch, STEPS + 1, vocab)` of `generate` that is made to answer with `answer`."""
    width = batch["input_ids"].shape[1]
    generated = subject.model.generate(
        **batch,
        logits_processor=[_Forced(width, subject.answer)],
        max_new_tokens=STEPS + 1,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    assert generated.sequences[0, width:].tolist() == subject.answer
    return torch.stack(generated.logits, dim=1)


Change = Callable[[Any], Any]
"""Takes a KV cache, and returns the one to go on with."""


def by_hand(
    subject: Subject,
    batch: Inputs,
    chunks: Sequence[int] = (1,) * STEPS,
    change: Change | None = None,
    rows: Sequence[int] | None = None,
) -> torch.Tensor:
    """The same by forwards on one cache, `chunks` tokens each; padding may stand on the right.

    Args:
        subject: The model.
        batch: The prompts.
        chunks: How many tokens each forward takes.
        change: What is done to the cache after the prefill.
        rows: The rows that it then holds, by their numbers in the batch; default: all of them.
    """
    model, mask = subject.model, batch["attention_mask"]
    trunk: Any = subject.adapter.trunk(model)
    deltas = hasattr(trunk, "rope_deltas")
    given = {} if deltas else {"position_ids": _counted(mask)}
    output = model(**batch, **given, use_cache=True)
    last = (mask * torch.arange(mask.shape[1])).argmax(1)
    chosen = list(range(len(last)) if rows is None else rows)
    first, cache = output.logits[torch.arange(len(last)), last], output.past_key_values
    cache = cache if change is None else change(cache)
    shifts = trunk.rope_deltas[chosen] if deltas else 0
    logits, mask, done = [first[chosen][:, None]], mask[chosen], 0
    for size in chunks:
        tokens = torch.tensor([subject.answer[done : done + size]]).expand(len(chosen), -1)
        mask = torch.cat([mask, torch.ones_like(tokens)], dim=1)
        positions = _counted(mask)[:, -size:] + shifts
        output = model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions[None].expand(3, -1, -1) if deltas else positions,
            past_key_values=cache,
        )
        logits.append(output.logits)
        done += size
    return torch.cat(logits, dim=1)


def _counted(mask: torch.Tensor) -> torch.Tensor:
    return (mask.cumsum(1) - 1).clamp(min=0)


def check_against_masked(
    subject: Subject,
    batch: Inputs,
    names: Sequence[str],
    keep: tuple[float, ...],
    ranker: str = "last",
    side: str = "left",
) -> None:
    """Kept sets, prompt logits and decode steps of each row are those of the masked model."""
    slides = any(subject.adapter.windows(subject.model))
    with reduce(subject.model, Schedule(keep, RankerSpec(ranker))) as reduction:
        prompt_logits = subject.model(**batch).logits
        kept = reduction.kept
        if side == "left":
            steps = forced(subject, batch)
        elif slides:  # windows are counted in columns, padding included, reduced or not
            steps = None
        else:
            steps = by_hand(subject, batch)
    for row, name in enumerate(names):
        masked = subject.expected(name, keep, ranker)
        assert masked.effect > EFFECT, (
            f"{name}: removing tokens changes logits by {masked.effect:.3f} only, so nothing could "
            "fail; scale the weights, as `randomise` does"
        )
        assert kept_vision(subject, kept, batch, row, masked.kept) == masked.kept, name
        offset = int(batch["attention_mask"][row].argmax())
        survivors = [column for column in kept[subject.layers - 1][row].tolist() if column >= 0]
        own = masked.logits[[column - offset for column in survivors]]
        assert_close(prompt_logits[row, survivors], own, f"{name}: prompt")
        if steps is not None:
            assert_close(steps[row], masked.logits[-STEPS - 1 :], f"{name}: decoding")


def kept_vision(
    subject: Subject, kept: Any, batch: Inputs, row: int, layers: Iterable[int]
) -> Kept:
    """Kept vision columns of one row, counted without its padding on the left."""
    offset = int(batch["attention_mask"][row].argmax())
    ids = batch["input_ids"][row].tolist()
    return {
        layer: [
            column - offset
            for column in kept[layer][row].tolist()
            if column >= 0 and ids[column] in subject.vision_tokens
        ]
        for layer in layers
    }


def assert_close(found: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    """Equal up to the order of summation, and finite."""
    difference = (found - expected).abs().max().item()
    assert difference < TOLERANCE, f"{what}: logits differ by {difference:.2e}"


class Breakdown(Exception):
    """Raised by the suite inside a model."""


@contextmanager
def breaking(module: Any, call: int) -> Iterator[None]:
    """Make a module raise when it is called for the `call`-th time."""
    calls = 0

    def hook(_module: Any, _args: Any, _output: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Breakdown

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def state(model: Any) -> dict[str, Any]:
    """Everything that hooking a model could change."""
    found: dict[str, Any] = {"generation": model.generation_config.to_dict()}
    for name, module in model.named_modules():
        own = vars(module)
        hooks = {key: list(own[key]) for key in own if key.endswith(_HOOKS)}
        config = own.get("config")
        settings = sorted(vars(config)) if config is not None else None
        attention = getattr(config, "_attn_implementation", None)
        overrides = [own.get(key) for key in ("forward", "generate")]
        found[name] = (sorted(own), hooks, id(config), settings, attention, overrides)
    return found

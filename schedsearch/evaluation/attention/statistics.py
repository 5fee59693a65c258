"""Attention statistics of the unreduced model: do layers agree on which vision tokens matter?"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from schedsearch.core import intervals
from schedsearch.core.intervals import Interval
from schedsearch.core.sample import SampleSet
from schedsearch.core.schedule import RankerSpec, kept_count
from schedsearch.core.shown import shown
from schedsearch.errors import DataError, InputError
from schedsearch.evaluation.attention.kendall import kendall_tau
from schedsearch.evaluation.batching import BatchSize, run_in_batches
from schedsearch.evaluation.encoding import Encoder, Row, by_id
from schedsearch.models.adapters import adapter_for
from schedsearch.models.prompt import Prompt, make_prompt
from schedsearch.models.stage import Stage
from schedsearch.reduction.attention_tap import tap_attention
from schedsearch.reduction.rankers import make_ranker
from schedsearch.reduction.rankers.base import Ranker
from schedsearch.reduction.ranking import log_row_attention
from schedsearch.reduction.selection import keep_top, stage_of

_NEGLIGIBLE = 0.01


@dataclass(frozen=True)
class AttentionStatistics:
    """What the layers of a model attend to, over a sample set; layers are counted from 0.

    Every figure is a mean over samples with its 95 % interval.

    Attributes:
        ranker: Whose attention: `last` or `text`.
        samples: Number of samples.
        tau: `tau[i][j]`, Kendall's tau-b between the orders that layers i and j give the vision
            tokens of a sample.
        random_tau: The same between a layer and a random order: the baseline, 0 in expectation.
        overlap: `overlap[i][j]`, share of the `top` tokens of layer i that are among the `top`
            of layer j.
        random_overlap: The same between a layer and a random order.
        top: Which share of the vision tokens `overlap` looks at.
        mass: `mass[l]`, attention on all vision tokens / attention on all tokens, in layer l.
        uniform_mass: Mass of attention that is spread evenly over all visible tokens, and
            expected mass on as many random tokens, in any layer: the baseline.
        cover: `cover[l]`, share of the vision tokens that are left when those with the least
            attention in layer l go, as long as they have at most 1 % of all attention together.
    """

    ranker: str
    samples: int
    tau: tuple[tuple[Interval, ...], ...]
    random_tau: Interval
    overlap: tuple[tuple[Interval, ...], ...]
    random_overlap: Interval
    top: float
    mass: tuple[Interval, ...]
    uniform_mass: Interval
    cover: tuple[Interval, ...]


@dataclass(frozen=True)
class _OfSample:
    """One sample's figures: matrices `(layers + 1, layers + 1)`, the last row a random order."""

    tau: torch.Tensor
    overlap: torch.Tensor
    mass: torch.Tensor
    uniform_mass: float
    cover: torch.Tensor


def attention_statistics(
    model: nn.Module,
    processor: Any,
    samples: SampleSet,
    *,
    ranker: str = "last",
    top: float = 0.25,
    batch_size: int | None = None,
    template: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> AttentionStatistics:
    """Measure one forward per sample, nothing removed.

    Args:
        model: A multimodal model.
        processor: Its processor.
        samples: At least two samples, each with at least two vision tokens.
        ranker: Which rows' attention orders the vision tokens: `last` or `text`.
        top: Share of the vision tokens for the overlap, in (0, 1].
        batch_size: Most samples in a batch; default: from the model's size and the memory.
        template: Jinja chat template; default: the processor's.
        on_progress: Called with samples done and samples in all, after every batch.

    Raises:
        InputError: `ranker` reads no attention, or `top` or `batch_size` is out of range.
        DataError: There are too few samples or vision tokens, or a sample cannot be encoded.
        UnsupportedError: The model has no adapter or chat template.
        RunError: A sample does not fit into memory.
    """
    made = make_ranker(RankerSpec(ranker))
    if not made.reads_attention:
        raise InputError(
            f"`ranker` must read attention, but got {shown(ranker)}; choose last or text"
        )
    if not 0 < top <= 1:
        raise InputError(f"`top` must lie in (0, 1], but got {top}; name a share of the tokens")
    encoder = Encoder(model, processor, template, max_cache_bytes=0)
    rows = [Row(sample, encoder.encode(sample)) for sample in by_id(samples).values()]
    _check_size(rows)
    probe = _Probe(model, encoder, made, top)
    results: dict[str, _OfSample] = {}
    with torch.inference_mode(), probe.installed():
        for batch in run_in_batches(rows, BatchSize.choose(model, batch_size), probe.run):
            results |= {row.sample_id: result for row, result in batch}
            if on_progress is not None:
                on_progress(len(results), len(rows))
    return _summary(ranker, top, [results[row.sample_id] for row in rows])


def _check_size(rows: Sequence[Row]) -> None:
    if len(rows) < 2:
        raise DataError("statistics need at least two samples, but got one; add samples")
    for row in rows:
        if row.prompt.n_vision < 2:
            raise DataError(
                f"sample {shown(row.sample_id)} has {row.prompt.n_vision} vision token, which has "
                "no order; use samples with at least two"
            )


class _Probe:
    """Collects every layer's ranking scores during a forward."""

    def __init__(self, model: nn.Module, encoder: Encoder, ranker: Ranker, top: float) -> None:
        self._model = model
        self._encoder = encoder
        self._ranker = ranker
        self._top = top
        self._adapter = adapter_for(model)
        self._layers = self._adapter.shape(model).layers
        self._windows = self._adapter.windows(model)
        self._prompt: Prompt | None = None
        self._rows: Stage | None = None
        self._attention: dict[int, torch.Tensor] = {}

    def installed(self) -> Any:
        """Context in which `run` works."""
        layers = range(self._layers)
        modules = {layer: self._adapter.attention(self._model, layer) for layer in layers}
        return tap_attention(modules, self._on_attention)

    def run(self, batch: Sequence[Row]) -> list[_OfSample]:
        """Figures of each sample of a bucket."""
        inputs = self._encoder.inputs(batch)
        ids = inputs["input_ids"]
        prompt = make_prompt(ids, self._adapter.vision_mask(self._model, ids), None)
        marked = self._ranker.query_rows(prompt)
        self._prompt = prompt
        self._rows = stage_of(marked, tuple(marked.sum(1).tolist()))
        self._attention.clear()
        self._model(**inputs, logits_to_keep=1, use_cache=False)
        attention = torch.stack([self._attention[layer] for layer in range(self._layers)], dim=1)
        n_vision = batch[0].prompt.n_vision
        columns = prompt.vision.nonzero()[:, 1].view(len(batch), 1, n_vision)
        scores = attention.gather(2, columns.expand(-1, self._layers, -1))
        orders = torch.cat([scores, _random_orders(batch, n_vision).to(scores)], dim=1)
        tau, overlap = kendall_tau(orders), _overlap(orders, kept_count(self._top, n_vision))
        shares = scores.exp()
        mass, uniform = shares.sum(2), _uniform_mass(prompt, marked)
        spared = shares.sort(dim=2).values.cumsum(2) <= _NEGLIGIBLE
        cover = 1 - spared.float().mean(2)
        parts = (tau.cpu(), overlap.cpu(), mass.cpu(), uniform.tolist(), cover.cpu())
        figures = zip(*parts, strict=True)
        return [_OfSample(*figure) for figure in figures]

    def _on_attention(
        self, layer: int, queries: torch.Tensor, keys: torch.Tensor, scaling: float
    ) -> None:
        assert self._prompt is not None and self._rows is not None
        self._attention[layer] = log_row_attention(
            self._prompt, None, self._rows, queries, keys, scaling, self._windows[layer]
        )


def _random_orders(batch: Sequence[Row], n_vision: int) -> torch.Tensor:
    """`(batch, 1, n_vision)` one random order per sample, seeded by its id."""
    orders = []
    for row in batch:
        seed = int.from_bytes(hashlib.sha256(row.sample_id.encode()).digest()[:7], "big")
        orders.append(torch.randperm(n_vision, generator=torch.Generator().manual_seed(seed)))
    return torch.stack(orders)[:, None]


def _overlap(orders: torch.Tensor, count: int) -> torch.Tensor:
    """`(batch, vectors, vectors)` share of the best `count` that two orders have in common."""
    batch, vectors, n = orders.shape
    flat = orders.reshape(batch * vectors, n)
    counts = torch.full((len(flat),), count, device=flat.device)
    best = keep_top(flat, torch.ones_like(flat, dtype=torch.bool), counts)
    best = best.view(batch, vectors, n).float()
    return best @ best.transpose(1, 2) / count


def _uniform_mass(prompt: Prompt, marked: torch.Tensor) -> torch.Tensor:
    """`(batch,)` share of vision among the tokens that a ranking row sees, mean over rows."""
    visible = prompt.vision.cumsum(1) / prompt.valid.cumsum(1).clamp(min=1)
    return (visible * marked).sum(1) / marked.sum(1)


def _summary(ranker: str, top: float, results: Sequence[_OfSample]) -> AttentionStatistics:
    tau = torch.stack([one.tau for one in results]).double()
    overlap = torch.stack([one.overlap for one in results]).double()
    layers = tau.shape[1] - 1
    return AttentionStatistics(
        ranker=ranker,
        samples=len(results),
        tau=_matrix(tau[:, :layers, :layers]),
        random_tau=intervals.mean(tau[:, layers, :layers].mean(1).tolist()),
        overlap=_matrix(overlap[:, :layers, :layers]),
        random_overlap=intervals.mean(overlap[:, layers, :layers].mean(1).tolist()),
        top=top,
        mass=_row(torch.stack([one.mass for one in results]).double()),
        uniform_mass=intervals.mean([one.uniform_mass for one in results]),
        cover=_row(torch.stack([one.cover for one in results]).double()),
    )


def _matrix(values: torch.Tensor) -> tuple[tuple[Interval, ...], ...]:
    """Means of `(samples, rows, columns)` over samples."""
    return tuple(_row(values[:, row]) for row in range(values.shape[1]))


def _row(values: torch.Tensor) -> tuple[Interval, ...]:
    """Means of `(samples, columns)` over samples."""
    return tuple(intervals.mean(column) for column in values.T.tolist())

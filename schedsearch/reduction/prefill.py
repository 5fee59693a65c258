"""The prefill under a schedule: at each cut the ranker chooses and the states are gathered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from schedsearch.core.schedule import Schedule, kept_count
from schedsearch.models.prompt import Prompt
from schedsearch.models.stage import Stage, gather_rows
from schedsearch.reduction.rankers.base import Ranker
from schedsearch.reduction.ranking import log_row_attention
from schedsearch.reduction.selection import (
    causal_mask,
    gather_mask,
    keep_top,
    local_columns,
    stage_of,
)


@dataclass(frozen=True)
class Snapshot:
    """What a layer receives: all that the layers from it on need of those before it.

    Attributes:
        layer: Index of the layer, 1 or more.
        states: `(batch, n, hidden)` that enter it, before it removes anything.
        stage: Tokens of the layer before; `None` while nothing has been removed.
        attention: `(batch, sequence)` float32 logarithms that the ranker reads at a cut before
            this layer, or after it while no later layer can rank; `None` where nobody read it.
    """

    layer: int
    states: torch.Tensor
    stage: Stage | None
    attention: torch.Tensor | None


@dataclass
class Passage:
    """Where a prefill enters the layers, and what it leaves for the next one.

    Attributes:
        prompt: The batch, where it is known from before; else the prefill notes it here.
        start: Prefill goes on from here; the layers before must not touch the states.
        take: Layer whose `Snapshot` is wanted; 0 for none.
        taken: That snapshot, once the prefill has come by.
        shared: Whether others will go on from here, under schedules of the same ranker.
        order: What the ranker made of the tokens before layer 0, where it is known from before;
            else the prefill notes it here.
    """

    prompt: Prompt | None = None
    start: Snapshot | None = None
    take: int = 0
    taken: Snapshot | None = None
    shared: bool = False
    order: torch.Tensor | None = None


@dataclass
class Prefill:
    """A batch of prompts on its way through the layers.

    Attributes:
        prompt: The batch.
        schedule: How many vision tokens each layer processes.
        cuts: Layers before which `schedule.keep` falls.
        ranking: For each layer the earlier one whose attention ranks what enters it.
        ranker: Chooses which tokens stay.
        implementation: Attention implementation of the model.
        passage: Where to start, and what to take along.
        tower: `(batch, sequence)` float32 logarithm of the attention in the vision tower, where the
            ranker reads it.
        stages: Tokens of each layer passed so far; `None` while nothing has been removed, and for
            layers before the start.
        stage: Tokens of the layer that runs; `None` while nothing has been removed.
    """

    prompt: Prompt
    schedule: Schedule
    cuts: tuple[int, ...]
    ranking: tuple[int | None, ...]
    ranker: Ranker
    implementation: str
    passage: Passage = field(default_factory=Passage)
    tower: torch.Tensor | None = None
    stages: list[Stage | None] = field(default_factory=list)
    stage: Stage | None = None
    _rows: Stage | None = None
    _attention: dict[int | None, torch.Tensor] = field(default_factory=dict)
    _laid_out: dict[int, tuple[Any, Any]] = field(default_factory=dict)

    def reduces(self, layer: int) -> bool:
        """Whether a layer processes fewer tokens than the prompts have."""
        return bool(self.cuts) and layer >= self.cuts[0] and max(self.prompt.n_vision) > 0

    def enter(
        self, layer: int, states: torch.Tensor, kwargs: Mapping[str, Any]
    ) -> tuple[torch.Tensor, dict[str, Any]] | None:
        """States and arguments for a layer in place of the model's; `None` leaves it alone.

        Args:
            layer: Index of the layer; they come in order.
            states: `(batch, n, hidden)` that leave the layer before.
            kwargs: What the model passes to every layer, for the whole sequence.
        """
        start = self.passage.start
        first = 0 if start is None else start.layer
        if layer == 0:
            self._order(states)
        if layer < first:
            self.stages.append(None)
            return None
        if start is not None and layer == first:
            states = self._begin(start)
        if layer and layer == self.passage.take:
            attention = self._attention.get(self.ranking[layer])
            self.passage.taken = Snapshot(layer, states, self.stage, attention)
        if layer in self.cuts and max(self.prompt.n_vision) > 0:
            states = self._cut(layer, states)
        self.stages.append(self.stage)
        if self.stage is None:
            return (states, {}) if 0 < layer == first else None
        mask, rotary = kwargs.get("attention_mask"), kwargs["position_embeddings"]
        return states, {
            "attention_mask": self._lay_out(self._prefill_mask, mask),
            "position_embeddings": self._lay_out(self._rotary, rotary),
            # The rotary embeddings carry the positions; flash attention would read the gaps in
            # explicit position ids as borders of packed sequences.
            "position_ids": None,
        }

    def observe(
        self, layer: int, queries: torch.Tensor, keys: torch.Tensor, scaling: float
    ) -> None:
        """Note how much the ranking rows attend to each token in the layer before a cut."""
        if max(self.prompt.n_vision) == 0:
            return
        if self._rows is None:
            marked = self.ranker.query_rows(self.prompt)
            self._rows = stage_of(marked, tuple(marked.sum(1).tolist()))
        self._attention[layer] = log_row_attention(
            self.prompt, self.stage, self._rows, queries, keys, scaling
        )

    def restore(self, states: torch.Tensor) -> torch.Tensor:
        """Spread the last layer's states over the whole sequence again, zeros at removed tokens.

        Args:
            states: `(batch, n, hidden)`.

        Returns:
            `(batch, sequence, hidden)`.
        """
        if self.stage is None:
            return states
        batch, width = self.prompt.shape
        full = states.new_zeros(batch, width + 1, states.shape[-1])
        target = self.stage.positions.where(self.stage.alive, width)
        full.scatter_(1, target.to(states.device)[..., None].expand_as(states), states)
        return full[:, :width]

    def _begin(self, start: Snapshot) -> torch.Tensor:
        self.stage = start.stage
        if start.attention is not None:
            self._attention[self.ranking[start.layer]] = start.attention
        return start.states

    def _order(self, features: torch.Tensor) -> None:
        """Let a ranker that works before the layers rank, as far as anyone will ask."""
        passage, n_vision = self.passage, self.prompt.n_vision
        if passage.order is not None or max(n_vision) == 0:
            return
        if not (self.cuts or passage.shared):
            return
        keep = 1.0 if passage.shared else self.schedule.keep[self.cuts[0]]
        most = max(kept_count(keep, n) for n in n_vision)
        passage.order = self.ranker.order(self.prompt, features, self.tower, most)

    def _cut(self, layer: int, states: torch.Tensor) -> torch.Tensor:
        prompt, width, old = self.prompt, self.prompt.shape[1], self.stage
        alive = prompt.valid if old is None else old.scatter(old.alive, width, False)
        counts = [kept_count(self.schedule.keep[layer], n) for n in prompt.n_vision]
        wanted = torch.tensor(counts, device=alive.device)
        candidates = alive & prompt.vision
        if self.schedule.keep[layer] > 0:
            attention = self._attention.get(self.ranking[layer], self.passage.order)
            scores = self.ranker.scores(prompt, candidates, wanted, attention)
            stays = keep_top(scores, candidates, wanted)
        else:
            stays = torch.zeros_like(candidates)
        lengths = tuple(map(sum, zip(counts, prompt.n_other, strict=True)))
        self.stage = stage_of((alive & ~prompt.vision) | stays, lengths)
        self._laid_out.clear()
        columns = self.stage.columns
        places = columns if old is None else local_columns(old, columns, width)
        # The layers may lie on several devices; prompt and stages stay on the first.
        return gather_rows(states, places.to(states.device))

    def _lay_out(self, reduced: Callable[[Stage, Any], Any], whole: Any) -> Any:
        """What a stage makes of an argument for the whole sequence, once for all its layers."""
        assert self.stage is not None
        if id(whole) not in self._laid_out:
            # Holding on to `whole` keeps its id from being given to another argument.
            self._laid_out[id(whole)] = whole, reduced(self.stage, whole)
        return self._laid_out[id(whole)][1]

    @staticmethod
    def _rotary(stage: Stage, whole: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(gather_rows(table, stage.columns) for table in whole)

    def _prefill_mask(self, stage: Stage, mask: torch.Tensor | None) -> torch.Tensor | None:
        """Mask of a stage from the model's mask of the whole sequence.

        `None` stays `None` without padding: kept tokens are in order, so causal attention over
        them needs no mask and takes the fast path.
        """
        if mask is None:
            if not stage.ragged:
                return None
            return stage.alive if "flash" in self.implementation else causal_mask(stage)
        if mask.dim() == 2:
            return (mask.gather(1, stage.columns).bool() & stage.alive) if stage.ragged else None
        return gather_mask(mask, stage)

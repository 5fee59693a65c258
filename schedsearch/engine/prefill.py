"""The prefill under a schedule: at each drop the ranker chooses and the states are gathered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from schedsearch.core.schedule import Schedule, kept_count
from schedsearch.engine.prompt import Prompt
from schedsearch.engine.rankers import Ranker
from schedsearch.engine.ranking import row_attention
from schedsearch.engine.selection import (
    Stage,
    causal_mask,
    gather_mask,
    gather_rows,
    keep_top,
    local_columns,
    stage_of,
)


@dataclass(frozen=True)
class Snapshot:
    """What a layer receives: all that the layers from it on need of those before it.

    Attributes:
        layer: Index of the layer, 1 or more.
        states: `(batch, n, hidden)` that enter it, before it drops anything.
        stage: Tokens of the layer before; `None` while nothing has been dropped.
        attention: `(batch, sequence)` float32 that the ranker reads at a drop before this layer;
            `None` where nobody read it.
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
    """

    prompt: Prompt | None = None
    start: Snapshot | None = None
    take: int = 0
    taken: Snapshot | None = None


@dataclass
class Prefill:
    """A batch of prompts on its way through the layers.

    Attributes:
        prompt: The batch.
        schedule: How many vision tokens each layer processes.
        drops: Layers before which `schedule.keep` falls.
        ranker: Chooses which tokens stay.
        implementation: Attention implementation of the model.
        passage: Where to start, and what to take along.
        stages: Tokens of each layer passed so far; `None` while nothing has been dropped, and for
            layers before the start.
    """

    prompt: Prompt
    schedule: Schedule
    drops: tuple[int, ...]
    ranker: Ranker
    implementation: str
    passage: Passage = field(default_factory=Passage)
    stages: list[Stage | None] = field(default_factory=list)
    _stage: Stage | None = None
    _rows: Stage | None = None
    _attention: dict[int, torch.Tensor] = field(default_factory=dict)
    _rotary: tuple[torch.Tensor, ...] = ()
    _mask: torch.Tensor | None = None

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
        if layer < first:
            self.stages.append(None)
            return None
        drops = layer in self.drops and max(self.prompt.n_vision) > 0
        if start is not None and layer == first:
            states = self._begin(start, kwargs, drops=drops)
        if layer and layer == self.passage.take:
            attention = self._attention.get(layer - 1)
            self.passage.taken = Snapshot(layer, states, self._stage, attention)
        if drops:
            states = self._drop(layer, states, kwargs)
        self.stages.append(self._stage)
        if self._stage is None:
            return (states, {}) if 0 < layer == first else None
        return states, {
            "attention_mask": self._mask,
            "position_embeddings": self._rotary,
            # The rotary embeddings carry the positions; flash attention would read the gaps in
            # explicit position ids as borders of packed sequences.
            "position_ids": None,
        }

    def observe(
        self, layer: int, queries: torch.Tensor, keys: torch.Tensor, scaling: float
    ) -> None:
        """Note how much the ranking rows attend to each token in the layer before a drop."""
        if max(self.prompt.n_vision) == 0:
            return
        if self._rows is None:
            marked = self.ranker.query_rows(self.prompt)
            self._rows = stage_of(marked, tuple(marked.sum(1).tolist()))
        self._attention[layer] = row_attention(
            self.prompt, self._stage, self._rows, queries, keys, scaling
        )

    def restore(self, states: torch.Tensor) -> torch.Tensor:
        """Spread the last layer's states over the whole sequence again, zeros at dropped tokens.

        Args:
            states: `(batch, n, hidden)`.

        Returns:
            `(batch, sequence, hidden)`.
        """
        if self._stage is None:
            return states
        batch, width = self.prompt.shape
        full = states.new_zeros(batch, width + 1, states.shape[-1])
        target = self._stage.positions.where(self._stage.alive, width)
        full.scatter_(1, target[..., None].expand_as(states), states)
        return full[:, :width]

    def _begin(self, start: Snapshot, kwargs: Mapping[str, Any], *, drops: bool) -> torch.Tensor:
        self._stage = start.stage
        if start.attention is not None:
            self._attention[start.layer - 1] = start.attention
        if start.stage is not None and not drops:  # else the drop lays out its own
            self._lay_out(start.stage, kwargs)
        return start.states

    def _drop(self, layer: int, states: torch.Tensor, kwargs: Mapping[str, Any]) -> torch.Tensor:
        prompt, width, old = self.prompt, self.prompt.shape[1], self._stage
        alive = prompt.valid if old is None else old.scatter(old.alive, width, False)
        counts = [kept_count(self.schedule.keep[layer], n) for n in prompt.n_vision]
        wanted = torch.tensor(counts, device=states.device)
        candidates = alive & prompt.vision
        if self.schedule.keep[layer] > 0:
            attention = self._attention.pop(layer - 1, None)
            scores = self.ranker.scores(prompt, candidates, wanted, attention)
            stays = keep_top(scores, candidates, wanted)
        else:
            stays = torch.zeros_like(candidates)
        lengths = tuple(map(sum, zip(counts, prompt.n_other, strict=True)))
        stage = stage_of((alive & ~prompt.vision) | stays, lengths)
        columns = stage.columns
        self._stage = stage
        self._lay_out(stage, kwargs)
        return gather_rows(states, columns if old is None else local_columns(old, columns, width))

    def _lay_out(self, stage: Stage, kwargs: Mapping[str, Any]) -> None:
        """Rotary embeddings and mask of a stage, from the model's of the whole sequence."""
        columns = stage.columns
        self._rotary = tuple(gather_rows(t, columns) for t in kwargs["position_embeddings"])
        self._mask = self._prefill_mask(stage, kwargs.get("attention_mask"))

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

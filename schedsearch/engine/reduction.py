"""The runtime: removes vision tokens from the sequence while the model runs.

Keyword pre-hooks on the decoder layers gather the hidden states at each drop and hand every later
layer its own rotary embeddings and mask. What stays keeps its order and original position; dropped
tokens leave sequence and KV cache for good. Method: arXiv 2412.00556, section 3.
"""

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from schedsearch.core.schedule import Schedule, kept_count
from schedsearch.engine.adapters import Adapter, adapter_for
from schedsearch.engine.attention_tap import tap_attention
from schedsearch.engine.continuation import Continuation, PrefillRecord
from schedsearch.engine.guards import check_fits, check_forward, guard_generate
from schedsearch.engine.prompt import Prompt, make_prompt
from schedsearch.engine.rankers import make_ranker
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
from schedsearch.errors import UnsupportedError

_active: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()
_active_lock = threading.Lock()


@contextmanager
def reduce(model: nn.Module, schedule: Schedule) -> Iterator["Reduction"]:
    """Run `model` with the tokens of `schedule` inside the context.

    `model(...)`, `model.generate(...)` and pipelines work as always; logits keep their shape
    `(batch, sequence, vocab)`, with no meaning in the rows of dropped tokens. Generation that
    continues a KV cache must stay inside the context that filled it. The model is exactly as
    before when the context ends, also by an exception.

    Args:
        model: A transformers multimodal model with an adapter.
        schedule: Keep ratios for each decoder layer, and the ranker.

    Yields:
        The running reduction, for prompts with teacher-forced answers and for inspection.

    Raises:
        ScheduleError: The schedule is for another architecture, depth or ranker.
        UnsupportedError: The model has no adapter, or a reduction is already active on it.
    """
    adapter = adapter_for(model)
    check_fits(model, adapter, schedule)
    reduction = Reduction(model, adapter, schedule)
    with ExitStack() as stack:
        _claim(model, stack)
        reduction.install(stack)
        yield reduction


def _claim(model: nn.Module, stack: ExitStack) -> None:
    with _active_lock:
        if model in _active:
            raise UnsupportedError(
                "a reduction is already active on this model; leave its `with` block first, or "
                "load a second copy of the model"
            )
        _active.add(model)
    stack.callback(_active.discard, model)


@dataclass
class _Prefill:
    """A prefill on its way through the layers."""

    prompt: Prompt
    stage: Stage | None = None
    rows: Stage | None = None
    attention: dict[int, torch.Tensor] = field(default_factory=dict)
    stages: list[Stage | None] = field(default_factory=list)
    rotary: tuple[torch.Tensor, ...] | None = None
    mask: torch.Tensor | None = None


class Reduction:
    """A schedule at work on one model; made by `reduce`."""

    def __init__(self, model: nn.Module, adapter: Adapter, schedule: Schedule) -> None:
        self.schedule = schedule
        self.ranker = make_ranker(schedule.ranker)
        self._model = model
        self._adapter = adapter
        before = (1.0, *schedule.keep)
        self._drops = tuple(
            layer for layer, keep in enumerate(schedule.keep) if keep < before[layer]
        )
        self._next_lengths: Sequence[int] | torch.Tensor | None = None
        self._next_keys: Sequence[str] | None = None
        self._width: int | None = None
        self._inputs: dict[str, Any] | None = None
        self._running: _Prefill | Continuation | None = None
        self._last: _Prefill | None = None
        self._records: weakref.WeakKeyDictionary[Any, PrefillRecord] = weakref.WeakKeyDictionary()

    def prompt(
        self,
        lengths: Sequence[int] | torch.Tensor | None = None,
        keys: Sequence[str] | None = None,
    ) -> None:
        """Describe the next prefill.

        Args:
            lengths: `(batch,)` column behind the last prompt token of each row, padding included,
                where teacher-forced answers follow the prompt. Answers never rank.
            keys: A stable name per row, which seeds the random ranker; default: the prompt's
                tokens.
        """
        self._next_lengths, self._next_keys = lengths, keys

    @property
    def kept(self) -> Mapping[int, torch.Tensor]:
        """Columns `(batch, kept)` that enter each reduced layer of the latest prefill; -1 pads."""
        stages = self._last.stages if self._last else []
        found = {layer: stage.positions for layer, stage in enumerate(stages) if stage is not None}
        return MappingProxyType(found)

    def install(self, stack: ExitStack) -> None:
        """Hook the model; `stack` takes everything off again."""
        adapter, model = self._adapter, self._model
        decoder = adapter.decoder(model)
        stack.callback(self._finish)
        hooks = [
            adapter.trunk(model).register_forward_pre_hook(self._enter_trunk, with_kwargs=True),
            decoder.register_forward_pre_hook(self._enter_decoder, with_kwargs=True),
            decoder.register_forward_hook(self._leave_decoder, always_call=True),
            decoder.get_submodule("norm").register_forward_hook(self._restore_sequence),
        ]
        for index, layer in enumerate(adapter.layers(model)):
            hook = _LayerHook(self, index)
            hooks.append(layer.register_forward_pre_hook(hook, with_kwargs=True))
        for handle in hooks:
            stack.callback(handle.remove)
        if self.ranker.reads_attention:
            tapped = [layer - 1 for layer in self._drops if self.schedule.keep[layer] > 0]
            modules = {layer: adapter.attention(model, layer) for layer in tapped}
            stack.enter_context(tap_attention(modules, self._on_attention))
        stack.enter_context(guard_generate(model, self._set_width))

    def _set_width(self, width: int | None) -> None:
        self._width = width

    def _finish(self) -> None:
        self._running = self._inputs = self._last = None
        self._records.clear()

    def _enter_trunk(
        self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._inputs = {**kwargs, "input_ids": kwargs.get("input_ids", args[0] if args else None)}

    def _enter_decoder(
        self, _module: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        inputs, self._inputs = self._inputs, None
        cache = kwargs.get("past_key_values")
        seen = cache.get_seq_length() if cache is not None else 0
        check_forward(inputs, cache, self._adapter, continues=seen > 0)
        assert inputs is not None
        if seen == 0:
            self._running = self._start_prefill(inputs)
        else:
            record = self._records.get(cache)
            new = kwargs["inputs_embeds"].shape[1]
            self._running = self._continue(record, cache, seen, new, inputs.get("attention_mask"))

    def _start_prefill(self, inputs: Mapping[str, Any]) -> _Prefill:
        input_ids = inputs["input_ids"]
        lengths, keys = self._next_lengths, self._next_keys
        self._next_lengths = self._next_keys = None
        return _Prefill(
            make_prompt(
                input_ids,
                self._adapter.vision_mask(self._model, input_ids),
                inputs.get("attention_mask"),
                lengths=lengths,
                keys=keys,
                width=self._width,
            )
        )

    @staticmethod
    def _continue(
        record: PrefillRecord | None, cache: Any, seen: int, new: int, mask: torch.Tensor | None
    ) -> Continuation | None:
        if record is not None:
            return Continuation(record, cache, seen, new, mask)
        lengths = {cache.get_seq_length(layer) for layer in range(len(cache.layers))}
        if len(lengths) > 1:
            raise UnsupportedError(
                "this KV cache was filled under another reduction; continue it inside the `with` "
                "block that filled it"
            )
        return None

    def _leave_decoder(self, _module: nn.Module, _args: Any, output: Any) -> None:
        running, self._running = self._running, None
        if not isinstance(running, _Prefill) or output is None:
            return
        self._last = running
        cache = getattr(output, "past_key_values", None)
        if cache is not None and running.stage is not None:
            width = running.prompt.shape[1]
            self._records[cache] = PrefillRecord(width, tuple(running.stages))

    def enter_layer(
        self, layer: int, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Replace what a decoder layer is called with; `None` leaves it alone."""
        running = self._running
        if isinstance(running, Continuation):
            stage = running.record.stages[layer]
            if stage is None:
                return None
            mask = running.mask(layer, stage, args[0], self._implementation())
            return args, {**kwargs, "attention_mask": mask, "position_ids": None}
        if running is None:
            return None
        states = args[0]
        if layer in self._drops and max(running.prompt.n_vision) > 0:
            states = self._drop(running, layer, states, kwargs)
        running.stages.append(running.stage)
        if running.stage is None:
            return None
        changed = {
            "attention_mask": running.mask,
            "position_embeddings": running.rotary,
            # The rotary embeddings carry the positions; flash attention would read the gaps in
            # explicit position ids as borders of packed sequences.
            "position_ids": None,
        }
        return (states, *args[1:]), {**kwargs, **changed}

    def _drop(
        self, running: _Prefill, layer: int, states: torch.Tensor, kwargs: Mapping[str, Any]
    ) -> torch.Tensor:
        prompt, width = running.prompt, running.prompt.shape[1]
        old = running.stage
        alive = prompt.valid if old is None else old.scatter(old.alive, width, False)
        counts = [kept_count(self.schedule.keep[layer], n) for n in prompt.n_vision]
        wanted = torch.tensor(counts, device=states.device)
        candidates = alive & prompt.vision
        attention = running.attention.pop(layer - 1, None)
        if self.schedule.keep[layer] > 0:
            scores = self.ranker.scores(prompt, candidates, wanted, attention)
            stays = keep_top(scores, candidates, wanted)
        else:
            stays = torch.zeros_like(candidates)
        lengths = tuple(map(sum, zip(counts, prompt.n_other, strict=True)))
        stage = stage_of((alive & ~prompt.vision) | stays, lengths)
        running.stage = stage
        running.rotary = tuple(gather_rows(t, stage.columns) for t in kwargs["position_embeddings"])
        running.mask = self._prefill_mask(stage, kwargs.get("attention_mask"))
        columns = stage.columns
        return gather_rows(states, columns if old is None else local_columns(old, columns, width))

    def _prefill_mask(self, stage: Stage, mask: torch.Tensor | None) -> torch.Tensor | None:
        """Mask of a stage from the model's mask of the whole sequence.

        `None` stays `None` without padding: kept tokens are in order, so causal attention over
        them needs no mask and takes the fast path.
        """
        if mask is None:
            if not stage.ragged:
                return None
            return stage.alive if "flash" in self._implementation() else causal_mask(stage)
        if mask.dim() == 2:
            return (mask.gather(1, stage.columns).bool() & stage.alive) if stage.ragged else None
        return gather_mask(mask, stage)

    def _implementation(self) -> str:
        config: Any = self._adapter.decoder(self._model).config
        name: str = config._attn_implementation or "eager"
        return name

    def _on_attention(
        self, layer: int, queries: torch.Tensor, keys: torch.Tensor, scaling: float
    ) -> None:
        running = self._running
        if not isinstance(running, _Prefill) or max(running.prompt.n_vision) == 0:
            return
        prompt = running.prompt
        if running.rows is None:
            marked = self.ranker.query_rows(prompt)
            running.rows = stage_of(marked, tuple(marked.sum(1).tolist()))
        running.attention[layer] = row_attention(
            prompt, running.stage, running.rows, queries, keys, scaling
        )

    def _restore_sequence(
        self, _module: nn.Module, _args: tuple[Any, ...], output: torch.Tensor
    ) -> torch.Tensor | None:
        running = self._running
        if not isinstance(running, _Prefill) or running.stage is None:
            return None
        stage, (batch, width) = running.stage, running.prompt.shape
        full = output.new_zeros(batch, width + 1, output.shape[-1])
        target = stage.positions.where(stage.alive, width)
        full.scatter_(1, target[..., None].expand_as(output), output)
        return full[:, :width]


class _LayerHook:
    """Pre-hook of one decoder layer: binds its index."""

    def __init__(self, reduction: Reduction, layer: int) -> None:
        self._reduction = reduction
        self._layer = layer

    def __call__(
        self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        return self._reduction.enter_layer(self._layer, args, kwargs)

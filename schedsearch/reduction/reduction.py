"""The runtime: removes vision tokens from the sequence while the model runs.

Keyword pre-hooks on the decoder layers gather the hidden states at each cut and hand every later
layer its own rotary embeddings and mask. What stays keeps its order and original position; removed
tokens leave sequence and KV cache for good. Method: arXiv 2412.00556, section 3.
"""

import threading
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from schedsearch.core.schedule import Schedule
from schedsearch.errors import UnsupportedError
from schedsearch.models.adapters import Adapter, adapter_for
from schedsearch.models.prompt import Prompt, check_labels, lengths_from_labels, make_prompt
from schedsearch.models.stage import Stage
from schedsearch.models.wrappers import unwrapped
from schedsearch.reduction.attention_tap import tap_attention
from schedsearch.reduction.calls import Call, Calls, Claim, claim, continue_calls
from schedsearch.reduction.certified import announce
from schedsearch.reduction.continuation import Continuation, continue_prompt
from schedsearch.reduction.guards import (
    check_fits,
    check_forward,
    check_layer_inputs,
    check_prompt,
    check_ranking,
)
from schedsearch.reduction.prefill import Passage, Prefill
from schedsearch.reduction.rankers import make_ranker
from schedsearch.reduction.reduced_cache import PrefillRecord, attach, record_of, serving, take_note
from schedsearch.reduction.tower_attention import read_tower, spread
from schedsearch.reduction.watching import watch_calls

_active: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()
_active_lock = threading.Lock()


@contextmanager
def reduce(model: nn.Module, schedule: Schedule) -> Iterator["Reduction"]:
    """Run `model` with the tokens of `schedule` inside the context.

    `model(...)`, `model.generate(...)` and pipelines work as always; logits keep their shape
    `(batch, sequence, vocab)`, with no meaning in the rows of removed tokens. Generation that
    continues a KV cache must stay inside the context that filled it. Threads may share the model
    inside the context. The model is exactly as before when the context ends, also by an exception.

    Args:
        model: A transformers multimodal model with an adapter, also inside PEFT or
            `torch.compile`.
        schedule: Keep ratios for each decoder layer, and the ranker.

    Yields:
        The running reduction, for prompts with teacher-forced answers and for inspection.

    Raises:
        ScheduleError: The schedule is for another architecture, depth or ranker.
        UnsupportedError: The model has no adapter, or a reduction is already active on it.
    """
    model = unwrapped(model)
    adapter = adapter_for(model)
    check_fits(model, adapter, schedule)
    announce(model, schedule)
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


class Reduction:
    """A schedule at work on one model; made by `reduce`."""

    def __init__(self, model: nn.Module, adapter: Adapter, schedule: Schedule) -> None:
        self.schedule = schedule
        self.ranker = make_ranker(schedule.ranker)
        self._model = model
        self._adapter = adapter
        before = (1.0, *schedule.keep)
        self._cuts = tuple(
            layer for layer, keep in enumerate(schedule.keep) if keep < before[layer]
        )
        self._windows = adapter.windows(model)
        self._tower = adapter.tower(model) if self.ranker.reads_tower else None
        self._ranking = tuple(adapter.ranking_layer(model, n) for n in range(schedule.layers))
        ranked = [cut for cut in self._cuts if schedule.keep[cut] and self.ranker.reads_attention]
        sources = check_ranking(adapter.architecture(model), ranked, self._ranking)
        self._readings = tuple(zip(ranked, sources, strict=True))
        self._calls = Calls()
        self._id = uuid.uuid4().hex

    def prompt(
        self,
        lengths: Sequence[int] | torch.Tensor | None = None,
        keys: Sequence[str] | None = None,
    ) -> None:
        """Describe the prompt of this thread's next call, and of no other.

        Args:
            lengths: `(batch,)` column after the last prompt token of each row, padding included,
                where teacher-forced answers follow the prompt. Answers never rank. Labels with
                -100 at the prompt tell the same.
            keys: A stable name per row, which seeds the random ranker; default: the prompt's
                tokens.
        """
        self._calls.pending.lengths, self._calls.pending.keys = lengths, keys

    def follow(self, passage: Passage) -> None:
        """Let this thread's next call start where `passage` says, and take what it wants."""
        self._calls.pending.passage = passage

    def needs_attention(self, layer: int) -> bool:
        """Whether a cut before `layer` or after it reads attention of the layers before it."""
        return any(ranking < layer <= cut for cut, ranking in self._readings)

    def observing(self, layer: int) -> AbstractContextManager[None]:
        """Note the ranker's attention before `layer` even if this schedule removes nothing there.

        Another schedule that agrees up to `layer` may remove there, and go on from a snapshot.
        """
        if self._tower is not None and not self._cuts:
            return read_tower(self._tower, self._on_tower)
        ranking = self._ranking[layer]
        if ranking is None or not self.ranker.reads_attention or self.needs_attention(layer):
            return nullcontext()
        modules = {ranking: self._adapter.attention(self._model, ranking)}
        return tap_attention(modules, self._on_attention)

    @property
    def kept(self) -> Mapping[int, torch.Tensor]:
        """Columns `(batch, kept)` that entered each reduced layer of this thread's latest prefill.

        Ascending, counted in the unreduced batch; -1 pads rows on the left.
        """
        return self._calls.kept

    def install(self, stack: ExitStack) -> None:
        """Hook the model; `stack` takes everything off again."""
        adapter, model = self._adapter, self._model
        trunk, decoder = adapter.trunk(model), adapter.decoder(model)
        norm = decoder.get_submodule("norm")
        # Hooks read tensors and keep state; a compiled model must call them, never trace them.
        opaque: Any = torch.compiler.disable

        def keep(handle: RemovableHandle) -> None:
            stack.callback(handle.remove)

        stack.callback(self._finish)
        stack.enter_context(serving(self._id))
        keep(model.register_forward_pre_hook(opaque(self._enter), prepend=True))
        keep(model.register_forward_hook(opaque(self._leave), always_call=True))
        keep(trunk.register_forward_pre_hook(opaque(self._enter_trunk), with_kwargs=True))
        keep(trunk.register_forward_hook(opaque(self._leave_trunk), always_call=True))
        keep(decoder.register_forward_pre_hook(opaque(self._enter_decoder), with_kwargs=True))
        keep(decoder.register_forward_hook(opaque(self._leave_decoder), always_call=True))
        keep(norm.register_forward_hook(opaque(self._leave_norm)))
        for index, layer in enumerate(adapter.layers(model)):
            enter = opaque(partial(self._enter_layer, index))
            keep(layer.register_forward_pre_hook(enter, with_kwargs=True))
        tapped = sorted({layer for _, layer in self._readings})
        if tapped:
            modules = {layer: adapter.attention(model, layer) for layer in tapped}
            stack.enter_context(tap_attention(modules, opaque(self._on_attention)))
        if self._tower is not None and self._cuts:
            stack.enter_context(read_tower(self._tower, self._on_tower))
        stack.enter_context(adapter.between_layers(model, self._alive))
        stack.enter_context(watch_calls(model, self._generating, self._forwarding))

    def _generating(self, prompt: torch.Tensor | None) -> AbstractContextManager[None]:
        return self._calls.during(Call("generate", prompt=prompt))

    def _forwarding(self, labels: torch.Tensor | None) -> AbstractContextManager[None]:
        return self._calls.during(Call("model", labels=labels))

    def _finish(self) -> None:
        self._calls = Calls()

    def _enter(self, _module: nn.Module, _args: tuple[Any, ...]) -> None:
        self._calls.begin(Call("call"))

    def _leave(self, _module: nn.Module, _args: Any, _output: Any) -> None:
        self._calls.end("call")

    def _enter_trunk(
        self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        inputs = {**kwargs, "input_ids": kwargs.get("input_ids", args[0] if args else None)}
        self._calls.begin(Call("trunk", inputs=inputs))

    def _leave_trunk(self, _module: nn.Module, _args: Any, _output: Any) -> None:
        self._calls.end("trunk")

    def _enter_decoder(
        self, _module: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        call = Call("decoder")
        self._calls.begin(call)
        trunk, inputs = call.parent, None
        if trunk is not None:
            inputs, trunk.inputs = trunk.inputs, None
        cache = kwargs.get("past_key_values")
        filled = cache is not None and cache.get_seq_length() > 0
        config: Any = self._adapter.decoder(self._model).config
        check_forward(inputs, cache, self._adapter, config, continues=filled)
        assert inputs is not None
        if not filled:
            call.running = self._start_prefill(call, inputs)
        else:
            continue_calls(call)
            call.running = continue_prompt(
                record_of(cache, self._id),
                cache,
                kwargs["inputs_embeds"],
                inputs.get("attention_mask"),
                self._implementation(),
                self._windows,
            )

    @property
    def _running(self) -> Prefill | Continuation | None:
        call = self._calls.current
        return None if call is None else call.running

    def _alive(self) -> Stage | None:
        running = self._running
        return running.stage if isinstance(running, Prefill) else None

    def _start_prefill(self, call: Call, inputs: Mapping[str, Any]) -> Prefill:
        input_ids = inputs["input_ids"]
        known = claim(call, input_ids)
        passage = known.description.passage or Passage()
        if passage.prompt is None:
            passage.prompt = self._make_prompt(call, inputs, known)
        if self._cuts:
            check_prompt(passage.prompt)
        tower = None
        if self._tower is not None and passage.order is None and (self._cuts or passage.shared):
            ids = self._adapter.vision_token_ids(self._model)
            tower = spread(known.tower, passage.prompt, input_ids, ids)
        return Prefill(
            passage.prompt,
            self.schedule,
            self._cuts,
            self._ranking,
            self.ranker,
            self._implementation(),
            passage,
            tower,
        )

    def _make_prompt(self, call: Call, inputs: Mapping[str, Any], known: Claim) -> Prompt:
        input_ids, mask = inputs["input_ids"], inputs.get("attention_mask")
        vision = self._adapter.vision_mask(self._model, input_ids)
        lengths, keys = known.description.lengths, known.description.keys
        labels = next((one.labels for one in call.lineage if one.labels is not None), None)
        if labels is not None and self._cuts:
            if lengths is None:
                try:
                    lengths = lengths_from_labels(labels, vision, mask)
                except UnsupportedError:
                    if self.ranker.reads_attention:
                        raise
            check_labels(labels, vision, mask)
        return make_prompt(input_ids, vision, mask, lengths=lengths, keys=keys, width=known.width)

    def _leave_decoder(self, _module: nn.Module, _args: Any, output: Any) -> None:
        call = self._calls.end("decoder")
        running = None if call is None else call.running
        cache = getattr(output, "past_key_values", None)
        if not isinstance(running, Prefill) or output is None:
            if cache is not None:
                take_note(cache)
            return
        found = {n: stage.positions for n, stage in enumerate(running.stages) if stage is not None}
        self._calls.kept = MappingProxyType(found)
        if cache is None:
            return
        record = None
        if found:
            rows, width = running.prompt.shape
            record = PrefillRecord(self._id, rows, width, tuple(running.stages))
        attach(cache, record)

    def _enter_layer(
        self, layer: int, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        running = self._running
        if running is None:
            return None
        if isinstance(running, Prefill) and running.reduces(layer):
            check_layer_inputs(args, kwargs, running.prompt.shape)
        changed = running.enter(layer, args[0] if args else kwargs["hidden_states"], kwargs)
        if changed is None:
            return None
        states, replaced = changed
        if args:
            return (states, *args[1:]), {**kwargs, **replaced}
        return (), {**kwargs, **replaced, "hidden_states": states}

    def _on_tower(self, found: torch.Tensor) -> None:
        call = self._calls.current
        if call is not None:
            call.tower += (found,)

    def _on_attention(
        self, layer: int, queries: torch.Tensor, keys: torch.Tensor, scaling: float
    ) -> None:
        running = self._running
        if isinstance(running, Prefill):
            running.observe(layer, queries, keys, scaling)

    def _leave_norm(
        self, _module: nn.Module, _args: tuple[Any, ...], output: torch.Tensor
    ) -> torch.Tensor:
        running = self._running
        return running.restore(output) if isinstance(running, Prefill) else output

    def _implementation(self) -> str:
        config: Any = self._adapter.decoder(self._model).config
        name: str = config._attn_implementation or "eager"
        return name

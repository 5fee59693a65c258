"""The calls of a reduced model that run in one thread, and what is known of each.

Calls nest: `generate` runs forwards, a model that assists itself runs `generate` inside `generate`,
and a hook may run another prompt in the middle of a layer. Whatever is noted belongs to one call
and goes with it, however it ends.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import torch

from schedsearch.errors import InputError
from schedsearch.reduction.continuation import Continuation
from schedsearch.reduction.prefill import Passage, Prefill

Lengths = Sequence[int] | torch.Tensor


@dataclass
class Description:
    """What a caller says of the prompt of one call.

    Attributes:
        lengths: See `Reduction.prompt`.
        keys: See `Reduction.prompt`.
        passage: See `Reduction.follow`.
    """

    lengths: Lengths | None = None
    keys: Sequence[str] | None = None
    passage: Passage | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing was said."""
        return self.lengths is None and self.keys is None and self.passage is None


Kind = Literal["generate", "call", "model", "trunk", "decoder"]

_WORK = frozenset(
    [
        ("call", "generate"),
        ("model", "generate"),
        ("model", "call"),
        ("trunk", "model"),
        ("decoder", "trunk"),
    ]
)
"""Which kind of call does which kind's work where it is the next one inside."""


@dataclass(eq=False)
class Call:
    """One call while it runs.

    Attributes:
        kind: `generate`, the model as a module, its forward, its multimodal module, or its decoder.
        description: What was said of its prompt; taken by the first prefill.
        parent: The call that this one is the work of; `None` for a call on its own.
        prompt: `(batch, width)` token ids that `generate` was given, without beams, until its
            prefill.
        assists: The `generate` that this one guesses for.
        labels: `(batch, sequence)` labels of a forward; the first of each row ends its prompt.
        inputs: Arguments of the multimodal module, until its decoder takes them.
        tower: What the vision tower's attention gave for each of its runs.
        running: What the decoder does right now.
    """

    kind: Kind
    description: Description = field(default_factory=Description)
    parent: "Call | None" = None
    prompt: torch.Tensor | None = None
    assists: "Call | None" = None
    labels: torch.Tensor | None = None
    inputs: Mapping[str, Any] | None = None
    tower: tuple[torch.Tensor, ...] = ()
    running: Prefill | Continuation | None = None

    @property
    def lineage(self) -> "Iterator[Call]":
        """This call, then those that it is the work of."""
        call: Call | None = self
        while call is not None:
            yield call
            call = call.parent


@dataclass
class Calls(threading.local):
    """This thread's calls, the innermost last.

    Attributes:
        pending: Said of a call that has not begun.
        kept: See `Reduction.kept`.
    """

    pending: Description = field(default_factory=Description)
    kept: Mapping[int, torch.Tensor] = field(default_factory=lambda: MappingProxyType({}))
    _running: list[Call] = field(default_factory=list)

    @property
    def current(self) -> Call | None:
        """The innermost call."""
        return self._running[-1] if self._running else None

    @contextmanager
    def during(self, call: Call) -> Iterator[None]:
        """Context in which `call` runs."""
        self.begin(call)
        try:
            yield
        finally:
            del self._running[self._running.index(call) :]

    def begin(self, call: Call) -> None:
        """Note that `call` runs, and give it what was said of the next call."""
        call.description, self.pending = self.pending, Description()
        above = self.current
        if above is not None and (call.kind, above.kind) in _WORK:
            call.parent = above
        elif above is not None and call.kind == above.kind == "generate":
            call.assists = above
        self._running.append(call)

    def end(self, kind: Kind) -> Call | None:
        """Forget the innermost call, and return it, if it is of this kind."""
        own = self._running and self._running[-1].kind == kind
        return self._running.pop() if own else None


@dataclass(frozen=True)
class Claim:
    """What is known of a prompt that enters the decoder.

    Attributes:
        description: What was said of it.
        width: Its columns, if all rows end in the same one.
        tower: What the vision tower's attention gave for it.
    """

    description: Description
    width: int | None
    tower: tuple[torch.Tensor, ...]


def claim(call: Call, input_ids: torch.Tensor) -> Claim:
    """Take what is known of a prompt from the calls, because it holds for one prefill only.

    Args:
        call: Of the decoder.
        input_ids: `(batch, sequence)` token ids that the multimodal module was given.
    """
    description, width = Description(), None
    tower: tuple[torch.Tensor, ...] = ()
    for one in call.lineage:
        if one.kind == "generate":
            if not _continues(input_ids, one.prompt):
                break  # a forward on its own that somebody runs while the model generates
            assert one.prompt is not None
            width, one.prompt = one.prompt.shape[1], None
            helped = one.assists
            if not (tower or one.tower) and helped and _continues(input_ids, helped.prompt):
                tower = helped.tower  # who assists is handed the encoded images
        tower, one.tower = tower or one.tower, ()
        if description.empty:
            description, one.description = one.description, Description()
    return Claim(description, width, tower)


def _continues(input_ids: torch.Tensor, prompt: torch.Tensor | None) -> bool:
    """Whether rows are those of `prompt`, or groups of beams on them, with or without more."""
    if prompt is None or input_ids.shape[1] < prompt.shape[1]:
        return False
    beams, rest = divmod(input_ids.shape[0], prompt.shape[0])
    if rest:
        return False
    begin = input_ids[:, : prompt.shape[1]]
    return torch.equal(begin, prompt.to(begin.device).repeat_interleave(beams, 0))


def continue_calls(call: Call) -> None:
    """Note that the calls go on with a KV cache, so that no prefill is theirs.

    Raises:
        InputError: Something was said of a prompt.
    """
    for one in call.lineage:
        one.prompt = None
        if not one.description.empty:
            raise InputError(
                "`Reduction.prompt` describes a prompt with its images, but the call that followed "
                "continues a KV cache; describe the call that fills the cache"
            )

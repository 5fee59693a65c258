"""Running a decoder again from what it was given before, without what stands in front of it.

Vision tower, projector and layers already passed are skipped; the head, with its scaling and
slicing, stays the model's own code.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from schedsearch.models.adapters import Adapter
from schedsearch.models.prompt import Prompt


@dataclass(frozen=True)
class Base:
    """A batch as it enters the decoder.

    Attributes:
        prompt: The batch.
        input_ids: `(batch, sequence)` token ids.
        arguments: Of the decoder's forward.
        output: Class of what the trunk returns.
    """

    prompt: Prompt
    input_ids: torch.Tensor
    arguments: dict[str, Any]
    output: type


@dataclass
class Recording:
    """What one forward passed into and out of the decoder."""

    _calls: list[dict[str, Any] | None] = field(default_factory=list)
    _states: Any = None
    _plain: bool = False
    _trunk: Any = None

    def base(self, prompt: Prompt, input_ids: torch.Tensor) -> Base | None:
        """What replays the decoder; `None` if this model does more than `replay` would."""
        arguments = self._calls[0] if len(self._calls) == 1 else None
        if arguments is None or arguments.get("past_key_values") is not None or not self._plain:
            return None
        if getattr(self._trunk, "last_hidden_state", None) is not self._states:
            return None
        return Base(prompt, input_ids, arguments, type(self._trunk))

    def enter_decoder(self, _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note the arguments; positional ones cannot be told apart."""
        self._calls.append(None if args else dict(kwargs))

    def leave_decoder(self, _module: Any, _args: Any, output: Any) -> None:
        """Note the states that the trunk should pass on."""
        self._states = output[0]

    def leave_layer(self, _module: Any, _args: Any, output: Any) -> None:
        """Note whether layers return bare states."""
        self._plain = isinstance(output, torch.Tensor)

    def leave_trunk(self, _module: Any, _args: Any, output: Any) -> None:
        """Note what the head receives."""
        self._trunk = output


@contextmanager
def record(model: nn.Module, adapter: Adapter) -> Iterator[Recording]:
    """Note what the next forward passes into and out of the decoder."""
    recording = Recording()
    decoder = adapter.decoder(model)
    with ExitStack() as stack:
        for handle in (
            decoder.register_forward_pre_hook(recording.enter_decoder, with_kwargs=True),
            decoder.register_forward_hook(recording.leave_decoder),
            adapter.layers(model)[0].register_forward_hook(recording.leave_layer),
            adapter.trunk(model).register_forward_hook(recording.leave_trunk),
        ):
            stack.callback(handle.remove)
        yield recording


@contextmanager
def replay(model: nn.Module, adapter: Adapter, base: Base, first: int) -> Iterator[None]:
    """Let forwards of `model` start at the decoder with `base`, idle in layers before `first`.

    Whoever skips layers replaces the states that enter layer `first`.
    """
    decoder = adapter.decoder(model)

    def forward(*_args: Any, **_kwargs: Any) -> Any:
        return base.output(last_hidden_state=decoder(**base.arguments)[0])

    with ExitStack() as stack:
        _override(adapter.trunk(model), forward, stack)
        for index, layer in enumerate(adapter.layers(model)[:first]):
            _override(layer, _pass_on if index else _stand_in, stack)
        yield


def _override(module: nn.Module, forward: Callable[..., Any], stack: ExitStack) -> None:
    own: dict[str, Any] = vars(module)
    before: Mapping[str, Any] = {"forward": own["forward"]} if "forward" in own else {}

    def restore() -> None:
        own.pop("forward", None)
        own.update(before)

    stack.callback(restore)
    own["forward"] = forward


def _stand_in(states: torch.Tensor, *_args: Any, **_kwargs: Any) -> torch.Tensor:
    """States that nobody will read; a model may write into them, which the base must not feel."""
    return torch.empty_like(states)


def _pass_on(states: torch.Tensor, *_args: Any, **_kwargs: Any) -> torch.Tensor:
    return states

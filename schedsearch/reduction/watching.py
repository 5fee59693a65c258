"""Surrounding every call of a model, and refusing what `generate` cannot do under a reduction."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MethodType
from typing import Any

import torch

from schedsearch.errors import UnsupportedError
from schedsearch.reduction.guards import rigid_cache

_GROWING_CACHES = (None, "dynamic", "offloaded", "quantized")


@contextmanager
def watch_calls(
    model: Any,
    generating: Callable[[torch.Tensor | None], AbstractContextManager[None]],
    forwarding: Callable[[torch.Tensor | None], AbstractContextManager[None]],
) -> Iterator[None]:
    """Check what `model.generate` is asked for, and surround every call of the model.

    Replaces methods of the instance: PEFT calls `forward` itself, where hooks would not run.

    Args:
        model: The model.
        generating: Context of `generate`; gets the prompt's token ids, `None` if there are none.
        forwarding: Context of a forward; gets its labels, `None` if there are none.
    """
    generate, forward = model.generate, model.forward
    label_places = list(inspect.signature(forward).parameters)

    def watched_generate(own: Any, *args: Any, **kwargs: Any) -> Any:
        _check_own(own, model)
        tokens = args[0] if args else kwargs.get("inputs", kwargs.get("input_ids"))
        with generating(tokens if isinstance(tokens, torch.Tensor) else None):
            _check_generation(model, args, kwargs)
            return generate(*args, **kwargs)

    def refuse_continuous_batching(_own: Any, *_args: Any, **_kwargs: Any) -> None:
        with generating(None):
            raise UnsupportedError(
                "continuous batching (`generate_batch`) packs prompts into one row and pages their "
                "cache, where a reduction cannot follow; call `generate` with a padded batch"
            )

    def watched_forward(own: Any, *args: Any, **kwargs: Any) -> Any:
        _check_own(own, model)
        with forwarding(_labels({**dict(zip(label_places, args, strict=False)), **kwargs})):
            return forward(*args, **kwargs)

    opaque: Any = functools.partial(torch.compiler.disable, recursive=False)
    replaced = {
        "generate": _method_like(generate, watched_generate),
        "init_continuous_batching": refuse_continuous_batching,
        "forward": opaque(_method_like(forward, watched_forward)),
    }
    own = {name: model.__dict__[name] for name in replaced if name in model.__dict__}
    for name, method in replaced.items():
        setattr(model, name, MethodType(method, model))
    try:
        yield
    finally:
        for name in replaced:
            delattr(model, name)
            if name in own:
                setattr(model, name, own[name])


def _method_like(original: Any, replacement: Callable[..., Any]) -> Callable[..., Any]:
    """The replacement with the signature of a bound method, which transformers asks for."""
    functools.update_wrapper(replacement, original)
    signature = inspect.signature(original)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    whole = signature.replace(parameters=[own, *signature.parameters.values()])
    replacement.__signature__ = whole  # type: ignore[attr-defined]
    return replacement


def _check_own(own: Any, model: Any) -> None:
    if own is not model:
        raise UnsupportedError(
            "this model was copied while a reduction was active on it; copy it outside the `with` "
            "block"
        )


def _labels(given: Mapping[str, Any]) -> torch.Tensor | None:
    """Labels in the columns of the tokens they name."""
    labels, shifted = given.get("labels"), given.get("shift_labels")
    if isinstance(shifted, torch.Tensor):
        return torch.nn.functional.pad(shifted[:, :-1], (1, 0), value=-100)
    return labels if isinstance(labels, torch.Tensor) else None


def _check_generation(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    given = kwargs.get("generation_config", args[1] if len(args) > 1 else None)

    def setting(name: str) -> Any:
        if name in kwargs:
            return kwargs[name]
        for config in (given, model.generation_config):
            value = getattr(config, name, None)
            if value is not None:
                return value
        return None

    if setting("use_cache") is False:
        raise UnsupportedError(
            "generation with `use_cache=False` would rank tokens anew from every answer token; "
            "leave `use_cache` on"
        )
    if setting("cache_implementation") not in _GROWING_CACHES:
        raise rigid_cache(f"cache_implementation={setting('cache_implementation')!r}")
    if setting("cache_implementation") == "offloaded" and not torch.accelerator.is_available():
        raise UnsupportedError(
            "cache_implementation='offloaded' moves the cache between a GPU and the host, and "
            "there is no GPU here; leave it unset"
        )
    if setting("prefill_chunk_size") is not None:
        raise UnsupportedError(
            "`prefill_chunk_size` splits the prompt, so no layer sees all of it before a cut; "
            "leave it unset"
        )

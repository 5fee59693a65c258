"""Attention inside the vision tower, brought to the tokens that its patches become."""

import inspect
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from schedsearch.errors import UnsupportedError
from schedsearch.models.prompt import Prompt
from schedsearch.models.tower import Tower
from schedsearch.reduction.attention_tap import log_mean_attention, tap_attention

_CHUNK = 256


@contextmanager
def read_tower(tower: Tower, on_tokens: Callable[[torch.Tensor], None]) -> Iterator[None]:
    """Call `on_tokens` with the logarithms `(tokens,)` of attention after each run of the tower.

    A patch gets the attention of the class token, or of all patches of its image where there is no
    class token, mean over heads, then rows; a token gets the mean over its patches.
    """
    signature = inspect.signature(tower.module.forward)
    running = threading.local()

    def enter(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not hasattr(running, "calls"):
            running.calls = []  # runs nest where a hook runs another prompt
        running.calls.append((signature.bind(*args, **kwargs).arguments, []))

    def observe(_layer: int, queries: torch.Tensor, keys: torch.Tensor, scaling: float) -> None:
        given, noted = running.calls[-1]
        blocks = tower.blocks(given) if tower.blocks else [keys.shape[2]]
        class_token = tower.class_token
        found = log_attention_on_patches(queries, keys, scaling, blocks, class_token=class_token)
        noted.append(found)

    def leave(_module: Any, _args: Any, output: Any) -> None:
        given, noted = running.calls.pop()
        if output is None:  # it failed
            return
        # Means are of attention itself; in double precision what float32 holds as logarithm is
        # only lost below e^-745.
        attention = torch.cat(noted, dim=1).double().exp()
        on_tokens(tower.to_tokens(attention, given).log().float())

    opaque: Any = torch.compiler.disable  # a compiled model must call them, never trace them
    module = tower.module
    with ExitStack() as stack:
        stack.callback(module.register_forward_pre_hook(opaque(enter), with_kwargs=True).remove)
        leaving = module.register_forward_hook(opaque(leave), always_call=True)
        stack.callback(leaving.remove)
        stack.enter_context(tap_attention({0: tower.attention}, opaque(observe)))
        yield


def log_attention_on_patches(
    queries: torch.Tensor,
    keys: torch.Tensor,
    scaling: float,
    blocks: Sequence[int],
    *,
    class_token: bool,
) -> torch.Tensor:
    """Logarithm of the attention that patches receive in one layer, mean over heads, then rows.

    Args:
        queries: `(images, heads, n, head_dim)`.
        keys: `(images, kv_heads, n, head_dim)`.
        scaling: Factor on the dot product.
        blocks: Sizes of the neighbouring blocks of a row that do not see each other.
        class_token: Whether the first of the n is one; then it alone is asked.

    Returns:
        `(images, n)` float32, or `(images, n - 1)` without the class token. No more than 256 rows
        of attention are held at a time.
    """
    found = []
    sizes = list(blocks)
    parts = zip(torch.split(queries, sizes, 2), torch.split(keys, sizes, 2), strict=True)
    for own, seen in parts:
        visible = torch.ones(1, 1, seen.shape[2], dtype=torch.bool, device=seen.device)
        asked = own[:, :, :1] if class_token else own
        chunks = torch.split(asked, _CHUNK, 2)
        logs = [log_mean_attention(chunk, seen, scaling, visible).logsumexp(1) for chunk in chunks]
        found.append(torch.stack(logs).logsumexp(0) - math.log(asked.shape[2]))
    received = torch.cat(found, dim=1)
    return received[:, 1:] if class_token else received


def spread(
    found: Sequence[torch.Tensor],
    prompt: Prompt,
    input_ids: torch.Tensor,
    vision_ids: Sequence[int],
) -> torch.Tensor:
    """Scores `(batch, sequence)` from those of the tower's runs; -inf where there is no vision.

    Args:
        found: `(tokens,)` of each run, in the order of `vision_ids`.
        prompt: The batch; its rows may be beams, equal rows for each row that the tower saw.
        input_ids: `(batch, sequence)` token ids.
        vision_ids: Placeholders of images, then of videos.

    Raises:
        UnsupportedError: The tower ran for another number of tokens, or not at all.
    """
    scores = torch.full(prompt.shape, float("-inf"), device=prompt.vision.device)
    total, given = sum(prompt.n_vision), sum(map(len, found))
    if total == 0:
        return scores
    if given == 0 or total % given or prompt.shape[0] % (total // given):
        raise UnsupportedError(
            f"the prompt has {total} vision tokens, but the vision tower ran for {given} of them, "
            "so its attention cannot rank them; pass pixel values, or use the ranker diverse"
        )
    beams = total // given
    own = scores[::beams].clone()
    flat = torch.cat([one.to(scores) for one in found])
    for token_id in vision_ids:
        mask = prompt.vision[::beams] & (input_ids[::beams] == token_id)
        count = int(mask.sum())
        own[mask], flat = flat[:count], flat[count:]
    return own.repeat_interleave(beams, 0)

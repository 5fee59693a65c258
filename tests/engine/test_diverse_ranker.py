"""Max-min diversity equals brute force, for each sample by itself."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schedsearch import RankerSpec, Schedule, reduce
from schedsearch.models.prompt import Prompt, make_prompt
from schedsearch.reduction.rankers import diverse, make_ranker
from schedsearch.reduction.selection import keep_top
from tests.engine.tiny import IMAGE_TOKEN, pad, question, shared


def brute_force(features: Any, k: int) -> list[int]:
    """The first k tokens of the greedy order, in float64, from all pairs of distances."""
    rows = np.asarray(features, dtype=np.float64)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    distance = np.round((1 - rows @ rows.T) * 2**16)
    n = len(rows)
    chosen: list[int] = []
    while len(chosen) < k:
        left = [i for i in range(n) if i not in chosen]
        others = {i: chosen or [j for j in range(n) if j != i] for i in left}
        gaps = {i: min((distance[i, j] for j in others[i]), default=0.0) for i in left}
        chosen.append(max(left, key=lambda i: (gaps[i], -i)))
    return chosen


def prompt_of(*n_vision: int) -> Prompt:
    """Rows of one width; text between the vision tokens, padding on the left."""
    width = 2 * max(n_vision) + 2
    ids = torch.full((len(n_vision), width), 7)
    for row, n in enumerate(n_vision):
        ids[row, width - 2 * n : width : 2] = IMAGE_TOKEN
    valid = torch.ones_like(ids)
    for row, n in enumerate(n_vision):
        valid[row, : max(n_vision) - n] = 0
    return make_prompt(ids, ids == IMAGE_TOKEN, valid)


def order_of(prompt: Prompt, features: torch.Tensor, most: int) -> torch.Tensor:
    order = make_ranker(RankerSpec("diverse")).order(prompt, features, None, most)
    assert order is not None
    return order


def kept(prompt: Prompt, order: torch.Tensor, counts: list[int]) -> list[list[int]]:
    """Ordinals of the vision tokens that stay."""
    stays = keep_top(order, prompt.vision, torch.tensor(counts))
    return [stays[row][prompt.vision[row]].nonzero()[:, 0].tolist() for row in range(len(counts))]


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(seed=st.integers(0, 10**6), sizes=st.lists(st.integers(1, 20), min_size=1, max_size=3))
def test_order_is_that_of_brute_force(seed: int, sizes: list[int]) -> None:
    prompt = prompt_of(*sizes)
    features = drawn(seed, *prompt.shape, 5)

    order = order_of(prompt, features, max(sizes))

    for row, n in enumerate(sizes):
        own = features[row][prompt.vision[row]]
        places = (-order[row][prompt.vision[row]]).argsort().tolist()
        assert places == brute_force(own, n)


def test_chunks_of_rows_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = prompt_of(20, 13)
    features = drawn(3, *prompt.shape, 5)
    whole = order_of(prompt, features, 20)

    monkeypatch.setattr(diverse, "_CHUNK", 7)

    assert torch.equal(order_of(prompt, features, 20), whole)


def test_equal_tokens_come_last_and_by_index() -> None:
    """Three directions, each several times and at several lengths."""
    prompt = prompt_of(9)
    own = torch.eye(3)[[0, 0, 1, 0, 2, 2, 1, 0, 2]] * torch.arange(1, 10)[:, None]
    features = torch.zeros(*prompt.shape, 3)
    features[0, prompt.vision[0]] = own

    order = order_of(prompt, features, 9)

    assert (-order[0, prompt.vision[0]]).tolist() == [0, 3, 1, 4, 2, 5, 6, 7, 8]
    assert brute_force(own, 9) == [0, 2, 4, 1, 3, 5, 6, 7, 8]


def test_rounding_does_not_tell_equal_tokens_apart() -> None:
    """Cosines of equal directions differ from 1 by 1e-7 either way."""
    prompt = prompt_of(40)
    own = drawn(7, 6, 64)[torch.arange(40) % 6] * drawn(8, 40, 1).abs()
    features = torch.zeros(*prompt.shape, 64)
    features[0, prompt.vision[0]] = own

    order = order_of(prompt, features, 40)

    assert (-order[0, prompt.vision[0]]).argsort().tolist() == brute_force(own, 40)


def test_fewer_tokens_are_a_subset_of_more_however_many_are_ordered() -> None:
    prompt = prompt_of(24, 15)
    features = drawn(5, *prompt.shape, 4)
    whole = order_of(prompt, features, 24)

    larger = kept(prompt, whole, [24, 15])
    for k in range(23, 0, -1):
        counts = [k, min(k, 15)]
        smaller = kept(prompt, whole, counts)
        assert smaller == kept(prompt, order_of(prompt, features, k), counts)
        assert all(set(few) <= set(many) for few, many in zip(smaller, larger, strict=True))
        larger = smaller


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_model_keeps_what_brute_force_keeps(side: str) -> None:
    """Of the embeddings that enter layer 0, over all images of a sample, at every later drop."""
    model, samples = shared(), [question(91, behind=5), question(92, behind=9, images=2)]
    batch = pad(samples, side)
    schedule = Schedule((0.5, 0.5, 0.5, 0.2, 0.2, 0.1), RankerSpec("diverse"))
    entered = []
    layer = model.get_decoder().layers[0]
    handle = layer.register_forward_pre_hook(lambda _module, args: entered.append(args[0]))
    model(**batch)
    handle.remove()

    with reduce(model, schedule) as reduction:
        model(**batch)
        found = {layer: reduction.kept[layer] for layer in (0, 3, 5)}

    for row in range(2):
        vision = (batch["input_ids"][row] == IMAGE_TOKEN).nonzero()[:, 0].tolist()
        expected = brute_force(entered[0][row, vision], len(vision) // 2)
        for layer, columns in found.items():
            count = schedule.counts(len(vision))[layer]
            own = {vision.index(c) for c in columns[row].tolist() if c in vision}
            assert own == set(expected[:count])

"""Removing tokens gives what hiding them gives: kept sets, prompt logits and eight decode steps."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch

from schedsearch import RankerSpec, Schedule, reduce
from schedsearch.testing.reference import masked_decode, masked_forward, ranking_rows
from tests.engine.stepping import Stepper
from tests.engine.tiny import (
    CONFIGURATIONS,
    IMAGE_TOKEN,
    KEEP,
    LAYERS,
    OPPOSITES,
    TOLERANCE,
    TinyLlava,
    eager_twin,
    pad,
    question,
    shared,
)
from tests.pace import some

ANSWER = 9  # the prefill predicts one token, eight decode steps the others
FULL = (1.0,) * LAYERS

BATCHES = {
    "one": [question(3)],
    "two images": [question(4, images=2)],
    "padded": [question(5, before=3, behind=9), question(6, before=7, behind=14)],
    "different numbers of images": [question(7), question(8, images=2), question(9, images=0)],
}
CASES = [
    ("one", "left"),
    ("two images", "left"),
    ("padded", "left"),
    ("padded", "right"),
    ("different numbers of images", "left"),
    ("different numbers of images", "right"),
]


def kept_vision(
    kept: Any, batch: dict[str, Any], row: int, layers: list[int]
) -> dict[int, list[int]]:
    """Kept vision columns of one row, counted without its padding on the left."""
    offset = int(batch["attention_mask"][row].argmax())
    found = {}
    for layer in layers:
        columns = kept[layer][row]
        columns = columns[columns >= 0]
        vision = columns[batch["input_ids"][row, columns] == IMAGE_TOKEN]
        found[layer] = (vision - offset).tolist()
    return found


@dataclass(frozen=True)
class Expected:
    """What the masked model says about one sample."""

    logits: torch.Tensor
    unpruned: torch.Tensor
    kept: dict[int, list[int]]
    steps: torch.Tensor
    tokens: list[int]


@cache
def expected(kv_heads: int, name: str, row: int, keep: tuple[float, ...], ranker: str) -> Expected:
    twin, sample = eager_twin(TinyLlava(kv_heads)), BATCHES[name][row]
    rows = ranking_rows(sample, ranker, (IMAGE_TOKEN,))
    logits, kept = masked_forward(twin, sample, keep, rows)
    unpruned, _ = masked_forward(twin, sample, FULL, rows)
    steps, tokens = masked_decode(twin, sample, keep, rows, ANSWER)
    return Expected(logits, unpruned, dict(kept), steps, tokens)


def assert_equals_reference(
    tiny: TinyLlava, name: str, side: str, keep: tuple[float, ...], ranker: str
) -> None:
    model, samples = shared(tiny), BATCHES[name]
    batch = pad(samples, side)

    with reduce(model, Schedule(keep, RankerSpec(ranker))) as reduction:
        stepper = Stepper(model, batch)
        kept = reduction.kept
        steps, tokens = stepper.greedy(ANSWER)

    assert torch.isfinite(stepper.prompt_logits).all()
    for row, sample in enumerate(samples):
        masked = expected(tiny.kv_heads, name, row, keep, ranker)
        assert kept_vision(kept, batch, row, list(masked.kept)) == masked.kept

        survivors = [column for column in kept[LAYERS - 1][row].tolist() if column >= 0]
        offset = int(batch["attention_mask"][row].argmax())
        unpadded = [column - offset for column in survivors]
        difference = stepper.prompt_logits[row, survivors] - masked.logits[unpadded]
        assert difference.abs().max() < TOLERANCE

        assert tokens[row].tolist() == masked.tokens
        assert (steps[:, row] - masked.steps).abs().max() < TOLERANCE

        if "pixel_values" in sample:
            effect = (masked.unpruned[-1] - masked.logits[-1]).abs().max()
            assert effect > 0.1, "pruning changes nothing here, so this test could not fail"


@pytest.mark.parametrize("ranker", ["last", "text"])
@pytest.mark.parametrize(("name", "side"), CASES)
@pytest.mark.parametrize("tiny", some(CONFIGURATIONS, OPPOSITES), ids=str)
def test_reduced_prefill_and_decoding_equal_the_masked_model(
    tiny: TinyLlava, name: str, side: str, ranker: str
) -> None:
    assert_equals_reference(tiny, name, side, KEEP, ranker)


@pytest.mark.parametrize(
    "keep",
    [
        (1.0, 0.3, 0.3, 0.3, 0.3, 0.3),
        (1.0, 1.0, 1.0, 0.4, 0.0, 0.0),
        (1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        (1.0, 1.0, 1 / 64, 1 / 64, 1 / 64, 1 / 64),
        (1.0, 0.9, 0.8, 0.7, 0.6, 0.5),
    ],
    ids=["from layer 1", "some then none", "none from layer 1", "one token", "every layer"],
)
@pytest.mark.parametrize("tiny", CONFIGURATIONS[:2], ids=str)
def test_other_schedules_equal_the_masked_model(tiny: TinyLlava, keep: tuple[float, ...]) -> None:
    assert_equals_reference(tiny, "padded", "left", keep, "last")


@pytest.mark.parametrize("ranker", ["random", "uniform"])
def test_rankers_without_attention_equal_the_masked_model_given_their_sets(ranker: str) -> None:
    tiny, sample = TinyLlava(), question(3)
    model = shared(tiny)

    with reduce(model, Schedule(KEEP, RankerSpec(ranker))) as reduction:
        logits = model(**sample).logits[0, -1]
        kept = kept_vision(reduction.kept, sample, 0, [2, 4, 5])

    assert [len(columns) for columns in kept.values()] == [32, 16, 7]
    masked, _ = masked_forward(eager_twin(tiny), sample, KEEP, rows=[], given=kept)
    assert (logits - masked[-1]).abs().max() < TOLERANCE


@pytest.mark.parametrize("tiny", CONFIGURATIONS, ids=str)
def test_generate_equals_stepping_by_hand(tiny: TinyLlava) -> None:
    model, batch = shared(tiny), pad(BATCHES["different numbers of images"], "left")
    settings = {"return_dict_in_generate": True, "output_logits": True, "do_sample": False}

    with reduce(model, Schedule(KEEP)):
        logits, tokens = Stepper(model, batch).greedy(ANSWER)
        generated = model.generate(**batch, **settings, max_new_tokens=ANSWER)

    assert torch.equal(generated.sequences[:, batch["input_ids"].shape[1] :], tokens)
    # The head multiplies one row in the one case and all rows of the prompt in the other.
    assert (torch.stack(generated.logits) - logits).abs().max() < 1e-5

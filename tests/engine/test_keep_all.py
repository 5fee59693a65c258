"""A schedule that keeps every token changes no bit, with every hook at work."""

from typing import Any

import pytest
import torch

from schedsearch import Schedule, reduce
from tests.engine.tiny import (
    CONFIGURATIONS,
    IMAGE_TOKEN,
    LAYERS,
    N_VISION,
    build,
    pad,
    question,
    shared,
)

FULL = Schedule.full(LAYERS)
# Rounds up to all 64 tokens, so that ranking, gathering and scattering run and drop nothing.
ALMOST_FULL = Schedule((1.0,) + (0.9999,) * (LAYERS - 1))

BATCHES = {
    "one": [question(1)],
    "two images": [question(2, images=2)],
    "equal lengths": [question(3), question(4)],
    "padded": [question(5, behind=4), question(6, behind=9), question(7, images=0)],
}


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def dtype(request: Any) -> Any:
    return request.param


@pytest.fixture(scope="module", params=CONFIGURATIONS, ids=str)
def model(request: Any, dtype: Any) -> Any:
    return build(request.param).to(dtype)


@pytest.mark.parametrize("schedule", [FULL, ALMOST_FULL], ids=["full", "almost full"])
@pytest.mark.parametrize("name", BATCHES)
def test_logits_equal_the_unmodified_model_bit_by_bit(
    model: Any, dtype: Any, name: str, schedule: Schedule
) -> None:
    batch = pad(BATCHES[name], "left")
    batch["pixel_values"] = batch["pixel_values"].to(dtype)
    valid = batch["attention_mask"].bool()
    expected = model(**batch).logits

    with reduce(model, schedule) as reduction:
        found = model(**batch).logits
        kept = reduction.kept

    assert found.shape == expected.shape
    assert torch.equal(found[valid], expected[valid])
    assert list(kept) == (list(range(1, LAYERS)) if schedule is ALMOST_FULL else [])
    widths = {columns.shape[1] for columns in kept.values()}
    assert widths <= {batch["input_ids"].shape[1]}


def test_generated_logits_equal_the_unmodified_model_bit_by_bit(model: Any, dtype: Any) -> None:
    batch = pad(BATCHES["padded"], "left")
    batch["pixel_values"] = batch["pixel_values"].to(dtype)
    settings = {"max_new_tokens": 4, "return_dict_in_generate": True, "output_logits": True}
    expected = model.generate(**batch, **settings, do_sample=False)

    with reduce(model, ALMOST_FULL):
        found = model.generate(**batch, **settings, do_sample=False)

    assert torch.equal(found.sequences, expected.sequences)
    for one, other in zip(found.logits, expected.logits, strict=True):
        assert torch.equal(one, other)


def test_almost_full_keeps_every_vision_token_of_every_row() -> None:
    batch = pad(BATCHES["padded"], "left")
    model = shared()

    with reduce(model, ALMOST_FULL) as reduction:
        model(**batch)
        columns = reduction.kept[LAYERS - 1]

    for row, ids in enumerate(batch["input_ids"]):
        found = columns[row][columns[row] >= 0]
        assert found.tolist() == batch["attention_mask"][row].nonzero()[:, 0].tolist()
        assert (ids[found] == IMAGE_TOKEN).sum() in (0, N_VISION)

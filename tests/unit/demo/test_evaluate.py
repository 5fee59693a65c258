"""Tallies, and taking vision away."""

import pytest
import torch

from schedsearch.demo.batches import answer_logits, collate, question_row
from schedsearch.demo.evaluate import accuracy, vision_withdrawn
from schedsearch.demo.model import build_model
from schedsearch.demo.shapesvqa import ShapesVQA, example


@pytest.fixture(scope="module")
def model():
    return build_model(seed=0, hidden=32, layers=3).eval()


def test_tallies_by_kind_add_up(model):
    found = accuracy(model, list(ShapesVQA("validation", 60)), batch_size=16)

    assert found.overall.total == 60
    assert sum(tally.total for tally in found.by_kind.values()) == 60
    assert sum(tally.right for tally in found.by_kind.values()) == found.overall.right


def test_the_batch_size_does_not_change_the_answers(model):
    samples = list(ShapesVQA("validation", 36))

    assert accuracy(model, samples, batch_size=5) == accuracy(model, samples, batch_size=36)


def test_withdrawing_from_layer_zero_hides_the_image(model):
    logits = {}
    for source in (0, 1):
        image = list(ShapesVQA("validation", 2))[source].images[0]()
        batch = collate([question_row([example("validation", 0)[1]])], [image])
        with torch.no_grad():
            logits["seen", source] = answer_logits(model, batch)
            with vision_withdrawn(model, batch.tokens, 0):
                logits["hidden", source] = answer_logits(model, batch)

    assert torch.equal(logits["hidden", 0], logits["hidden", 1])
    assert (logits["seen", 0] - logits["seen", 1]).abs().max() > 1e-3


def test_withdrawal_ends_with_its_block_even_after_an_error(model):
    batch = collate(
        [question_row([example("validation", 0)[1]])],
        [next(iter(ShapesVQA("validation", 1))).images[0]()],
    )
    with torch.no_grad():
        before = answer_logits(model, batch)
        with pytest.raises(ZeroDivisionError), vision_withdrawn(model, batch.tokens, 0):
            raise ZeroDivisionError
        after = answer_logits(model, batch)

    assert torch.equal(before, after)


@pytest.mark.parametrize("vision", ["blank", "foreign"])
def test_other_images_are_really_shown(model, vision):
    """With the own image replaced, an image-reading model answers some questions differently."""
    samples = list(ShapesVQA("validation", 12))
    seen = []
    handle = model.model.vision_tower.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append((args or tuple(kwargs.values()))[0].clone()),
        with_kwargs=True,
    )
    try:
        accuracy(model, samples)
        accuracy(model, samples, vision=vision)
    finally:
        handle.remove()

    own, other = seen
    if vision == "blank":
        assert other.std() == 0
    else:
        assert torch.equal(other, own.roll(-1, 0))

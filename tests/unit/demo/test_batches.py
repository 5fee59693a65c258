"""A packed question is the same question, to the token and to the logit, as one asked alone."""

import random

import numpy as np
import pytest
import torch

from schedsearch.demo.batches import (
    TOKENS,
    answer_logits,
    caption_row,
    collate,
    patch_labels,
    patch_words,
    question_row,
)
from schedsearch.demo.model import build_model
from schedsearch.demo.processor import build_processor
from schedsearch.demo.scene import COLORS, Item, Scene, arrange, render
from schedsearch.demo.shapesvqa import ShapesVQA, example, study_sheet

EVEN = [1.0] * 12


@pytest.fixture(scope="module")
def processor():
    return build_processor()


@pytest.fixture(scope="module")
def model():
    return build_model(seed=0, hidden=32, layers=2).eval()


def chat(processor, question):
    content = [{"type": "image"}, {"type": "text", "text": question}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )


def test_training_tokens_and_pixels_equal_the_processors(processor):
    for index, sample in enumerate(ShapesVQA("held-out", 24)):
        _, question = example("held-out", index)
        image = sample.images[0]()
        ours = collate([question_row([question])], [image])
        theirs = processor(
            images=[image], text=[chat(processor, sample.question)], return_tensors="pt"
        )

        assert torch.equal(ours.tokens, theirs["input_ids"])
        # Both are float32; the processor rescales before it normalises.
        torch.testing.assert_close(ours.pixels, theirs["pixel_values"], rtol=0, atol=1e-6)


def test_packed_questions_get_the_logits_of_questions_asked_alone(model):
    scene, questions = study_sheet("train", 0, 0, 6, EVEN)
    image = render(scene, 0)
    with torch.no_grad():
        packed = answer_logits(model, collate([question_row(questions)], [image]))
        alone = [answer_logits(model, collate([question_row([q])], [image])) for q in questions]

    # float32 sums in another order
    torch.testing.assert_close(packed, torch.cat(alone), rtol=0, atol=1e-5)
    assert (packed[0] - packed[1]).abs().max() > 1e-2


def test_packed_logits_equal_the_models_own_causal_pass(model, processor):
    sample = next(iter(ShapesVQA("held-out", 1)))
    image = sample.images[0]()
    inputs = processor(images=[image], text=[chat(processor, sample.question)], return_tensors="pt")
    _, question = example("held-out", 0)
    with torch.no_grad():
        theirs = model(**inputs).logits[:, -1]
        ours = answer_logits(model, collate([question_row([question])], [image]))

    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_early_answers_are_the_positions_before_the_last():
    _, questions = study_sheet("train", 1, 0, 3, EVEN)

    row = question_row(questions, early=2)

    assert len(row.targets) == 9
    assert {t for _, t in row.targets} == {TOKENS[q.answer] for q in questions}
    last = max(column for column, _ in row.targets)
    assert [row.tokens[last - back] for back in (0, 1)] == [TOKENS["ASSISTANT:"], TOKENS["?"]]
    assert last == len(row.tokens) - 1


def test_an_ended_question_teaches_the_end_token_after_its_answer():
    _, questions = study_sheet("train", 1, 0, 3, EVEN)

    row = question_row(questions, ended=1)

    (column,) = [column for column, target in row.targets if target == TOKENS["</s>"]]
    assert row.tokens[column] == TOKENS[questions[1].answer]
    assert row.tokens[column - 1] == TOKENS["ASSISTANT:"]


def test_captions_name_every_item():
    scene = arrange(random.Random(4))

    row = caption_row(scene)

    assert sorted(row.tokens[column] for column, _ in row.targets[::3]) == sorted(
        TOKENS[item.cell] for item in scene.items
    )
    assert [target for _, target in row.targets[:3]] == [
        TOKENS[scene.items[0].color],
        TOKENS[scene.items[0].thing],
        TOKENS[scene.items[0].cell],
    ]


def test_patch_labels_and_words_follow_the_cells():
    item = Item(row=1, column=2, color="blue", thing="cross", big=True)
    scene = Scene((item,))
    words = torch.randn(len(TOKENS), 4, generator=torch.Generator().manual_seed(0))

    labels = patch_labels(scene).reshape(8, 8, 5)
    meanings = patch_words(scene, words).reshape(8, 8, 4)

    blue = list(COLORS).index("blue") + 1
    assert np.array_equal(np.argwhere(labels[..., 0]), [[2, 4], [2, 5], [3, 4], [3, 5]])
    assert labels[2, 4].tolist() == [blue, 4, 2, 1, 2]
    assert labels[7, 0].tolist() == [0, 0, 0, 3, 0]
    wanted = sum(words[TOKENS[name]] for name in ("c2", "blue", "cross", "big")) / 2
    torch.testing.assert_close(meanings[3, 5], wanted)
    torch.testing.assert_close(meanings[7, 0], words[TOKENS["a4"]])

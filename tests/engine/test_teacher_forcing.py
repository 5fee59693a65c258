"""One forward over prompt and answer gives what prefill and decoding give; answers never rank."""

from typing import Any

import pytest
import torch

from schedsearch import InputError, RankerSpec, Schedule, UnsupportedError, reduce
from schedsearch.testing.reference import appended, masked_forward, ranking_rows
from tests.engine.stepping import Stepper
from tests.engine.tiny import (
    CONFIGURATIONS,
    IMAGE_TOKEN,
    KEEP,
    TOLERANCE,
    TinyLlava,
    eager_twin,
    pad,
    question,
    shared,
)

PROMPTS = [question(11, behind=6), question(12, behind=13, images=2), question(13, images=0)]
ANSWERS = [[31, 32, 33, 34], [45, 46], [57, 58, 59]]
OTHER_ANSWERS = [[99, 98, 97, 96], [95, 94], [93, 92, 91]]
RANKERS = ["last", "text"]


def with_answers(answers: list[list[int]], side: str) -> tuple[dict[str, Any], torch.Tensor]:
    """Padded batch of prompts with answers, and the column after each prompt."""
    whole = [appended(prompt, answer) for prompt, answer in zip(PROMPTS, answers, strict=True)]
    batch = pad(whole, side)
    starts = batch["attention_mask"].argmax(1)
    lengths = starts + torch.tensor([prompt["input_ids"].shape[1] for prompt in PROMPTS])
    return batch, lengths


@pytest.mark.parametrize("ranker", RANKERS)
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("tiny", CONFIGURATIONS, ids=str)
def test_teacher_forced_logits_equal_decoding_and_the_masked_model(
    tiny: TinyLlava, side: str, ranker: str
) -> None:
    model, (batch, lengths) = shared(tiny), with_answers(ANSWERS, side)

    decoded = []
    with reduce(model, Schedule(KEEP, RankerSpec(ranker))) as reduction:
        reduction.prompt(lengths)
        forced = model(**batch).logits
        for prompt, answer in zip(PROMPTS, ANSWERS, strict=True):
            stepper = Stepper(model, prompt)
            steps = [stepper.feed(torch.tensor([[token]]))[:, 0] for token in answer]
            decoded.append(torch.cat([stepper.first, *steps]))

    for row, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
        start = int(lengths[row]) - 1
        found = forced[row, start : start + len(answer) + 1]
        rows = ranking_rows(prompt, ranker, (IMAGE_TOKEN,))
        masked, _ = masked_forward(eager_twin(tiny), appended(prompt, answer), KEEP, rows)
        assert (found - decoded[row]).abs().max() < TOLERANCE
        assert (found - masked[-len(answer) - 1 :]).abs().max() < TOLERANCE


@pytest.mark.parametrize("ranker", RANKERS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_answers_change_neither_kept_sets_nor_prompt_logits(side: str, ranker: str) -> None:
    model = shared()
    seen = []

    with reduce(model, Schedule(KEEP, RankerSpec(ranker))) as reduction:
        for answers in (ANSWERS, OTHER_ANSWERS):
            batch, lengths = with_answers(answers, side)
            reduction.prompt(lengths)
            logits = model(**batch).logits
            prompt_logits = logits[torch.arange(len(PROMPTS)), lengths - 1]
            seen.append((reduction.kept, prompt_logits, batch["attention_mask"]))

    (kept, logits, _), (other_kept, other_logits, _) = seen
    assert kept.keys() == other_kept.keys() == {2, 3, 4, 5}
    for layer, columns in kept.items():
        assert torch.equal(columns, other_kept[layer])
    assert (logits - other_logits).abs().max() < TOLERANCE


@pytest.mark.parametrize("ranker", RANKERS)
def test_without_prompt_lengths_answers_would_leak_into_kept_sets(ranker: str) -> None:
    model = shared()
    batch, lengths = with_answers(ANSWERS, "right")

    with reduce(model, Schedule(KEEP, RankerSpec(ranker))) as reduction:
        reduction.prompt(lengths)
        model(**batch)
        kept = reduction.kept[2]
        model(**batch)
        leaked = reduction.kept[2]

    assert not torch.equal(kept, leaked)


def test_loss_over_answers_equals_the_masked_model() -> None:
    tiny, prompt, answer = TinyLlava(), PROMPTS[0], ANSWERS[0]
    whole = appended(prompt, answer)
    labels = whole["input_ids"].clone()
    labels[:, : -len(answer)] = -100

    with reduce(shared(tiny), Schedule(KEEP)) as reduction:
        reduction.prompt([prompt["input_ids"].shape[1]])
        loss = shared(tiny)(**whole, labels=labels).loss

    rows = ranking_rows(prompt, "last", (IMAGE_TOKEN,))
    masked, _ = masked_forward(eager_twin(tiny), whole, KEEP, rows)
    expected = torch.nn.functional.cross_entropy(masked[-5:-1], torch.tensor(answer))
    assert (loss - expected).abs() < TOLERANCE


def test_prompt_lengths_serve_one_forward_only() -> None:
    model, prompt = shared(), PROMPTS[0]

    with reduce(model, Schedule(KEEP)) as reduction:
        model(**prompt)
        expected = reduction.kept[2]
        reduction.prompt([prompt["input_ids"].shape[1] - 3])
        model(**prompt)
        shortened = reduction.kept[2]
        model(**prompt)
        again = reduction.kept[2]

    assert not torch.equal(expected, shortened)
    assert torch.equal(expected, again)


@pytest.mark.parametrize(
    "lengths",
    [
        [149],
        [149, 149, 149],
        [[149], [149]],
        [149, 0],
        [74, 149],
        [149, 150],
        [149, 3],
        [149, 71],
        [149, 136],
    ],
    ids=[
        "too few",
        "too many",
        "two dimensions",
        "before the row",
        "in the padding",
        "after the row",
        "before the images",
        "between the images",
        "at the end of the images",
    ],
)
def test_prompt_lengths_that_do_not_fit_the_batch_are_refused(lengths: Any) -> None:
    model, batch = shared(), pad(PROMPTS[:2], "left")  # 74 of padding and 75 tokens, 149 tokens

    with reduce(model, Schedule(KEEP)) as reduction:
        reduction.prompt(lengths)
        with pytest.raises(InputError, match="`lengths`"):
            model(**batch)
        model(**batch)


def test_a_prompt_that_ends_in_a_vision_token_is_refused() -> None:
    model, sample = shared(), question(14, behind=0)

    with reduce(model, Schedule(KEEP)), pytest.raises(UnsupportedError, match="ends in a vision"):
        model(**sample)
    with reduce(model, Schedule.full(len(KEEP))):
        model(**sample)

"""Forced answers against a computation by hand, token by token."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from schedsearch.evaluation.answers import force_answers

VOCAB = 11
ENDS = (2, 3)


class Scripted:
    """A model whose logits are given."""

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits

    def __call__(self, input_ids: torch.Tensor, logits_to_keep: int, use_cache: bool) -> Any:
        assert input_ids.shape == self.logits.shape[:2]
        assert not use_cache
        return SimpleNamespace(logits=self.logits[:, -logits_to_keep:])


def by_hand(logits: list[list[float]], answer: tuple[int, ...]) -> tuple[float, bool]:
    """Log-probability of answer and end, and whether greedy decoding would give both."""
    total, greedy = 0.0, True
    steps = [*((token,) for token in answer), ENDS]
    for row, step in zip(logits[-len(steps) :], steps, strict=True):
        weights = [math.exp(value) for value in row]
        total += math.log(sum(weights[token] for token in step) / sum(weights))
        greedy &= weights.index(max(weights)) in step
    return total, greedy


@pytest.mark.parametrize("seed", range(20))
def test_forced_answers_of_different_length_are_judged_token_by_token(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    answers = [(5,), (7, 4, 9), (), (8, 2)]
    width = 9
    logits = torch.randn(len(answers), width, VOCAB, generator=generator)
    for row, answer in enumerate(answers):
        for back, token in enumerate(reversed([*answer, ENDS[seed % 2]])):
            if seed < 15:
                logits[row, -1 - back, token] += 6  # mostly the likeliest, not always
    ids = torch.zeros(len(answers), width, dtype=torch.long)

    found = force_answers(Scripted(logits), {"input_ids": ids}, answers, ENDS)

    expected = [by_hand(logits[row].tolist(), answer) for row, answer in enumerate(answers)]
    totals = found.log_probs.sum(1).tolist()
    assert totals == pytest.approx([total for total, _ in expected], abs=1e-4)
    assert found.greedy.all(1).tolist() == [greedy for _, greedy in expected]


def test_an_answer_that_goes_on_is_not_the_greedy_one() -> None:
    logits = torch.zeros(1, 4, VOCAB)
    logits[0, 2, 5] = logits[0, 3, 6] = 9.0

    found = force_answers(
        Scripted(logits), {"input_ids": torch.zeros(1, 4, dtype=torch.long)}, [(5,)], ENDS
    )

    assert found.greedy.tolist() == [[True, False]]

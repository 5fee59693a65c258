"""The interface of metrics: a number per sample, larger is better."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch


@dataclass(frozen=True)
class AnswerPredictions:
    """What the model says of reference answers that are forced behind their prompts.

    Attributes:
        log_probs: `(batch, n)` float32, natural log-probability of each answer token, the end
            token included; 0 at padding.
        greedy: `(batch, n)` bool, whether the token is the likeliest; True at padding.
    """

    log_probs: torch.Tensor
    greedy: torch.Tensor


class Metric(ABC):
    """Scores a sample. Derive from one of the two kinds below.

    Attributes:
        name: What studies and reports call it.
        greatest: No score is above this. A bound lets a search stop evaluating a schedule as soon
            as it is certainly rejected.
    """

    name: ClassVar[str]
    greatest: float = math.inf


class TeacherForcedMetric(Metric):
    """Scores reference answers by one forward over prompt and answer.

    A sample's score is the best of its references that count.
    """

    def references(self, answers: Sequence[str]) -> Sequence[str]:
        """Those of a sample's answers that count; by default all."""
        return answers

    @abstractmethod
    def scores(self, predictions: AnswerPredictions) -> torch.Tensor:
        """`(batch,)` float, one score per reference."""


class GeneratedMetric(Metric):
    """Scores what the model answers by greedy decoding.

    Attributes:
        max_new_tokens: Longest answer, in tokens, the end token included.
    """

    max_new_tokens: int

    @abstractmethod
    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """Score of one prediction against all of the sample's answers."""

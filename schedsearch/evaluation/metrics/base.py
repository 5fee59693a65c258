"""The interface of metrics: a number per sample, larger is better."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from schedsearch.core.sample import SampleSet
from schedsearch.core.shown import shown
from schedsearch.errors import DataError, InputError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class AnswerPredictions:
    """What the model says of reference answers that are forced after their prompts.

    Attributes:
        log_probs: `(batch, n)` float32, natural log-probability of each answer token, the end
            token included; 0 at padding.
        greedy: `(batch, n)` bool, whether the token is the likeliest; True at padding.
    """

    log_probs: "torch.Tensor"
    greedy: "torch.Tensor"


class Metric(ABC):
    """Scores a sample. Derive from one of the three kinds below.

    Attributes:
        name: What studies and reports call it.
        greatest: No score is above this. A bound lets a search stop evaluating a schedule as soon
            as it is certainly rejected.
        least: No score is below this. With both bounds a loss can be proven, see `certify`.
        binary: Every score is 0 or 1; then fewer samples prove it.
        version: Of a metric of your own: a promise that equal name and version mean equal scores.
            Without one its code and state are followed, and another code is another metric.
    """

    name: ClassVar[str]
    greatest: float = math.inf
    least: float = -math.inf
    binary: bool = False
    version: str | None = None


class TeacherForcedMetric(Metric):
    """Scores reference answers by one forward over prompt and answer.

    A sample's score is the best of its references that count.
    """

    def references(self, answers: Sequence[str]) -> Sequence[str]:
        """Those of a sample's answers that count; by default all."""
        return answers

    @abstractmethod
    def scores(self, predictions: AnswerPredictions) -> "torch.Tensor":
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


Compared = Literal["tokens", "logits", "states"]


class ComparedMetric(Metric):
    """Scores how near the reduced model stays to the full one; samples need no answers.

    Both are read off one forward over the prompt and the greedy answer of the full model, which is
    forced after it. Where a schedule keeps everything, it is compared with itself.

    Attributes:
        compares: What is read where a token of that answer is predicted, the end token included:
            "tokens" `(n,)` long, the likeliest, all end tokens as one; "logits" `(n, vocab)`
            float32; "states" `(n, hidden)` float32, of the last layer after the final norm.
        max_new_tokens: Longest answer, in tokens, the end token included. With 1 the row of the
            last prompt token is all that is compared, and nothing is generated.
    """

    compares: ClassVar[Compared]
    max_new_tokens: int = 1

    @abstractmethod
    def score(self, full: "torch.Tensor", reduced: "torch.Tensor") -> float:
        """Score of one sample from what is read off both models, on one device."""


def checked_length(max_new_tokens: object) -> int:
    """The longest answer in tokens, once it is known to be one.

    Raises:
        InputError: It is no integer, or below 1.
    """
    if isinstance(max_new_tokens, bool) or not isinstance(max_new_tokens, int):
        raise InputError(f"`max_new_tokens` must be an integer, but got {shown(max_new_tokens)}")
    if max_new_tokens < 1:
        raise InputError(f"`max_new_tokens` must be at least 1, but got {max_new_tokens}; raise it")
    return max_new_tokens


def check_answers(samples: SampleSet, metric: Metric) -> None:
    """Refuse samples without answers where the metric compares with them.

    Raises:
        DataError: A sample has none.
    """
    if isinstance(metric, ComparedMetric):
        return
    lacking = [sample.id for sample in samples if not sample.answers]
    if lacking:
        others = f", nor have {len(lacking) - 1} others" if lacking[1:] else ""
        raise DataError(
            f"sample {shown(lacking[0])} of {samples.name} has no answers{others}, but "
            f"{metric.name} compares with them; give every sample at least one, or "
            "choose a metric that needs none, such as answer_match"
        )

"""Stand-ins for a model that nobody has searched: a search on them shows what one costs."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from schedsearch.core.flops import layer_flops
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Evaluated, SampleScore, Task, Work

DEPTHS: Mapping[str, float] = {"early": 0.35, "midway": 0.6, "late": 0.85}
"""Where the middle sample has read its image, as a share of the depth, by name."""

_SHARE = 0.35
"""Share of its vision tokens that the middle sample needs until then."""

_SPREAD = 0.15
"""Standard deviation of that depth among samples."""


@dataclass(frozen=True)
class Answers:
    """What samples need, and whether the full model answers them.

    A sample needs a share of its vision tokens down to the layer by which it has read them, and
    next to none below; one in ten needs no vision. Of those that the full model misses every
    fourth is answered once its distractor is removed.

    Attributes:
        needs: Tokens that each layer must keep, shape (samples, layers).
        right: Whether the full model answers, shape (samples,).
        distractors: Tokens below which a layer has lost what misled the model, shape (samples,
            layers); 0 for none.
    """

    needs: np.ndarray
    right: np.ndarray
    distractors: np.ndarray

    @classmethod
    def draw(cls, subject: Subject, fall: float, full_score: float, seed: int = 0) -> "Answers":
        """Draw them.

        Args:
            subject: Whose samples.
            fall: As in `DEPTHS`.
            full_score: Share of the samples that the full model answers.
            seed: Of all draws.
        """
        rng, samples, layers = np.random.default_rng(seed), len(subject.ids), subject.shape.layers
        depths = np.arange(layers) / max(1, layers - 1)
        n_vision = np.array([one.n_vision for one in subject.tokens])
        shares = rng.normal(_SHARE, 0.1, samples).clip(0.02, 1)
        shares[rng.random(samples) < 0.1] = 0.0
        reads = depths < rng.normal(fall, _SPREAD, samples)[:, None]
        needs = (n_vision * shares)[:, None] * np.where(reads, 1.0, 0.1)
        right = np.zeros(samples, dtype=bool)
        right[rng.permutation(samples)[: round(samples * full_score)]] = True
        misled = ~right & (rng.random(samples) < 0.25)
        levels = np.where(misled, rng.uniform(0.3, 1.2, samples), 0.0)
        distractors = np.outer(n_vision * _SHARE * levels, depths < fall)
        return cls(needs, right, distractors)

    def found(self, places: list[int], counts: np.ndarray) -> np.ndarray:
        """Whether samples are answered with these counts, shape (samples, layers)."""
        fits = (counts >= self.needs[places]).all(axis=1)
        freed = (counts < self.distractors[places]).any(axis=1)
        return np.where(self.right[places], fits, fits & freed)


class StandIn:
    """A worker that knows the answers without a model, and what they would have cost.

    Args:
        subject: What is searched.
        answers: Of its samples.
        reuse: Whether a task goes on from the layers that the latest one on the same samples kept.
    """

    def __init__(self, subject: Subject, answers: Answers, reuse: bool) -> None:
        self._subject = subject
        self._answers = answers
        self._reuse = reuse
        self._places = {name: place for place, name in enumerate(subject.ids)}
        self._kept: dict[tuple[str, ...], tuple[float, ...]] = {}
        self._high, self._low = span(subject)

    def evaluate(self, task: Task) -> Evaluated:
        """Score the samples of a task."""
        places = [self._places[name] for name in task.sample_ids]
        tokens = [self._subject.tokens[place] for place in places]
        counts = {n: task.schedule.counts(n) for n in self._subject.n_visions}
        found = self._answers.found(places, np.array([counts[one.n_vision] for one in tokens]))
        values = np.where(found, self._high, self._low).tolist()
        begin = self._goes_on_from(task)
        flops = sum(
            samples * layer_flops(self._subject.shape, count + one.n_text)
            for one, samples in Counter(tokens).items()
            for count in counts[one.n_vision][begin:]
        )
        return Evaluated(tuple(map(SampleScore, task.sample_ids, values)), work=Work(flops))

    def metric_identity(self) -> Any:
        """What the metric is."""
        return self._subject.context.get("metric", {})

    def _goes_on_from(self, task: Task) -> int:
        """The first layer that is not known from before."""
        if not self._reuse:
            return 0
        keep, kept = task.schedule.keep, self._kept.get(task.sample_ids, ())
        self._kept[task.sample_ids] = keep[: min(task.shared, len(keep) - 1)]
        return len(kept) if keep[: len(kept)] == kept else 0


def span(subject: Subject) -> tuple[float, float]:
    """Scores of a sample that is answered and of one that is not."""
    high = subject.greatest if np.isfinite(subject.greatest) else 0.0
    return high, max(subject.least, high - 1.0)


def full_flops(subject: Subject) -> int:
    """FLOPs of one full pass over the samples, as `StandIn` counts them."""
    return sum(
        subject.shape.layers * layer_flops(subject.shape, one.n_vision + one.n_text)
        for one in subject.tokens
    )

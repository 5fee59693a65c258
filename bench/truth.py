"""Synthetic models of which the truth is known: what a search believes can be compared with it.

A sample is answered while every layer keeps what that sample needs there: a share of a curve like
the one published for LLaVA-1.5-7B, with an error of its own in every layer. The full model errs.
Where vision tokens are removed some answers change at random, for better as often as for worse. In
a model that does not nest, every fourth of the missed samples is answered once its distractor is
removed.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from published import published

from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio, prefill_flops
from schedsearch.core.schedule import Schedule
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Evaluated, SampleScore, Task, Work
from schedsearch.evaluation.metrics.vqa_accuracy import VqaAccuracy

FIRST, TEXT, POPULATION = 2, 40, 20_000

Drops = np.ndarray
"""Full score less reduced score of each sample: -1, 0 or 1."""


@dataclass(frozen=True)
class Samples:
    """What samples need, and whether the full model answers them.

    Attributes:
        needs: Tokens that each layer must keep, shape (samples, layers).
        right: Whether the full model answers, shape (samples,).
        distractors: Tokens below which a layer has lost what misled the model; 0 for none.
        purpose: What they were drawn for.
        start: Place of the first among all that were drawn together.
    """

    needs: np.ndarray
    right: np.ndarray
    distractors: np.ndarray
    purpose: int
    start: int = 0

    def structural(self, counts: Sequence[int]) -> np.ndarray:
        """Whether each sample is answered, but for random changes."""
        fits = (self.needs <= counts).all(axis=1)
        freed = (self.distractors > counts).any(axis=1)
        return np.where(self.right, fits, fits & freed)

    def part(self, start: int, stop: int) -> "Samples":
        """Some of the samples."""
        needs, right = self.needs[start:stop], self.right[start:stop]
        return Samples(needs, right, self.distractors[start:stop], self.purpose, self.start + start)

    def __len__(self) -> int:
        return len(self.right)


@dataclass(frozen=True)
class Model:
    """A model that is searched.

    Attributes:
        layers: Its depth.
        full_score: Share of the samples that keep-all answers.
        rate: Share of the answers that change at random.
        nested: Whether keeping more is never worse but for these.
        seed: Of all draws.
        n_max: Vision tokens of every sample.
        plain: Whether vision is needed in the layers before `FIRST` only.
    """

    layers: int
    full_score: float
    rate: float
    nested: bool
    seed: int
    n_max: int = 64
    plain: bool = False

    def draw(self, samples: int, purpose: int) -> Samples:
        """Samples for a purpose; different ones for another."""
        model = np.random.default_rng([self.seed, self.layers])
        curve = np.array(published(self.layers)) ** model.uniform(0.7, 1.5)
        curve *= self.n_max * model.uniform(0.6, 1.0) * (not self.plain)
        rng = np.random.default_rng([self.seed, self.layers, purpose])
        shares = rng.normal(0.7, 0.15, samples).clip(0.05, 1.05)
        shares[rng.random(samples) < 0.1] = 0.0
        own = 1 + 0.15 * rng.standard_normal((samples, self.layers))
        needs = np.ceil(np.clip(curve * shares[:, None] * own, 0, self.n_max))
        needs[:, :FIRST] = 0
        right = rng.random(samples) < self.full_score
        misled = ~right & (rng.random(samples) < 0.25) & (not self.nested)
        levels = np.where(misled, rng.uniform(0.3, 1.2, samples), 0.0)
        return Samples(needs, right, curve * levels[:, None], purpose)

    @property
    def changes(self) -> tuple[float, float]:
        """Probabilities that an answer is lost and that one is found, at random."""
        wrong = 1 - self.full_score
        rate = min(self.rate, 2 * wrong)
        return rate / 2 / self.full_score, rate / 2 / wrong if wrong else 0.0

    def drops(self, samples: Samples, schedule: Schedule) -> Drops:
        """Drops of samples under a schedule."""
        found, right = samples.structural(schedule.counts(self.n_max)), samples.right
        toss, (lost, gained) = self.changed(samples, schedule), self.changes
        found = np.where(right, found & (toss >= lost), found | (toss < gained))
        return right.astype(int) - found

    def changed(self, samples: Samples, schedule: Schedule) -> np.ndarray:
        """A number from 0 to 1 for each sample: below a rate, that share of the answers changes.

        The same schedule changes the same answers, those of a part as among all; one that removes
        nothing changes none.
        """
        counts = schedule.counts(self.n_max)
        if min(counts) == self.n_max:
            return np.ones(len(samples))
        place = zlib.crc32(str(counts).encode())
        rng = np.random.default_rng([self.seed, place, samples.purpose])
        return rng.random(samples.start + len(samples))[samples.start :]

    @cached_property
    def population(self) -> Samples:
        """All samples that there are, as good as."""
        return self.draw(POPULATION, 0)

    def true_drop(self, schedule: Schedule) -> float:
        """Mean drop over the population, with the random changes in closed form."""
        counts, population = schedule.counts(self.n_max), self.population
        if min(counts) == self.n_max:
            return 0.0
        found, right = population.structural(counts), population.right
        lost, gained = self.changes
        kept, missed = float((right & found).mean()), float((~right & ~found).mean())
        return float(right.mean() - found.mean()) + lost * kept - gained * missed

    @property
    def shape(self) -> DecoderShape:
        """The decoder."""
        return DecoderShape(self.layers, 512, 8, 8, 64, 1376, 32064)

    def ratio(self, schedule: Schedule) -> float:
        """FLOPs ratio."""
        return flops_ratio(self.shape, schedule, (SampleTokens(self.n_max, TEXT),))


class Reworded(Model):
    """A model whose answers change at random, but get neither better nor worse.

    A right answer is put in other words, a wrong one becomes another wrong one. What either is
    worth says the metric of the VQA challenges.
    """

    words = ("two", "The 2.", "three", "a dog")
    """What is said to a question whose answer is the first."""

    @property
    def changes(self) -> tuple[float, float]:
        """None: no answer is lost or found at random."""
        return 0.0, 0.0

    def answers(self, samples: Samples, schedule: Schedule) -> np.ndarray:
        """Places in `words` of what the model says, shape (samples,)."""
        found = samples.structural(schedule.counts(self.n_max))
        again = self.changed(samples, schedule) < self.rate
        said: np.ndarray = np.where(found, 0, 2) + again
        return said

    def drops(self, samples: Samples, schedule: Schedule) -> Drops:
        """Drops of samples under a schedule, by what is said."""
        metric = VqaAccuracy()
        worth = np.array([round(metric.score(one, self.words[:1])) for one in self.words])
        full = self.answers(samples, Schedule.full(self.layers))
        drops: Drops = worth[full] - worth[self.answers(samples, schedule)]
        return drops


class Target:
    """What a study searches: samples of a model, and who evaluates them."""

    def __init__(self, model: Model, samples: Samples) -> None:
        self.n_max = model.n_max
        self._model, self._samples = model, samples
        ids = tuple(f"s{i}" for i in range(len(samples)))
        self._places = {name: place for place, name in enumerate(ids)}
        one = prefill_flops(model.shape, [model.n_max] * model.layers, TEXT)
        self.subject = Subject(
            name="truth",
            digest="",
            split="calibration",
            ids=ids,
            keys=ids,
            tokens=(SampleTokens(model.n_max, TEXT),) * len(ids),
            shape=model.shape,
            target=None,
            context={},
            greatest=1.0,
            full_pass=Work(one * len(ids)),
        )

    def evaluate(self, task: Task) -> Evaluated:
        """Scores of a task; every evaluation begins at the first layer."""
        drops = self._model.drops(self._samples, task.schedule)
        places = [self._places[name] for name in task.sample_ids]
        scores = (self._samples.right[places] - drops[places]).tolist()
        counts = list(task.schedule.counts(self.n_max))
        work = Work(prefill_flops(self.subject.shape, counts, TEXT) * len(places))
        return Evaluated(tuple(map(SampleScore, task.sample_ids, map(float, scores))), work=work)

"""Every number of the training recipe, and what follows from them at a given step."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schedsearch.core.sample import Split
from schedsearch.demo.questions import MAX_HOPS, kinds
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.errors import InputError

if TYPE_CHECKING:
    from schedsearch.demo.learner import Learner

IMAGE_SIZE = 64
LAYERS = 8
KINDS = kinds(MAX_HOPS)

_LOOKUPS = ("color_at", "thing_at", "color_of", "where")


def _weights(**by_kind: float) -> tuple[float, ...]:
    return tuple(by_kind.get(kind, 1.0) for kind in KINDS)


@dataclass(frozen=True)
class Phase:
    """How often each kind is asked (one weight per kind) from a fraction of the stage on."""

    start: float
    weights: tuple[float, ...]


PHASES = (
    # Relations build on look-ups, so look-ups come first.
    Phase(0.0, tuple(1.0 if kind in _LOOKUPS else 0.25 for kind in KINDS)),
    Phase(
        0.075,
        _weights(
            color_at=0.5,
            thing_at=0.5,
            color_of=0.5,
            exist=2.0,
            count=2.0,
            order=1.5,
            rel_color=2.0,
            rel_thing=2.0,
            rel2_color=2.0,
            rel2_thing=2.0,
        ),
    ),
    Phase(
        0.2187,
        _weights(
            color_at=0.3,
            thing_at=0.3,
            color_of=0.3,
            where=0.7,
            exist=2.0,
            count=2.5,
            size=1.5,
            order=2.0,
            rel_color=2.5,
            rel_thing=2.5,
        ),
    ),
    # Counting is learnt last and slowest; its questions are short, so asking many costs little.
    Phase(
        0.5,
        _weights(
            color_at=0.4,
            thing_at=0.4,
            color_of=0.4,
            where=0.5,
            exist=2.0,
            count=5.0,
            size=0.7,
            order=1.5,
            rel_color=1.5,
            rel_thing=1.5,
            rel2_color=2.0,
            rel2_thing=2.0,
        ),
    ),
)


@dataclass(frozen=True)
class LearningRate:
    """Peaks for weight matrices (Muon) and everything else (AdamW), and the course over a stage.

    Linear warm-up over `warmup` steps, flat up to the fraction `hold`, then a cosine to `floor`.
    """

    matrices: float
    others: float
    warmup: int = 80
    hold: float = 0.3
    floor: float = 0.02

    def factor(self, step: int, steps: int) -> float:
        """Share of the peak at 0-based `step` of `steps`."""
        done = step / steps
        course = 1.0
        if done > self.hold:
            course = 0.5 * (1 + math.cos(math.pi * (done - self.hold) / (1 - self.hold)))
        return min(1.0, (step + 1) / self.warmup) * max(self.floor, course)


@dataclass(frozen=True)
class Run(ABC):
    """A training run; equal runs on equal machines give equal weights.

    Attributes:
        steps: Optimiser steps of all stages together.
        seed: Seeds initialisation and picks the training images.
        save_every: Steps between two states on disk.
        evaluate_every: Steps between two accuracy checks on the validation split.
    """

    steps: int
    seed: int = 0
    save_every: int = 250
    evaluate_every: int = 500

    def __post_init__(self) -> None:
        if self.steps < 20:
            raise InputError(
                f"`steps` must be at least 20, so that every stage has one, but got {self.steps}"
            )

    @abstractmethod
    def stage_steps(self) -> dict[str, int]:
        """Steps of each stage, in order."""

    @abstractmethod
    def learner(self) -> "Learner":
        """A model at the start of the run."""


@dataclass(frozen=True)
class Recipe(Run):
    """A run of the embedded models, which are trained from scratch.

    Attributes:
        shares: Shares of `steps` for tower, alignment and captions; questions get the rest.
        tower_images: Images per step while only the vision tower or the projector learns.
        images: Images per step while the decoder learns.
        questions: Questions packed after each image.
        early_answers: Positions before the last that must predict the answer too, and until which
            fraction of the questions stage: more gradient while the answer is still hard to find.
        caption_mix: Every how many steps captions return in the questions stage, and until which
            fraction of it.
        phases: Weights of the kinds over the questions stage, earliest first.
        tower_rate, align_rate, caption_rate, question_rate: Learning rates of the stages.
        validation_samples: Samples of such a check.
        hidden, layers: Width of the whole model, and depth of its decoder.
        size: Side of the images in pixels.
        hops: Largest number of look-ups that a question needs.
        grown: Start from the embedded model, with new layers in between, instead of randomly.
    """

    steps: int = 11_000
    shares: tuple[float, float, float] = (0.1773, 0.05455, 0.0409)
    tower_images: int = 24
    images: int = 8
    questions: int = 16
    early_answers: tuple[int, float] = (2, 0.75)
    caption_mix: tuple[int, float] = (4, 0.06)
    phases: tuple[Phase, ...] = PHASES
    tower_rate: LearningRate = field(default=LearningRate(6e-3, 3e-3, warmup=50, hold=0.0))
    align_rate: LearningRate = field(default=LearningRate(0.0, 5e-3, warmup=1, hold=0.0))
    caption_rate: LearningRate = field(default=LearningRate(6e-3, 2e-3))
    question_rate: LearningRate = field(default=LearningRate(6e-3, 2e-3, hold=0.2187))
    validation_samples: int = 768
    hidden: int = 128
    layers: int = LAYERS
    size: int = IMAGE_SIZE
    hops: int = 3
    grown: bool = False

    def stage_steps(self) -> dict[str, int]:
        """Steps of each stage, in order."""
        tower, align, captions = (max(1, round(share * self.steps)) for share in self.shares)
        return {
            "tower": tower,
            "align": align,
            "captions": captions,
            "questions": self.steps - tower - align - captions,
        }

    def learner(self) -> "Learner":
        """Randomly initialised by the seed, or grown."""
        from schedsearch.demo.stages import new_learner

        return new_learner(self)

    def weights(self, done: float) -> tuple[float, ...]:
        """Weights of the kinds once the fraction `done` of the questions stage has passed."""
        weights = [phase for phase in self.phases if phase.start <= done][-1].weights
        return weights[: len(kinds(self.hops))]

    def data(self, split: Split, samples: int) -> ShapesVQA:
        """The first samples of a split, with images and questions as in training."""
        return ShapesVQA(split, samples, size=self.size, hops=self.hops)


DEEP = Recipe(
    steps=3_400,
    shares=(0.103, 0.0735, 0.0003),
    caption_mix=(4, 0.0),
    phases=(
        Phase(0.0, _weights(exist=1.5, count=2.5, rel3_color=3.0, rel3_thing=3.0)),
        Phase(
            0.3,
            _weights(
                color_of=0.5,
                where=0.5,
                size=0.5,
                order=0.7,
                exist=1.5,
                count=4.0,
                rel3_color=2.5,
                rel3_thing=2.5,
            ),
        ),
    ),
    question_rate=LearningRate(4e-3, 1.5e-3, hold=0.25),
    layers=12,
    size=96,
    hops=4,
    grown=True,
)
"""12 layers, 144 vision tokens, questions of up to four look-ups."""

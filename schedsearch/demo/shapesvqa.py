"""ShapesVQA: visual questions of one to four hops, generated from (split, index, seed)."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image

from schedsearch.core.sample import Sample, Split
from schedsearch.core.shown import shown
from schedsearch.demo.generated import Numbered
from schedsearch.demo.questions import Question, ask, kinds
from schedsearch.demo.scene import Scene, arrange, render, scene_key
from schedsearch.errors import InputError

GENERATOR = "shapesvqa/1"
"""Names the rules below; a change that alters any sample must change it."""


MOST = 100_000
"""Samples of the longest set: what is known of each is held in memory."""


@dataclass(frozen=True)
class Picture:
    """Draws one sample's image when called; travels to workers as four values."""

    split: Split
    index: int
    seed: int = 0
    size: int = 64
    hops: int = 3

    def __call__(self) -> Image.Image:
        """The image, RGB, `size` x `size` pixels."""
        scene, _ = example(self.split, self.index, self.seed, self.hops)
        return render(scene, scene_key(self.split, self.index, self.seed), self.size)


@dataclass(frozen=True)
class ShapesVQA(Numbered):
    """The first `n` samples of a split: one question per image, kinds in turn.

    Attributes:
        split: Which of the five disjoint parts; training reads "train" and selects on "validation".
        n: Number of samples. A longer set begins with the samples of a shorter one.
        seed: Another draw of the same distribution.
        size: Side of the square images in pixels.
        hops: Largest number of look-ups that a question needs, 2 to 4.
    """

    generator = GENERATOR

    split: Split
    n: int
    seed: int = 0
    size: int = 64
    hops: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.n <= MOST:
            raise InputError(f"`n` must be in [1, {MOST}], but got {shown(self.n)}; choose fewer")
        scene_key(self.split, self.n - 1, self.seed)
        kinds(self.hops)

    @property
    def name(self) -> str:
        """What reports call the set."""
        return f"ShapesVQA {self.split}"

    def _sample(self, index: int) -> Sample:
        _, question = example(self.split, index, self.seed, self.hops)
        return Sample(
            id=f"{self.split}/{index:06d}"
            if not self.seed
            else f"{self.split}/{self.seed}/{index:06d}",
            question=question.text,
            answers=(question.answer,),
            images=(Picture(self.split, index, self.seed, self.size, self.hops),),
            kind=question.kind,
        )


@lru_cache(maxsize=8192)  # a sample is asked for when a set is read, hashed, drawn and encoded
def example(split: Split, index: int, seed: int = 0, hops: int = 3) -> tuple[Scene, Question]:
    """Scene and question of one evaluation sample; the index alone decides the kind."""
    offered = kinds(hops)
    rng = random.Random(scene_key(split, index, seed))
    while True:
        scene = arrange(rng)
        question = ask(scene, rng, offered[index % len(offered)])
        if question is not None:
            return scene, question


def study_sheet(
    split: Split, index: int, seed: int, questions: int, weights: Sequence[float], hops: int = 3
) -> tuple[Scene, list[Question]]:
    """Scene with many questions about it, kinds drawn by `weights` (one per kind): for training."""
    offered = kinds(hops)
    rng = random.Random(scene_key(split, index, seed))
    scene = arrange(rng)
    asked: list[Question] = []
    while len(asked) < questions:
        question = ask(scene, rng, rng.choices(offered, weights)[0])
        if question is not None:
            asked.append(question)
    return scene, asked

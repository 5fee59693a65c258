"""What the model is measured on: easy-VQA, own scenes, and both in turn."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from PIL import Image

from schedsearch.core.sample import Sample, Split
from schedsearch.core.shown import shown
from schedsearch.demo.generated import Numbered
from schedsearch.demo.questions import Question, ask, kinds
from schedsearch.demo.scene import Scene, scene_key
from schedsearch.demo.smollm2.easy_vqa import EasyImage, easy_images
from schedsearch.demo.smollm2.scenes import arrange, render
from schedsearch.errors import DataError

GENERATOR = "smollm2-scenes/1"
"""Names the rules of the own scenes; a change that alters any sample must change it."""
KINDS = kinds(2)
"""Questions of one and two look-ups."""
EASY = "easy"

Part = Literal["both", "easy-vqa", "scenes"]


@dataclass(frozen=True)
class ScenePicture:
    """Draws one own scene when called."""

    split: Split
    index: int

    def __call__(self) -> Image.Image:
        """The image, RGB, 64 x 64 pixels."""
        scene, _ = example(self.split, self.index)
        return render(scene, scene_key(self.split, self.index))


def example(split: Split, index: int) -> tuple[Scene, Question]:
    """Scene and question of one evaluation sample; the index alone decides the kind."""
    rng = random.Random(scene_key(split, index))
    while True:
        scene = arrange(rng)
        question = ask(scene, rng, KINDS[index % len(KINDS)])
        if question is not None:
            return scene, question


@dataclass(frozen=True)
class SmolLM2Data(Numbered):
    """The first `n` samples of a split, one question per image as long as there are images.

    Attributes:
        split: Which of the four disjoint parts.
        n: Number of samples. A longer set begins with the samples of a shorter one.
        part: Own scenes and easy-VQA in turn, or one of them alone.

    Raises:
        DataError: There are not so many questions.
        InputError: easy-VQA is not installed.
    """

    generator = GENERATOR

    split: Split
    n: int
    part: Part = "both"

    def __post_init__(self) -> None:
        if self.n < 1:
            raise DataError(f"`n` must be at least 1, but got {shown(self.n)}")
        if self.part != "scenes":
            most = len(_easy_rows(self.split)) * (2 if self.part == "both" else 1)
            if self.n > most:
                raise DataError(
                    f"{self.name} has {most} samples, but {shown(self.n)} were asked for; ask for "
                    "fewer"
                )

    @property
    def name(self) -> str:
        """What reports call the set."""
        called = {"both": "scenes and easy-VQA", "easy-vqa": "easy-VQA", "scenes": "scenes"}
        return f"{called[self.part]} {self.split}"

    def _sample(self, index: int) -> Sample:
        if self.part == "scenes":
            return _scene_sample(self.split, index)
        if self.part == "easy-vqa":
            return _easy_sample(self.split, index)
        of = _easy_sample if index % 2 else _scene_sample
        return of(self.split, index // 2)


def _scene_sample(split: Split, index: int) -> Sample:
    _, question = example(split, index)
    return _sample(f"{split}/scene/{index:06d}", question, ScenePicture(split, index))


def _easy_sample(split: Split, index: int) -> Sample:
    image, number = _easy_rows(split)[index]
    asked = Question(*image.questions[number], EASY)
    return _sample(f"{split}/easy-vqa/{image.number:04d}/{number}", asked, image)


def _sample(name: str, question: Question, image: Callable[[], Any]) -> Sample:
    return Sample(name, question.text, (question.answer,), (image,), question.kind)


@cache
def _easy_rows(split: Split) -> tuple[tuple[EasyImage, int], ...]:
    """Images and numbers of questions: the first one of every image, then the second ones."""
    images = easy_images(split)
    most = max(len(image.questions) for image in images)
    return tuple(
        (image, number)
        for number in range(most)
        for image in images
        if number < len(image.questions)
    )

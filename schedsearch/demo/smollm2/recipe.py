"""Every number of the training of SmolLM2's vision."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schedsearch.demo.recipe import LearningRate, Run

if TYPE_CHECKING:
    from schedsearch.demo.smollm2.learner import SmolLM2Learner


@dataclass(frozen=True)
class SmolLM2Recipe(Run):
    """Tower, projector and LoRA of rank `rank`; the decoder's own weights stay as they are.

    Attributes:
        shares: Shares of `steps` for tower and alignment; questions get the rest.
        tower_images: Images per step while only the vision tower or the projector learns.
        images: Images per step while the decoder learns.
        questions: Questions packed after each image.
        easy_share: Share of easy-VQA's images among those.
        captions: Share of the other images of which a description is asked, too.
        rank: Of LoRA beside every linear layer of the decoder; its scale is 2.
        tower_rate, align_rate: Learning rates of the first stages (`others`).
        rates: Peaks of tower, projector and LoRA while the decoder learns.
        question_rate: Course of these.
        validation_images: Images of an accuracy check, half of them easy-VQA's.
    """

    steps: int = 2_500
    save_every: int = 50
    evaluate_every: int = 250
    shares: tuple[float, float] = (0.4, 0.16)
    tower_images: int = 32
    images: int = 2
    questions: int = 10
    easy_share: float = 0.3
    captions: float = 0.15
    rank: int = 16
    tower_rate: LearningRate = field(default=LearningRate(0.0, 1.5e-3, warmup=40, hold=0.0))
    align_rate: LearningRate = field(default=LearningRate(0.0, 1.5e-3, warmup=30, hold=0.0))
    rates: tuple[float, float, float] = (1e-4, 4e-4, 1e-3)
    question_rate: LearningRate = field(
        default=LearningRate(0.0, 1e-3, warmup=20, hold=0.4, floor=0.03)
    )
    validation_images: int = 20

    def stage_steps(self) -> dict[str, int]:
        """Steps of each stage, in order."""
        tower, align = (max(1, round(share * self.steps)) for share in self.shares)
        return {"tower": tower, "align": align, "questions": self.steps - tower - align}

    def learner(self) -> "SmolLM2Learner":
        """The decoder as installed, the tower of the embedded model `demo`, a random projector."""
        from schedsearch.demo.smollm2.learner import new_learner

        return new_learner(self)

"""What training changes, stage by stage: one learner for each recipe."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor
from torch.optim import Optimizer

from schedsearch.demo.recipe import LearningRate, Run

Learning = TypeVar("Learning", bound="Learner")


@dataclass(frozen=True)
class Stage(Generic[Learning]):
    """One stage.

    Attributes:
        name: As in `Run.stage_steps`.
        rate: The course of the learning rates.
        optimizers: For what learns, each group at its peak; everything else is frozen. AdamW comes
            first: its gradients are clipped.
        begin: Runs once before the first step.
        loss: Loss of a step, from the learner, the 0-based step and the stage's number of steps.
        answers: Whether the model can answer questions by now, so that it is worth asking.
    """

    name: str
    rate: LearningRate
    optimizers: Callable[[Learning], list[Optimizer]]
    begin: Callable[[Learning], None]
    loss: Callable[[Learning, int, int], Tensor]
    answers: bool = False


class Learner(ABC):
    """A model that is being trained.

    Attributes:
        model: The model.
        recipe: Every number of the run.
    """

    model: Any
    recipe: Run

    @abstractmethod
    def stages(self) -> tuple[Stage[Any], ...]:
        """All stages in order."""

    @abstractmethod
    def weights(self) -> dict[str, dict[str, Tensor]]:
        """Everything that training changes, by part: what a state holds."""

    @abstractmethod
    def restore(self, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over what `weights` has returned."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Accuracy on the validation split by kind, overall, and with vision withdrawn early."""

    @abstractmethod
    def save(self, folder: Path, held_out: int) -> None:
        """Write the checkpoint's files and its model card, measured on `held_out` questions."""

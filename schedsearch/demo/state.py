"""The state of an unfinished training run on disk: written whole or not at all."""

import json
import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from torch.optim import Optimizer

from schedsearch.core.files import replacing
from schedsearch.core.shown import shown
from schedsearch.demo.learner import Learner
from schedsearch.demo.places import STATE
from schedsearch.errors import InputError, RunError

FORMAT = 1

# What torch.load and the look-ups below raise on cut, empty, foreign or forbidden content.
_UNREADABLE = (RuntimeError, EOFError, LookupError, TypeError, ValueError, OSError, BadZipFile)


@dataclass(frozen=True)
class Position:
    """The next step to take: number of the stage and step within it."""

    stage: int
    step: int


def save_state(
    path: Path, learner: Learner, position: Position, optimizers: Sequence[Optimizer]
) -> None:
    """Write weights, optimiser state and position; an interruption leaves the former state.

    Raises:
        RunError: If the file cannot be written.
        InputError: If another file has taken its place meanwhile.
    """
    state = {
        "format": FORMAT,
        "recipe": json.dumps(asdict(learner.recipe)),
        "stage": position.stage,
        "step": position.step,
        **learner.weights(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    try:
        with replacing(path, STATE) as part, part.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:
        raise RunError(
            f"{path}: the training state cannot be written ({error}); "
            "make room or rights for it, then run again to continue"
        ) from error


def load_state(path: Path, learner: Learner) -> tuple[Position, list[dict[str, Any]]]:
    """Restore the learner's weights; returns the position and the optimisers' states.

    Raises:
        InputError: If the file cannot be read, or holds a run of another recipe.
    """
    remedy = "delete the file to start anew, or train into another folder"
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        position = Position(int(state["stage"]), int(state["step"]))
        found, wanted = json.loads(state["recipe"]), json.loads(json.dumps(asdict(learner.recipe)))
        optimizers: list[dict[str, Any]] = list(state["optimizers"])
        if state["format"] == FORMAT and found == wanted:
            learner.restore(state)
            return position, optimizers
    except _UNREADABLE as error:
        raise InputError(
            f"{path}: the training state cannot be read ({error}); {remedy}"
        ) from error
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: this is not a training state; {remedy}") from error
    differing = ", ".join(
        f"{key}={shown(found.get(key))} there and {shown(wanted.get(key))} here"
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
    )
    raise InputError(
        f"{path}: the folder holds another run ({differing or 'another format'}); "
        f"give the same values to continue it, or {remedy}"
    )

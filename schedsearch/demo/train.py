"""Train the demo model: one resumable command, from random weights to a checkpoint folder."""

import argparse
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from torch.optim import Optimizer

from schedsearch.core.files import replacing_files
from schedsearch.demo.learner import Learner, Stage
from schedsearch.demo.places import CARD_FILE, CHECKPOINT_FOLDER, STATE_FILE, check_places
from schedsearch.demo.recipe import DEEP, Recipe, Run
from schedsearch.demo.state import Position, load_state, save_state
from schedsearch.errors import InputError, RunError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """Where a run stands; sent every 50 steps and after every evaluation.

    Attributes:
        stage: Name of the stage.
        step: Steps of the stage that are done, of `steps`.
        steps: Steps of the stage.
        done: Steps of all stages that are done, of `total`.
        total: Steps of all stages.
        loss: Mean loss since the last report.
        seconds_left: Time that the rest of this stage will take at the present speed.
        accuracy: Validation accuracy by kind, with "overall" and "withdrawn" (no vision from the
            middle layer on); empty where none was measured.
    """

    stage: str
    step: int
    steps: int
    done: int
    total: int
    loss: float
    seconds_left: float
    accuracy: dict[str, float] = field(default_factory=dict)


Report = Callable[[Progress], None]


def log_progress(progress: Progress) -> None:
    """Write progress to this module's logger."""
    log.info(
        "%s %d/%d, loss %.4f, %d s left in this stage%s",
        progress.stage,
        progress.step,
        progress.steps,
        progress.loss,
        round(progress.seconds_left),
        "".join(f", {name} {share:.3f}" for name, share in progress.accuracy.items()),
    )


def train(
    out: Path,
    *,
    steps: int = Recipe.steps,
    seed: int = Recipe.seed,
    threads: int = 1,
    report: Report = log_progress,
    recipe: Run | None = None,
    held_out: int = 4000,
    force: bool = False,
) -> Path:
    """Train, or continue an interrupted training, and write the checkpoint folder.

    Learning rates follow the share of steps done, never the clock, and every batch follows from the
    seed and the step, so an interrupted run ends with the weights of an uninterrupted one.

    Args:
        out: Folder of the run; holds the training state and, at the end, the checkpoint.
        steps: Optimiser steps of all stages together; fewer are for trying things out.
        seed: Seeds initialisation and picks the training images.
        threads: CPU threads. At this size one is several times faster than two.
        report: Called about every 50 steps.
        recipe: Replaces all numbers, `steps` and `seed` among them.
        held_out: Held-out questions for the model card.
        force: Replace files of a checkpoint folder that holds something else, too.

    Returns:
        The checkpoint folder, `out / "checkpoint"`.

    Raises:
        InputError: If a number is out of range, if the state in `out` cannot be read or belongs to
            another recipe, or if `out` cannot be written or holds something else.
        RunError: If there is no room for state or checkpoint.
    """
    if threads < 1:
        raise InputError(f"`threads` must be at least 1, but got {threads}")
    run = recipe or Recipe(steps=steps, seed=seed)
    check_places(out, force)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        learner = run_stages(run, out / STATE_FILE, report)
        folder = out / CHECKPOINT_FOLDER
        _write_checkpoint(learner, folder, held_out)
    finally:
        torch.set_num_threads(threads_before)
    return folder


def _write_checkpoint(learner: Learner, folder: Path, held_out: int) -> None:
    try:
        with replacing_files(folder, CARD_FILE) as part:
            learner.save(part, held_out)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{folder}: the checkpoint cannot be written ({error}); make room or rights for it, "
            "then run again to continue"
        ) from error


def run_stages(recipe: Run, state_file: Path, report: Report) -> Learner:
    """Train through all stages, continuing from `state_file` where it exists."""
    learner = recipe.learner()
    position = Position(stage=0, step=0)
    optimizer_states: list[dict[str, Any]] = []
    if state_file.exists():
        position, optimizer_states = load_state(state_file, learner)
    steps = list(recipe.stage_steps().values())
    for number, stage in enumerate(learner.stages()):
        if number < position.stage:
            continue
        start = position.step if number == position.stage else 0
        optimizers = stage.optimizers(learner)
        peaks = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
        if start:
            for optimizer, state in zip(optimizers, optimizer_states, strict=True):
                optimizer.load_state_dict(state)
        else:
            stage.begin(learner)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["initial_lr"] = peaks.pop(0)
        clock = _Clock(recipe, number, start, report)
        for step in range(start, steps[number]):
            loss = _step(learner, stage, optimizers, step, steps[number])
            clock.tick(stage, step, loss, learner)
            if (step + 1) % recipe.save_every == 0 and step + 1 < steps[number]:
                save_state(state_file, learner, Position(number, step + 1), optimizers)
        save_state(state_file, learner, Position(number + 1, 0), [])
    return learner


def _step(
    learner: Learner, stage: Stage[Learner], optimizers: list[Optimizer], step: int, steps: int
) -> float:
    factor = stage.rate.factor(step, steps)
    loss = stage.loss(learner, step, steps)
    loss.backward()  # type: ignore[no-untyped-call]
    # Muon's step has a fixed size, so only what AdamW moves can be thrown off by a large gradient.
    clipped = [weight for group in optimizers[0].param_groups for weight in group["params"]]
    nn.utils.clip_grad_norm_(clipped, 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()


class _Clock:
    """Gathers losses and sends reports."""

    def __init__(self, recipe: Run, number: int, start: int, report: Report) -> None:
        self.recipe, self.report, self.start = recipe, report, start
        self.steps = list(recipe.stage_steps().values())
        self.number = number
        self.began = time.monotonic()
        self.losses: list[float] = []

    def tick(self, stage: Stage[Learner], step: int, loss: float, learner: Learner) -> None:
        """Count a step; report every 50 steps, and with accuracy when that is due."""
        done, steps = step + 1, self.steps[self.number]
        self.losses.append(loss)
        is_last = done == steps
        measured = {}
        if stage.answers and (done % self.recipe.evaluate_every == 0 or is_last):
            measured = learner.validate()
        if not (measured or done % 50 == 0 or is_last):
            return
        speed = (time.monotonic() - self.began) / (done - self.start)
        self.report(
            Progress(
                stage=stage.name,
                step=done,
                steps=steps,
                done=sum(self.steps[: self.number]) + done,
                total=self.recipe.steps,
                loss=sum(self.losses) / len(self.losses),
                seconds_left=speed * (steps - done),
                accuracy=measured,
            )
        )
        self.losses.clear()


def main() -> None:
    """Command line of this module; `schedsearch demo train` is the same with a progress bar."""
    parser = argparse.ArgumentParser(prog="python -m schedsearch.demo.train", description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the run; give it again to continue")
    parser.add_argument("--deep", action="store_true", help="12 layers, 144 vision tokens")
    parser.add_argument("--steps", type=int, help="default: the recipe's")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--force", action="store_true", help="replace another checkpoint, too")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        plain = DEEP if arguments.deep else Recipe()
        recipe = replace(plain, steps=arguments.steps or plain.steps, seed=arguments.seed)
        folder = train(
            arguments.out, threads=arguments.threads, recipe=recipe, force=arguments.force
        )
    except InputError as error:
        parser.error(str(error))
    log.info("checkpoint and model card are in %s", folder)


if __name__ == "__main__":
    main()

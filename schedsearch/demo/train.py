"""Train the demo model: one resumable command, from random weights to a checkpoint folder."""

import argparse
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from schedsearch.demo.card import measure, save_checkpoint, save_results, write_card
from schedsearch.demo.evaluate import accuracy
from schedsearch.demo.recipe import DEEP, Recipe
from schedsearch.demo.stages import Learner, Stage, new_learner, stages
from schedsearch.demo.state import Position, load_state, save_state
from schedsearch.errors import InputError

STATE_FILE = "training_state.pt"
CHECKPOINT_FOLDER = "checkpoint"

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
    recipe: Recipe | None = None,
    held_out: int = 4000,
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

    Returns:
        The checkpoint folder, `out / "checkpoint"`.

    Raises:
        InputError: If a number is out of range, if the state in `out` cannot be read, or if it
            belongs to another recipe.
    """
    if threads < 1:
        raise InputError(f"`threads` must be at least 1, but got {threads}")
    recipe = recipe or Recipe(steps=steps, seed=seed)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{out}: cannot be used as a folder ({error.strerror}); name another"
        ) from error
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        learner = run_stages(recipe, out / STATE_FILE, report)
        folder = out / CHECKPOINT_FOLDER
        save_checkpoint(learner.model, folder)
        results = measure(folder, recipe, held_out)
    finally:
        torch.set_num_threads(threads_before)
    save_results(folder, results)
    write_card(folder, results)
    return folder


def run_stages(recipe: Recipe, state_file: Path, report: Report) -> Learner:
    """Train through all stages, continuing from `state_file` where it exists."""
    learner = new_learner(recipe)
    position = Position(stage=0, step=0)
    optimizer_states: list[dict[str, Any]] = []
    if state_file.exists():
        position, optimizer_states = load_state(state_file, learner)
    steps = list(recipe.stage_steps().values())
    for number, stage in enumerate(stages(recipe)):
        if number < position.stage:
            continue
        start = position.step if number == position.stage else 0
        optimizers = _optimizers(learner, stage)
        if start:
            for optimizer, state in zip(optimizers, optimizer_states, strict=True):
                optimizer.load_state_dict(state)
        else:
            stage.begin(learner)
        clock = _Clock(recipe, number, start, report)
        for step in range(start, steps[number]):
            loss = _step(learner, stage, optimizers, step, steps[number])
            clock.tick(stage, step, loss, learner)
            if (step + 1) % recipe.save_every == 0 and step + 1 < steps[number]:
                save_state(state_file, learner, Position(number, step + 1), optimizers)
        save_state(state_file, learner, Position(number + 1, 0), [])
    return learner


def _optimizers(learner: Learner, stage: Stage) -> list[Optimizer]:
    """Muon for weight matrices (arXiv 2502.16982), AdamW for the rest; everything else frozen."""
    learner.model.requires_grad_(False)
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in stage.modules(learner):
        module.requires_grad_(True)
        for name, weight in module.named_parameters():
            is_table = "embed" in name or module in (learner.model.lm_head, learner.patch_head)
            (matrices if weight.ndim == 2 and not is_table else others).append(weight)
    if not stage.rate.matrices:
        others, matrices = [*matrices, *others], []
    found: list[Optimizer] = [AdamW(others, stage.rate.others, betas=(0.9, 0.98), weight_decay=0.0)]
    if matrices:
        found.append(
            Muon(
                matrices,
                stage.rate.matrices,
                weight_decay=0.01,
                momentum=0.95,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return found


def _step(
    learner: Learner, stage: Stage, optimizers: list[Optimizer], step: int, steps: int
) -> float:
    factor = stage.rate.factor(step, steps)
    peaks = (stage.rate.others, stage.rate.matrices)
    loss = stage.loss(learner, step, steps)
    loss.backward()  # type: ignore[no-untyped-call]
    # Muon's step has a fixed size, so only what AdamW moves can be thrown off by a large gradient.
    nn.utils.clip_grad_norm_(optimizers[0].param_groups[0]["params"], 1.0)
    for optimizer, peak in zip(optimizers, peaks, strict=False):
        optimizer.param_groups[0]["lr"] = peak * factor
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()


class _Clock:
    """Gathers losses and sends reports."""

    def __init__(self, recipe: Recipe, number: int, start: int, report: Report) -> None:
        self.recipe, self.report, self.start = recipe, report, start
        self.steps = list(recipe.stage_steps().values())
        self.number = number
        self.began = time.monotonic()
        self.losses: list[float] = []

    def tick(self, stage: Stage, step: int, loss: float, learner: Learner) -> None:
        """Count a step; report every 50 steps, and with accuracy when that is due."""
        done, steps = step + 1, self.steps[self.number]
        self.losses.append(loss)
        is_last = done == steps
        decoding = stage.name in ("captions", "questions")
        measured = {}
        if decoding and (done % self.recipe.evaluate_every == 0 or is_last):
            measured = validate(learner)
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


def validate(learner: Learner) -> dict[str, float]:
    """Accuracy on the validation split by kind, overall, and without vision in the upper half."""
    samples = list(learner.recipe.data("validation", learner.recipe.validation_samples))
    full = accuracy(learner.model, samples)
    without = accuracy(learner.model, samples, withdrawn_from=learner.recipe.layers // 2)
    return {
        "overall": full.overall.share,
        "withdrawn": without.overall.share,
        **{kind: tally.share for kind, tally in full.by_kind.items()},
    }


def main() -> None:
    """Command line of this module; `schedsearch demo train` is the same with a progress bar."""
    parser = argparse.ArgumentParser(prog="python -m schedsearch.demo.train", description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the run; give it again to continue")
    parser.add_argument("--deep", action="store_true", help="12 layers, 144 vision tokens")
    parser.add_argument("--steps", type=int, help="default: the recipe's")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        plain = DEEP if arguments.deep else Recipe()
        recipe = replace(plain, steps=arguments.steps or plain.steps, seed=arguments.seed)
        folder = train(arguments.out, threads=arguments.threads, recipe=recipe)
    except InputError as error:
        parser.error(str(error))
    log.info("checkpoint and model card are in %s", folder)


if __name__ == "__main__":
    main()

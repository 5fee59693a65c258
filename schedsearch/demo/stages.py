"""The four stages of training: what learns, from which batches, by which loss.

Joint training from scratch stays near chance at this size, so each stage hands the next one a
solved part: patches that know what they show, a projector that says it in words, a decoder that can
look up a word, and at last questions. No stage drops tokens: the model must not know what reduction
is.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from schedsearch.demo.batches import (
    PATCH_CLASSES,
    answer_logits,
    caption_row,
    collate,
    patch_labels,
    patch_words,
    pixels_of,
    question_row,
)
from schedsearch.demo.model import build_model, initialise_for_lookup, patch_states
from schedsearch.demo.recipe import LearningRate, Recipe
from schedsearch.demo.scene import Scene, arrange, render, scene_key
from schedsearch.demo.shapesvqa import study_sheet

# Each stage reads its own range of training images.
_STAGE_RANGE = 1 << 40


@dataclass
class Learner:
    """What training changes: the model, and a head that only the tower's stage needs."""

    model: Any
    patch_head: nn.Linear
    recipe: Recipe


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: As in `Recipe.stage_steps`.
        rate: Learning rates and their course.
        modules: What learns; everything else is frozen.
        begin: Runs once before the first step.
        loss: Loss of a step, from the learner, the 0-based step and the stage's number of steps.
    """

    name: str
    rate: LearningRate
    modules: Callable[[Learner], list[nn.Module]]
    begin: Callable[[Learner], None]
    loss: Callable[[Learner, int, int], Tensor]


def new_learner(recipe: Recipe) -> Learner:
    """Randomly initialised by the recipe's seed."""
    model = build_model(recipe.seed, recipe.hidden, recipe.layers)
    head = nn.Linear(recipe.hidden, sum(PATCH_CLASSES))
    with torch.no_grad():
        head.weight.normal_(
            0, recipe.hidden**-0.5, generator=torch.Generator().manual_seed(recipe.seed)
        )
        head.bias.zero_()
    return Learner(model, head, recipe)


def stages(recipe: Recipe) -> tuple[Stage, ...]:
    """All stages in order."""
    return (
        Stage("tower", recipe.tower_rate, _tower_modules, _nothing, _tower_loss),
        Stage("align", recipe.align_rate, _projector, _begin_alignment, _align_loss),
        Stage("captions", recipe.caption_rate, _all_but_tower, _nothing, _caption_loss),
        Stage("questions", recipe.question_rate, _all_but_tower, _nothing, _question_loss),
    )


def _nothing(learner: Learner) -> None:
    del learner


def _tower_modules(learner: Learner) -> list[nn.Module]:
    return [learner.model.model.vision_tower, learner.patch_head]


def _projector(learner: Learner) -> list[nn.Module]:
    return [learner.model.model.multi_modal_projector]


def _all_but_tower(learner: Learner) -> list[nn.Module]:
    model = learner.model
    return [model.model.multi_modal_projector, model.model.language_model, model.lm_head]


def _scenes(learner: Learner, stage: int, step: int, count: int) -> tuple[list[Scene], Tensor]:
    """Fresh scenes of a stage's own image range and their pixels."""
    start = stage * _STAGE_RANGE + step * count
    keys = [scene_key("train", start + k, learner.recipe.seed) for k in range(count)]
    scenes = [arrange(random.Random(key)) for key in keys]
    images = [render(scene, key) for scene, key in zip(scenes, keys, strict=True)]
    return scenes, pixels_of(images)


def _tower_loss(learner: Learner, step: int, _steps: int) -> Tensor:
    """Dense supervision: every patch tells what lies in its cell and where it is."""
    scenes, pixels = _scenes(learner, 0, step, learner.recipe.tower_images)
    labels = torch.from_numpy(np.stack([patch_labels(scene) for scene in scenes]))
    logits = learner.patch_head(patch_states(learner.model, pixels)).split(PATCH_CLASSES, -1)
    losses = [
        F.cross_entropy(part.flatten(0, 1), labels[..., number].flatten())
        for number, part in enumerate(logits)
    ]
    return torch.stack(losses).sum()


@torch.no_grad()
def _begin_alignment(learner: Learner) -> None:
    model = learner.model
    initialise_for_lookup(model, torch.Generator().manual_seed(learner.recipe.seed))
    _, pixels = _scenes(learner, 1, 0, learner.recipe.tower_images)
    model.model.multi_modal_projector.linear_1.weight.div_(patch_states(model, pixels).std())


def _align_loss(learner: Learner, step: int, _steps: int) -> Tensor:
    """Distance of projected patches from the words for what they show."""
    scenes, pixels = _scenes(learner, 1, step, learner.recipe.tower_images)
    model = learner.model
    embeddings = model.model.language_model.embed_tokens.weight.detach()
    wanted = torch.stack([patch_words(scene, embeddings) for scene in scenes])
    return F.mse_loss(model.model.multi_modal_projector(patch_states(model, pixels)), wanted)


def _caption_loss(learner: Learner, step: int, _steps: int) -> Tensor:
    recipe = learner.recipe
    keys = [
        scene_key("train", 2 * _STAGE_RANGE + step * recipe.images + k, recipe.seed)
        for k in range(recipe.images)
    ]
    scenes = [arrange(random.Random(key)) for key in keys]
    images = [render(scene, key) for scene, key in zip(scenes, keys, strict=True)]
    batch = collate([caption_row(scene) for scene in scenes], images)
    return F.cross_entropy(answer_logits(learner.model, batch), batch.targets)


def _question_loss(learner: Learner, step: int, steps: int) -> Tensor:
    recipe, done = learner.recipe, step / steps
    every, until = recipe.caption_mix
    if done < until and step % every == 0:
        # Behind the images that the captions stage has used.
        return _caption_loss(learner, recipe.stage_steps()["captions"] + step, steps)
    early, early_until = recipe.early_answers
    rows, images = [], []
    for k in range(recipe.images):
        index = 3 * _STAGE_RANGE + step * recipe.images + k
        scene, questions = study_sheet(
            "train", index, recipe.seed, recipe.questions, recipe.weights(done)
        )
        ended = index % recipe.questions
        rows.append(question_row(questions, ended, early if done < early_until else 0))
        images.append(render(scene, scene_key("train", index, recipe.seed)))
    batch = collate(rows, images)
    return F.cross_entropy(answer_logits(learner.model, batch), batch.targets)

"""The four stages of training: what learns, from which batches, by which loss.

Joint training from scratch stays near chance at this size, so each stage hands the next one a
solved part: patches that know what they show, a projector that says it in words, a decoder that can
look up a word, and at last questions. No stage removes tokens: the model must not know what
reduction is.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration

from schedsearch.demo import checkpoint_path
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
from schedsearch.demo.model import (
    PATCH,
    build_model,
    grow,
    initialise_for_lookup,
    patch_states,
)
from schedsearch.demo.recipe import IMAGE_SIZE, LearningRate, Recipe
from schedsearch.demo.scene import Scene, arrange, render, scene_key
from schedsearch.demo.shapesvqa import study_sheet

# Each stage reads its own range of training images.
_STAGE_RANGE = 1 << 40


@dataclass
class Learner:
    """What training changes: the model, and a head that only the tower's stage needs.

    `source` is the embedded model from which the model has grown, if it has.
    """

    model: Any
    patch_head: nn.Linear
    recipe: Recipe
    source: Any = None


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
    model = build_model(recipe.seed, recipe.hidden, recipe.layers, recipe.size)
    source = None
    if recipe.grown:
        source = LlavaForConditionalGeneration.from_pretrained(
            checkpoint_path(), dtype=torch.float32
        )
        grow(model, source)
    head = nn.Linear(recipe.hidden, sum(PATCH_CLASSES))
    with torch.no_grad():
        head.weight.normal_(
            0, recipe.hidden**-0.5, generator=torch.Generator().manual_seed(recipe.seed)
        )
        head.bias.zero_()
    return Learner(model, head, recipe, source)


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


def _scenes(recipe: Recipe, stage: int, step: int) -> tuple[list[Scene], Tensor]:
    """Fresh scenes of a stage's own image range and their pixels."""
    count = recipe.tower_images
    start = stage * _STAGE_RANGE + step * count
    keys = [scene_key("train", start + k, recipe.seed) for k in range(count)]
    scenes = [arrange(random.Random(key)) for key in keys]
    images = [render(scene, key, recipe.size) for scene, key in zip(scenes, keys, strict=True)]
    return scenes, pixels_of(images)


def _tower_loss(learner: Learner, step: int, _steps: int) -> Tensor:
    """Dense supervision: every patch tells what lies in its cell and where it is."""
    scenes, pixels = _scenes(learner.recipe, 0, step)
    labels = torch.from_numpy(
        np.stack([patch_labels(scene, learner.recipe.size) for scene in scenes])
    )
    logits = learner.patch_head(patch_states(learner.model, pixels)).split(PATCH_CLASSES, -1)
    losses = [
        F.cross_entropy(part.flatten(0, 1), labels[..., number].flatten())
        for number, part in enumerate(logits)
    ]
    return torch.stack(losses).sum()


@torch.no_grad()
def _begin_alignment(learner: Learner) -> None:
    model = learner.model
    if learner.recipe.grown:
        return
    initialise_for_lookup(model, torch.Generator().manual_seed(learner.recipe.seed))
    _, pixels = _scenes(learner.recipe, 1, 0)
    model.model.multi_modal_projector.linear_1.weight.div_(patch_states(model, pixels).std())


def _align_loss(learner: Learner, step: int, _steps: int) -> Tensor:
    """Distance of projected patches from the words for what they show.

    A model that has grown continues another one's language: there, distance from what that one
    makes of the same scene in its own size.
    """
    recipe, model = learner.recipe, learner.model
    scenes, pixels = _scenes(recipe, 1, step)
    found = model.model.multi_modal_projector(patch_states(model, pixels))
    if learner.source is None:
        embeddings = model.model.language_model.embed_tokens.weight.detach()
        wanted = torch.stack([patch_words(scene, embeddings, recipe.size) for scene in scenes])
        return F.mse_loss(found, wanted)
    wanted = _words_of(learner.source, step, recipe)
    return F.mse_loss(found, wanted) / wanted.var()


@torch.no_grad()
def _words_of(source: Any, step: int, recipe: Recipe) -> Tensor:
    """Projected patches of the source, each repeated to fill the finer grid, (batch, n, hidden)."""
    _, pixels = _scenes(replace(recipe, size=IMAGE_SIZE), 1, step)
    words = source.model.multi_modal_projector(patch_states(source, pixels))
    side, wanted = IMAGE_SIZE // PATCH, recipe.size // PATCH
    places = (torch.arange(wanted) * 2 + 1) * side // (2 * wanted)
    grid = words.unflatten(1, (side, side))
    result: Tensor = grid[:, places][:, :, places].flatten(1, 2)
    return result


def _caption_loss(learner: Learner, step: int, _steps: int) -> Tensor:
    recipe = learner.recipe
    keys = [
        scene_key("train", 2 * _STAGE_RANGE + step * recipe.images + k, recipe.seed)
        for k in range(recipe.images)
    ]
    scenes = [arrange(random.Random(key)) for key in keys]
    images = [render(scene, key, recipe.size) for scene, key in zip(scenes, keys, strict=True)]
    batch = collate([caption_row(scene, recipe.size) for scene in scenes], images)
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
            "train", index, recipe.seed, recipe.questions, recipe.weights(done), recipe.hops
        )
        ended = index % recipe.questions
        rows.append(question_row(questions, ended, early if done < early_until else 0, recipe.size))
        images.append(render(scene, scene_key("train", index, recipe.seed), recipe.size))
    batch = collate(rows, images)
    return F.cross_entropy(answer_logits(learner.model, batch), batch.targets)

"""The four stages of training: what learns, from which batches, by which loss.

Joint training from scratch stays near chance at this size, so each stage hands the next one a
solved part: patches that know what they show, a projector that says it in words, a decoder that can
look up a word, and at last questions. No stage removes tokens: the model must not know what
reduction is.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW, Muon, Optimizer
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
from schedsearch.demo.card import measure, save_checkpoint, save_results, write_card
from schedsearch.demo.evaluate import accuracy
from schedsearch.demo.learner import Learner, Stage
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
class ShapesLearner(Learner):
    """An embedded model, and a head that only the tower's stage needs.

    `source` is the embedded model from which the model has grown, if it has.
    """

    model: Any
    patch_head: nn.Linear
    recipe: Recipe
    source: Any = None

    def stages(self) -> tuple[Stage[Any], ...]:
        """All stages in order."""
        recipe = self.recipe
        questions = recipe.question_rate
        return (
            _stage("tower", recipe.tower_rate, _tower_modules, _tower_loss),
            _stage("align", recipe.align_rate, _projector, _align_loss, _begin_alignment),
            _stage("captions", recipe.caption_rate, _all_but_tower, _caption_loss, answers=True),
            _stage("questions", questions, _all_but_tower, _question_loss, answers=True),
        )

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """Everything that training changes, by part."""
        return {"model": self.model.state_dict(), "patch_head": self.patch_head.state_dict()}

    def restore(self, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over what `weights` has returned."""
        self.model.load_state_dict(weights["model"])
        self.patch_head.load_state_dict(weights["patch_head"])

    def validate(self) -> dict[str, float]:
        """Accuracy on the validation split: overall, without vision in the upper half, by kind."""
        recipe = self.recipe
        samples = list(recipe.data("validation", recipe.validation_samples))
        full = accuracy(self.model, samples)
        without = accuracy(self.model, samples, withdrawn_from=recipe.layers // 2)
        return {
            "overall": full.overall.share,
            "withdrawn": without.overall.share,
            **{kind: tally.share for kind, tally in full.by_kind.items()},
        }

    def save(self, folder: Path, held_out: int) -> None:
        """Write the checkpoint's files and its model card."""
        save_checkpoint(self.model, folder)
        results = measure(folder, self.recipe, held_out)
        save_results(folder, results)
        write_card(folder, results)


def new_learner(recipe: Recipe) -> ShapesLearner:
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
    return ShapesLearner(model, head, recipe, source)


def _stage(
    name: str,
    rate: LearningRate,
    modules: Callable[[ShapesLearner], list[nn.Module]],
    loss: Callable[[ShapesLearner, int, int], Tensor],
    begin: Callable[[ShapesLearner], None] = lambda _learner: None,
    *,
    answers: bool = False,
) -> Stage[ShapesLearner]:
    def optimizers(learner: ShapesLearner) -> list[Optimizer]:
        return _optimizers(learner, modules(learner), rate)

    return Stage(name, rate, optimizers, begin, loss, answers)


def _optimizers(
    learner: ShapesLearner, modules: list[nn.Module], rate: LearningRate
) -> list[Optimizer]:
    """Muon for weight matrices (arXiv 2502.16982), AdamW for the rest; everything else frozen."""
    learner.model.requires_grad_(False)
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in modules:
        module.requires_grad_(True)
        for name, weight in module.named_parameters():
            is_table = "embed" in name or module in (learner.model.lm_head, learner.patch_head)
            (matrices if weight.ndim == 2 and not is_table else others).append(weight)
    if not rate.matrices:
        others, matrices = [*matrices, *others], []
    found: list[Optimizer] = [AdamW(others, rate.others, betas=(0.9, 0.98), weight_decay=0.0)]
    if matrices:
        found.append(
            Muon(
                matrices,
                rate.matrices,
                weight_decay=0.01,
                momentum=0.95,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return found


def _tower_modules(learner: ShapesLearner) -> list[nn.Module]:
    return [learner.model.model.vision_tower, learner.patch_head]


def _projector(learner: ShapesLearner) -> list[nn.Module]:
    return [learner.model.model.multi_modal_projector]


def _all_but_tower(learner: ShapesLearner) -> list[nn.Module]:
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


def _tower_loss(learner: ShapesLearner, step: int, _steps: int) -> Tensor:
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
def _begin_alignment(learner: ShapesLearner) -> None:
    model = learner.model
    if learner.recipe.grown:
        return
    initialise_for_lookup(model, torch.Generator().manual_seed(learner.recipe.seed))
    _, pixels = _scenes(learner.recipe, 1, 0)
    model.model.multi_modal_projector.linear_1.weight.div_(patch_states(model, pixels).std())


def _align_loss(learner: ShapesLearner, step: int, _steps: int) -> Tensor:
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


def _caption_loss(learner: ShapesLearner, step: int, _steps: int) -> Tensor:
    recipe = learner.recipe
    keys = [
        scene_key("train", 2 * _STAGE_RANGE + step * recipe.images + k, recipe.seed)
        for k in range(recipe.images)
    ]
    scenes = [arrange(random.Random(key)) for key in keys]
    images = [render(scene, key, recipe.size) for scene, key in zip(scenes, keys, strict=True)]
    batch = collate([caption_row(scene, recipe.size) for scene in scenes], images)
    return F.cross_entropy(answer_logits(learner.model, batch), batch.targets)


def _question_loss(learner: ShapesLearner, step: int, steps: int) -> Tensor:
    recipe, done = learner.recipe, step / steps
    every, until = recipe.caption_mix
    if done < until and step % every == 0:
        # After the images that the captions stage has used.
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

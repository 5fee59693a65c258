"""The three stages of training: patches that know what they show, words for it, and questions."""

import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW, Optimizer
from transformers import LlavaForConditionalGeneration

from schedsearch.demo import checkpoint_path
from schedsearch.demo.batches import answer_logits, pixels_of
from schedsearch.demo.learner import Learner, Stage
from schedsearch.demo.model import PATCH, patch_states
from schedsearch.demo.questions import Question, ask
from schedsearch.demo.scene import Scene, scene_key
from schedsearch.demo.smollm2 import IMAGE_SIZE
from schedsearch.demo.smollm2.adapter import inject, learnt
from schedsearch.demo.smollm2.base import build_model, build_processor
from schedsearch.demo.smollm2.data import EASY, KINDS
from schedsearch.demo.smollm2.easy_vqa import EasyImage, easy_images
from schedsearch.demo.smollm2.packing import Packer, Sheet, right_answers, together
from schedsearch.demo.smollm2.recipe import SmolLM2Recipe
from schedsearch.demo.smollm2.scenes import (
    COLORS,
    GRID,
    SHAPES,
    SIZES,
    arrange,
    arrange_one,
    covered,
    render,
)

# Colour, shape and size (0 = none), row and column of a patch's cell.
_CLASSES = (len(COLORS) + 1, len(SHAPES) + 1, len(SIZES) + 1, GRID, GRID)

# Each stage reads its own range of training images.
_STAGE_RANGE = 1 << 40


@dataclass
class SmolLM2Learner(Learner):
    """The model with LoRA beside its layers, and a head that only the tower's stage needs."""

    model: Any
    packer: Packer
    patch_head: nn.Linear
    recipe: SmolLM2Recipe

    def stages(self) -> tuple[Stage[Any], ...]:
        """All stages in order."""
        recipe = self.recipe
        return (
            Stage("tower", recipe.tower_rate, _tower_optimizers, _nothing, _tower_loss),
            Stage("align", recipe.align_rate, _align_optimizers, _nothing, _align_loss),
            Stage(
                "questions",
                recipe.question_rate,
                _question_optimizers,
                _nothing,
                _question_loss,
                answers=True,
            ),
        )

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """Everything that training changes, by part."""
        return {"model": learnt(self.model), "patch_head": self.patch_head.state_dict()}

    def restore(self, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over what `weights` has returned."""
        own = learnt(self.model)
        if own.keys() != weights["model"].keys():
            raise LookupError("it holds other weights")
        with torch.no_grad():
            for name, weight in weights["model"].items():
                own[name].copy_(weight)
        self.patch_head.load_state_dict(weights["patch_head"])

    def validate(self) -> dict[str, float]:
        """Accuracy on the validation split: easy-VQA, own scenes, these without vision, by kind."""
        count = self.recipe.validation_images // 2
        easy = [easy_sheet(image, self.recipe.questions) for image in easy_images("validation")]
        own = [scene_sheet("validation", n, self.recipe.questions) for n in range(count)]
        by_kind = right_answers(self.model, self.packer, own)
        without = right_answers(self.model, self.packer, own, withdrawn_from=5)
        public = right_answers(self.model, self.packer, easy[:count])
        return {
            "easy-VQA": together(public).share,
            "overall": together(by_kind).share,
            "withdrawn": together(without).share,
            **{kind: tally.share for kind, tally in sorted(by_kind.items())},
        }

    def save(self, folder: Path, held_out: int) -> None:
        """Write the adapter and its model card."""
        from schedsearch.demo.smollm2.card import save_adapter_and_card

        save_adapter_and_card(self, folder, held_out)


def new_learner(recipe: SmolLM2Recipe) -> SmolLM2Learner:
    """The decoder as installed, the tower of the embedded model `demo`, the rest random."""
    torch.manual_seed(recipe.seed)
    model = build_model()
    source = LlavaForConditionalGeneration.from_pretrained(checkpoint_path(), dtype=torch.float32)
    model.model.vision_tower.load_state_dict(source.model.vision_tower.state_dict())
    inject(model, recipe.rank)
    head = nn.Linear(model.config.vision_config.hidden_size, sum(_CLASSES))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return SmolLM2Learner(model.to(device), Packer(build_processor()), head.to(device), recipe)


def scene_sheet(
    split: Any, index: int, questions: int, seed: int = 0, captions: float = 0.0
) -> Sheet:
    """An own scene with different questions about it, and sometimes a description of it."""
    key = scene_key(split, index, seed)
    rng = random.Random(key)
    scene = arrange(rng)
    wanted = [*KINDS, *KINDS]
    rng.shuffle(wanted)
    asked: dict[str, Question] = {}
    if rng.random() < captions:
        things = sorted(scene.items, key=lambda item: (item.row, item.column))
        told = ", ".join(f"{item.label} at {item.cell}" for item in things)
        asked[""] = Question("describe the image .", told, "caption")
    for kind in wanted:
        question = ask(scene, rng, kind)
        if question is not None:
            asked.setdefault(question.text, question)
        if len(asked) == questions:
            break
    return Sheet(render(scene, key), tuple(asked.values()))


def easy_sheet(image: EasyImage, questions: int) -> Sheet:
    """An image of easy-VQA with its questions; of those with an open answer first, all."""
    ordered = sorted(image.questions, key=lambda pair: pair[1] in ("yes", "no"))
    asked = tuple(Question(text, answer, EASY) for text, answer in ordered[:questions])
    return Sheet(image(), asked)


def _nothing(_learner: SmolLM2Learner) -> None:
    pass


def _adam(groups: list[tuple[list[nn.Parameter], float]]) -> list[Optimizer]:
    for weights, _ in groups:
        for weight in weights:
            weight.requires_grad_(True)
    told = [{"params": weights, "lr": rate} for weights, rate in groups]
    return [AdamW(told, betas=(0.9, 0.98), weight_decay=0.0)]


def _parts(learner: SmolLM2Learner) -> tuple[list[nn.Parameter], ...]:
    """Tower, projector and LoRA, all frozen."""
    learner.model.requires_grad_(False)
    inner = learner.model.model
    lora = [weight for name, weight in inner.language_model.named_parameters() if "lora_" in name]
    return (
        list(inner.vision_tower.parameters()),
        list(inner.multi_modal_projector.parameters()),
        lora,
    )


def _tower_optimizers(learner: SmolLM2Learner) -> list[Optimizer]:
    tower, _, _ = _parts(learner)
    head = list(learner.patch_head.parameters())
    return _adam([([*tower, *head], learner.recipe.tower_rate.others)])


def _align_optimizers(learner: SmolLM2Learner) -> list[Optimizer]:
    tower, projector, _ = _parts(learner)
    rate = learner.recipe.align_rate.others
    return _adam([(tower, 0.2 * rate), (projector, rate)])


def _question_optimizers(learner: SmolLM2Learner) -> list[Optimizer]:
    return _adam(list(zip(_parts(learner), learner.recipe.rates, strict=True)))


def _scenes(learner: SmolLM2Learner, stage: int, step: int) -> tuple[list[Scene], Tensor]:
    """Fresh scenes of a stage's own image range, a third of single shapes, and their pixels."""
    recipe = learner.recipe
    start = stage * _STAGE_RANGE + step * recipe.tower_images
    keys = [scene_key("train", start + k, recipe.seed) for k in range(recipe.tower_images)]
    scenes = [(arrange_one if key % 3 == 0 else arrange)(random.Random(key)) for key in keys]
    images = [render(scene, key) for scene, key in zip(scenes, keys, strict=True)]
    return scenes, pixels_of(images).to(learner.model.device)


def _cells() -> list[tuple[int, int]]:
    """Row and column of the cell in which each patch's middle lies."""
    side = IMAGE_SIZE // PATCH
    places = [int((n + 0.5) * GRID / side) for n in range(side)]
    return [(row, column) for row in places for column in places]


def _labels(scene: Scene) -> list[tuple[int, ...]]:
    """Classes of each patch."""
    found: list[tuple[int, ...]] = []
    for number, cell in zip(covered(scene).tolist(), _cells(), strict=True):
        what = (0, 0, 0)
        if number >= 0:
            item = scene.items[number]
            what = (
                scene.colors.index(item.color) + 1,
                scene.shapes.index(item.thing) + 1,
                1 + item.big,
            )
        found.append((*what, *cell))
    return found


def _tower_loss(learner: SmolLM2Learner, step: int, _steps: int) -> Tensor:
    """Dense supervision: every patch tells what it shows and where it is; empty ones count less."""
    scenes, pixels = _scenes(learner, 0, step)
    labels = torch.tensor([_labels(scene) for scene in scenes], device=pixels.device)
    logits = learner.patch_head(patch_states(learner.model, pixels)).split(_CLASSES, -1)
    weight = torch.where(labels[..., 0] > 0, 1.0, 0.25).flatten()
    losses = [
        F.cross_entropy(part.flatten(0, 1), labels[..., number].flatten(), reduction="none")
        for number, part in enumerate(logits)
    ]
    result: Tensor = (torch.stack(losses).sum(0) * weight).sum() / weight.sum()
    return result


def _words(learner: SmolLM2Learner) -> Callable[[str], Tensor]:
    """Mean embedding of a text's tokens, as in the middle of a sentence."""
    table = learner.model.model.language_model.embed_tokens.weight.detach()

    def word(text: str) -> Tensor:
        found: Tensor = table[learner.packer.tokens(text)].mean(0)
        return found

    return word


def _align_loss(learner: SmolLM2Learner, step: int, _steps: int) -> Tensor:
    """Distance of projected patches from the decoder's own words for what they show."""
    scenes, pixels = _scenes(learner, 1, step)
    word = _words(learner)
    empty = word("\n")
    wanted, weights = [], []
    for scene in scenes:
        meanings = [
            word(f" {item.color}")
            + word(f" {item.thing}")
            + 0.6 * sum(word(f" {part}") for part in item.cell.split())
            + 0.6 * word(f" {SIZES[item.big]}")
            for item in scene.items
        ]
        shown = covered(scene).tolist()
        wanted.append(torch.stack([meanings[n] if n >= 0 else empty for n in shown]))
        weights.append([1.0 if n >= 0 else 0.1 for n in shown])
    found = learner.model.model.multi_modal_projector(patch_states(learner.model, pixels))
    weight = torch.tensor(weights, device=pixels.device)
    squares = ((found - torch.stack(wanted)) ** 2).sum(-1)
    result: Tensor = (squares * weight).sum() / weight.sum()
    return result


def _question_loss(learner: SmolLM2Learner, step: int, _steps: int) -> Tensor:
    recipe, public = learner.recipe, easy_images("train")
    sheets = []
    for k in range(recipe.images):
        index = step * recipe.images + k
        rng = random.Random(f"{recipe.seed}/{index}")
        if rng.random() < recipe.easy_share:
            sheets.append(easy_sheet(rng.choice(public), recipe.questions))
        else:
            start = 2 * _STAGE_RANGE
            sheets.append(
                scene_sheet("train", start + index, recipe.questions, recipe.seed, recipe.captions)
            )
    batch = learner.packer.batch(sheets).to(learner.model.device)
    with _precision(learner.model.device):
        logits = answer_logits(learner.model, batch)
    return F.cross_entropy(logits.float(), batch.targets)


def _precision(device: torch.device) -> AbstractContextManager[Any]:
    """Bfloat16 where the machine computes with it faster than with float32."""
    fast = ("avx512_bf16", "amx_bf16")
    if device.type == "cpu" and not any(torch.cpu.get_capabilities().get(name) for name in fast):
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)

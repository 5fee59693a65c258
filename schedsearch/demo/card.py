"""The checkpoint folder: half-precision weights, processor, measured results, model card."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, LlavaForConditionalGeneration

from schedsearch.demo.evaluate import Accuracy, Tally, accuracy
from schedsearch.demo.model import PATCH, vision_tokens
from schedsearch.demo.places import CARD_FILE, CARD_TITLE, RESULTS_FILE
from schedsearch.demo.processor import save_processor
from schedsearch.demo.recipe import IMAGE_SIZE, Recipe
from schedsearch.demo.shapesvqa import GENERATOR


@dataclass(frozen=True)
class Results:
    """What was measured on the held-out split, and the recipe's main numbers.

    Attributes:
        samples: Number of held-out questions of `full`; the others carry their own.
        full: With the sample's own image.
        blank: With a grey image: what the question alone tells.
        foreign: With another sample's image.
        withdrawn: Overall accuracy when vision is hidden from layer K on, one per K.
        steps: Optimiser steps per stage.
        seed: Seed of the run.
        notes: Lines about how the run departed from the plain recipe, and which goals it missed.
        size, hops, grown: As in the recipe.
    """

    samples: int
    full: Accuracy
    blank: Tally
    foreign: Tally
    withdrawn: tuple[Tally, ...]
    steps: dict[str, int]
    seed: int
    notes: tuple[str, ...] = ()
    size: int = IMAGE_SIZE
    hops: int = 3
    grown: bool = False


def save_checkpoint(model: Any, folder: Path) -> None:
    """Write float16 weights and everything that offline use needs beside them."""
    half = LlavaForConditionalGeneration(model.config)
    half.load_state_dict(model.state_dict())
    half.half()
    half.generation_config = GenerationConfig(
        bos_token_id=model.config.text_config.bos_token_id,
        eos_token_id=model.config.text_config.eos_token_id,
        pad_token_id=model.config.text_config.pad_token_id,
        max_new_tokens=4,
    )
    half.save_pretrained(folder)
    save_processor(folder, model.config.vision_config.image_size, PATCH)


def measure(
    folder: Path, recipe: Recipe, samples: int = 4000, notes: Sequence[str] = ()
) -> Results:
    """Held-out results of the weights as they were saved; controls use a quarter of the samples."""
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    held_out = list(recipe.data("held-out", samples))
    control = held_out[: max(1, samples // 4)]
    return Results(
        samples=samples,
        full=accuracy(model, held_out),
        blank=accuracy(model, control, vision="blank").overall,
        foreign=accuracy(model, control, vision="foreign").overall,
        withdrawn=tuple(
            accuracy(model, control, withdrawn_from=layer).overall for layer in range(recipe.layers)
        ),
        steps=recipe.stage_steps(),
        seed=recipe.seed,
        notes=tuple(notes),
        size=recipe.size,
        hops=recipe.hops,
        grown=recipe.grown,
    )


def save_results(folder: Path, results: Results) -> None:
    """Write the results as JSON, from which `write_card` can be repeated."""
    text = json.dumps(asdict(results), indent=2)
    (folder / RESULTS_FILE).write_text(text + "\n", encoding="utf-8")


def load_results(folder: Path) -> Results:
    """Read what `save_results` has written."""
    raw = json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8"))
    full = Accuracy(
        Tally(**raw["full"]["overall"]),
        {kind: Tally(**tally) for kind, tally in raw["full"]["by_kind"].items()},
    )
    return Results(
        samples=raw["samples"],
        full=full,
        blank=Tally(**raw["blank"]),
        foreign=Tally(**raw["foreign"]),
        withdrawn=tuple(Tally(**tally) for tally in raw["withdrawn"]),
        steps=raw["steps"],
        seed=raw["seed"],
        notes=tuple(raw["notes"]),
        **{name: raw[name] for name in ("size", "hops", "grown") if name in raw},
    )


def write_card(folder: Path, results: Results, tau: Sequence[float] | None = None) -> None:
    """Write the model card.

    Args:
        folder: Checkpoint folder.
        results: What was measured.
        tau: Mean Kendall tau between the vision-token rankings of layers l and l + 1, for l = 0 to
            layers - 2; None leaves the section out.
    """
    sections = [_introduction(results), _recipe(results), _accuracy(results), _vision(results)]
    if tau is not None:
        sections.append(_tau(tau))
    (folder / CARD_FILE).write_text("\n".join(sections), encoding="utf-8")


def _introduction(results: Results) -> str:
    size, hops = results.size, {2: "two", 3: "three", 4: "four"}[results.hops]
    return f"""{CARD_TITLE}

A small LLaVA that answers one-word questions about coloured shapes and digits:
{vision_tokens(size)} vision tokens from a {size}x{size} image, a CLIP tower and a Llama decoder.
It exists so that searches for keep schedules can be run, tested and compared offline; it knows
nothing else.
Data: generator `{GENERATOR}`, questions of one to {hops} look-ups. In training it never saw a
removed token. Weights are float16; the accuracy below is theirs when computing in float32.
"""


def _recipe(results: Results) -> str:
    stages = ", ".join(f"{name} {steps}" for name, steps in results.steps.items())
    total = sum(results.steps.values())
    command, start = "schedsearch demo train", []
    if results.grown:
        command += " --deep"
        start = [
            "It starts from the shallower embedded model, with new layers in between that write",
            "nothing at first (block expansion, arXiv 2401.02415).",
        ]
    lines = [
        "## Recipe",
        "",
        f"`{command}` with seed {results.seed} and {total} steps on one CPU thread.",
        *start,
        f"Steps by stage: {stages}.",
        "Muon for weight matrices, AdamW for the rest; all numbers are defaults of",
        f"`schedsearch.demo.recipe.{'DEEP' if results.grown else 'Recipe'}`.",
        *results.notes,
        "",
    ]
    return "\n".join(lines)


def _accuracy(results: Results) -> str:
    lines = [
        f"## Accuracy on {results.samples} held-out questions",
        "",
        "Exact match of the answer word; intervals are Wilson's at 95 %.",
        "",
        "| kind | accuracy | interval | questions |",
        "|---|---|---|---|",
    ]
    rows = {"all": results.full.overall, **results.full.by_kind}
    lines += [tally_row(name, tally) for name, tally in rows.items()]
    return "\n".join([*lines, ""])


def _vision(results: Results) -> str:
    lines = [
        "## What the image is worth",
        "",
        "| vision | accuracy | interval | questions |",
        "|---|---|---|---|",
        tally_row("grey image", results.blank),
        tally_row("another sample's image", results.foreign),
        *(
            tally_row(f"hidden from layer {k} on", tally)
            for k, tally in enumerate(results.withdrawn)
        ),
    ]
    return "\n".join([*lines, ""])


def tally_row(name: str, tally: Tally) -> str:
    """A row of a table: name, accuracy, interval and questions."""
    found = tally.interval()
    return f"| {name} | {found.value:.3f} | {found.low:.3f} to {found.high:.3f} | {found.n} |"


def _tau(tau: Sequence[float]) -> str:
    lines = [
        "## Agreement of token rankings between layers",
        "",
        "Mean Kendall tau between the rankings of neighbouring layers (ranker `last`), as measured",
        "by `schedsearch analyze demo` on the calibration split.",
        "",
        "| layers | tau |",
        "|---|---|",
        *(f"| {layer}, {layer + 1} | {value:.2f} |" for layer, value in enumerate(tau)),
    ]
    return "\n".join([*lines, ""])

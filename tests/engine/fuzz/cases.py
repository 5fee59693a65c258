"""What a case of the fuzz is, and how it is drawn."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch

from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.demo import checkpoint_path
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.models.adapters import adapter_for
from schedsearch.models.loading import load_model
from schedsearch.testing import AdapterContract
from schedsearch.testing.reference import Inputs
from schedsearch.testing.subject import STEPS, Subject
from tests.engine.embedded import embedded, prompt_of
from tests.engine.families import FAMILIES

DEMO, SMOLLM2 = "demo", "smollm2"
EARLY = ("diverse", "tower", "random", "uniform")
RANKERS = (
    RankerSpec("last"),
    RankerSpec("text"),
    RankerSpec("local"),
    RankerSpec.from_mapping("local", {"window": 3, "rows": "last"}),
    RankerSpec.from_mapping("random", {"seed": 7}),
    *map(RankerSpec, EARLY),
)
LAYOUTS = ("several", "middle", "first", "last", "none")
SPECIAL = 145
"""Ids from here on are placeholders and marks of images; those below are text."""


@dataclass(frozen=True)
class Case:
    """One random use of a reduced model.

    Attributes:
        seed: Draws the case, and whatever its route draws besides.
        route: How the model is called.
        family: Whose model.
        attention: Its attention implementation.
        schedule: What is dropped, and by whose order.
        rows: The prompts: name of a sample, and where its images stand.
        side: Where the batch is padded.
    """

    seed: int
    route: str
    family: str
    attention: str
    schedule: Schedule
    rows: tuple[tuple[str, str], ...]
    side: str

    def __str__(self) -> str:
        keep = " ".join(f"{ratio:.3g}" for ratio in self.schedule.keep)
        return (
            f"case {self.seed}: {self.route} on {self.family} ({self.attention}), "
            f"ranker {self.schedule.ranker}, keep {keep}, rows {self.rows}, padded {self.side}"
        )

    @property
    def generator(self) -> random.Random:
        """What a route draws from."""
        return random.Random(f"{self.seed} route")  # noqa: S311


@cache
def subject(family: str, attention: str) -> Subject:
    """A family's model and its eager twin."""
    if family == DEMO:
        return _demo(attention)
    if family == SMOLLM2:
        return _smollm2(attention)
    made = FAMILIES[family]
    members = {"build": staticmethod(made.build), "samples": staticmethod(made.samples)}
    contract = type(
        "Contract", (AdapterContract,), {**members, "vision_tokens": made.vision_tokens}
    )
    found: Subject = contract()._make(attention)
    return found


def _demo(attention: str) -> Subject:
    """The embedded model, which is trained: its attention underflows, its answers are sure."""
    questions = list(ShapesVQA("calibration", 40))[::8]
    samples = {one.question: dict(prompt_of(one)) for one in questions}
    return _trained(embedded(attention)[0], _demo_twin(), samples)


def _smollm2(attention: str) -> Subject:
    """A pretrained decoder: 30 layers, and queries that share keys."""
    from tests.engine.smollm2 import prompts_of, smollm2

    return _trained(smollm2(attention)[0], smollm2("eager", twin=True)[0], prompts_of())


def _trained(model: Any, twin: Any, samples: dict[str, dict[str, Any]]) -> Subject:
    token = model.config.image_token_id
    ids = next(iter(samples.values()))["input_ids"][0].tolist()
    text = [one for one in ids if one != token]
    answer = (text * STEPS)[: STEPS + 1]
    return Subject(model, twin, adapter_for(model), samples, (token,), answer)


@cache
def _demo_twin() -> Any:
    return load_model(checkpoint_path(), device="cpu", attention="eager")[0]


@cache
def assistant(family: str, attention: str) -> Any:
    """Another model of a family, that guesses differently."""
    from tests.engine.families import randomise

    other = "eager" if attention == "sdpa" else "sdpa"
    if family == DEMO:
        return embedded(other)[0]
    if family == SMOLLM2:
        return subject(family, other).model
    return randomise(FAMILIES[family].build(attention), seed=2)


def draw(seed: int, routes: Mapping[str, Any], only: str | None = None) -> Case:
    """The case of a seed, on a family or on any of the small ones: the same on every machine."""
    dice = random.Random(seed)  # noqa: S311
    route = dice.choice(sorted(routes))
    family = only or dice.choice([*FAMILIES, DEMO])
    attention = dice.choice(["sdpa", "sdpa", "eager"])
    made = subject(family, attention)
    ranker = dice.choice(RANKERS)
    keep = _keep(dice, made, ranker)
    count = dice.choice(routes[route].rows)
    names = [dice.choice(sorted(made.samples)) for _ in range(count)]
    layouts = _layouts(made, family, route, count)
    rows = tuple((name, dice.choice(layouts)) for name in names)
    case = Case(seed, route, family, attention, Schedule(keep, ranker), rows, "left")
    if routes[route].pads_right and not any(made.adapter.windows(made.model)):
        case = replace(case, side=dice.choice(["left", "right"]))
    return case


def _layouts(made: Subject, family: str, route: str, count: int) -> tuple[str, ...]:
    """Where images may stand.

    Every row must have some where images have a dimension of their own for the row. M-RoPE goes on
    behind a prompt that ends in a video at other positions than it gives the same text in one
    forward, reduced or not; and without images it leaves a user's own loop no offset.
    """
    if hasattr(made.adapter.trunk(made.model), "rope_deltas"):
        return ("several", "middle", "first", *(() if route == "rearranged" else ("none",)))
    if count > 1 and family in ("idefics3", "smolvlm"):
        return ("several", "middle", "first", "last")
    return LAYOUTS


def _keep(dice: random.Random, made: Subject, ranker: RankerSpec) -> tuple[float, ...]:
    first = 0 if ranker.name in EARLY else made.first
    drops = sorted(dice.sample(range(first, made.layers), dice.randint(1, 3)))
    ratios = [dice.choice([0.0, 1e-4, 0.5, 0.9999, dice.random(), dice.random()]) for _ in drops]
    ratios.sort(reverse=True)
    keep, ratio = [], 1.0
    for layer in range(made.layers):
        if layer in drops:
            ratio = ratios[drops.index(layer)]
        keep.append(ratio)
    return tuple(keep)


def prompts(case: Case) -> list[Inputs]:
    """The rows of a case, unpadded, each by itself."""
    made = subject(case.family, case.attention)
    return [laid_out(made, name, layout) for name, layout in case.rows]


def may_be_refused(case: Case) -> bool:
    """Whether there is a reason: a prompt ends in vision, or the tower says nothing of tokens."""
    made = subject(case.family, case.attention)
    ends = {int(one["input_ids"][0, -1]) for one in prompts(case)}
    silent = case.family in ("llava_next", "llava_onevision")
    return bool(ends & set(made.vision_tokens)) or (silent and case.schedule.ranker.name == "tower")


def laid_out(made: Subject, name: str, layout: str) -> Inputs:
    """A sample whose text is cut off before or behind its images, or whose images are left out."""
    sample = dict(made.samples[name])
    ids = sample["input_ids"][0]
    image = [n for n, token in enumerate(ids.tolist()) if _stands_for_images(made, token)]
    if layout in ("several", "middle"):
        columns = torch.arange(len(ids))
    elif layout == "first":
        columns = torch.arange(image[0], len(ids))
    elif layout == "last":
        columns = torch.arange(0, image[-1] + 1)
    else:
        columns = torch.tensor([n for n in range(len(ids)) if n not in image])
        sample = {key: value for key, value in sample.items() if value.shape[-1] == len(ids)}
        sample = {key: value for key, value in sample.items() if value.dim() == 2}
    return {
        key: value[:, columns] if value.shape == made.samples[name]["input_ids"].shape else value
        for key, value in sample.items()
    }


def _stands_for_images(made: Subject, token: int) -> bool:
    tiny = made.model.config.get_text_config().vocab_size == 200
    return token in made.vision_tokens or (tiny and token >= SPECIAL)

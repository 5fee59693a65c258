"""Visual question-answering tasks and small models that anyone can run offline."""

from pathlib import Path
from typing import TYPE_CHECKING

from schedsearch.core.sample import SampleSet, Split

if TYPE_CHECKING:
    from schedsearch.demo.recipe import Run

DEMO = "demo"
DEMO_DEEP = "demo-deep"
SMOLLM2 = "smollm2"
MODELS = (DEMO, DEMO_DEEP, SMOLLM2)
"""Names of the embedded models."""
DATA = (*MODELS, "smollm2-scenes", "easy-vqa")
"""Names of the sets that need no file: what each model was trained for, and parts of the last."""


def checkpoint_path(deep: bool = False) -> Path:
    """Folder of a model that ships with the package: weights, processor, model card.

    Args:
        deep: The one of 12 layers and 144 vision tokens, not that of 8 and 64.
    """
    return Path(__file__).parent / ("checkpoint-deep" if deep else "checkpoint")


def model_path(name: str) -> Path:
    """Folder of an embedded model; `smollm2` is made when it is first asked for.

    Raises:
        InputError: A package that carries its weights is not installed.
    """
    if name == SMOLLM2:
        from schedsearch.demo.smollm2.folder import model_folder

        return model_folder()
    return checkpoint_path(deep=name == DEMO_DEEP)


def recipe_of(name: str) -> "Run":
    """The training run of an embedded model."""
    from schedsearch.demo.recipe import DEEP, Recipe

    if name == SMOLLM2:
        from schedsearch.demo.smollm2.recipe import SmolLM2Recipe

        return SmolLM2Recipe()
    return DEEP if name == DEMO_DEEP else Recipe()


def open_data(name: str, split: Split, samples: int) -> SampleSet:
    """The first samples of a split of one of `DATA`.

    Raises:
        InputError: There are not so many, or the package that carries them is not installed.
    """
    if name in (DEMO, DEMO_DEEP):
        from schedsearch.demo.recipe import DEEP, Recipe

        return (DEEP if name == DEMO_DEEP else Recipe()).data(split, samples)
    from schedsearch.demo.smollm2.data import SmolLM2Data

    part = {"smollm2": "both", "smollm2-scenes": "scenes", "easy-vqa": "easy-vqa"}[name]
    return SmolLM2Data(split, samples, part)  # type: ignore[arg-type]

"""From names that users write to the objects behind them; the only place that knows the demo."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from schedsearch.core.sample import FirstSamples, SampleSet, Split
from schedsearch.errors import DataError

DEMO = "demo"
DEMO_DEEP = "demo-deep"


@dataclass(frozen=True)
class DataRef:
    """How a command names its data.

    Attributes:
        name: `demo:SPLIT` or `demo-deep:SPLIT` for the generated sets, else a JSONL file.
        limit: At most this many samples; required size for the generated set.
        images: Folder of the JSONL's images; default: the file's folder.
        folder: What the name of a file is relative to; default: the working directory.
    """

    name: str = DEMO
    limit: int | None = None
    images: Path | None = None
    folder: Path = Path()


def model_path(name: str) -> str:
    """Folder of an embedded model for its name; anything else is a hub id or a folder."""
    from schedsearch.demo import checkpoint_path

    return str(checkpoint_path(deep=name == DEMO_DEEP)) if name in (DEMO, DEMO_DEEP) else name


def open_samples(data: DataRef, default_split: Split = "held-out") -> SampleSet:
    """Open a sample set by name.

    Raises:
        DataError: The name, the file or one of its lines cannot be used.
    """
    head, _, split = data.name.partition(":")
    if head not in (DEMO, DEMO_DEEP):
        from schedsearch.engine.calibration import JsonlSet

        samples = JsonlSet(data.folder / data.name, data.images, split=default_split)
        return samples if data.limit is None else FirstSamples(samples, data.limit)
    from schedsearch.demo.recipe import DEEP, Recipe

    known = get_args(Split)
    if split and split not in known:
        allowed = " or ".join(f"{head}:{one}" for one in known)
        raise DataError(f"`{data.name}` is not a split; use {allowed}")
    recipe = DEEP if head == DEMO_DEEP else Recipe()
    return recipe.data(cast(Split, split or default_split), data.limit or 1000)


def example_schedule() -> Path:
    """The schedule for the embedded model that ships with the package."""
    from schedsearch.demo import checkpoint_path

    return checkpoint_path().parent / "example.schedule.json"


def open_model(name: str, **options: Any) -> tuple[Any, Any]:
    """Load a model and its processor by name; see `schedsearch.engine.loading.load_model`."""
    from schedsearch.engine.loading import load_model

    return load_model(model_path(name), **options)

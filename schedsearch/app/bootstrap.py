"""From names that users write to the objects behind them; the only place that knows the demo."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from schedsearch.core.reading import OnProgress, place_of
from schedsearch.core.sample import FirstSamples, SampleSet, Split
from schedsearch.core.shown import shown
from schedsearch.demo import DATA, DEMO, MODELS, model_path, open_data
from schedsearch.errors import DataError, InputError

Progress = Callable[[str], OnProgress]


def silent(_name: str) -> OnProgress:
    """Progress that nobody is told."""
    return lambda _done, _all: None


@dataclass(frozen=True)
class DataRef:
    """How a command names its data.

    Attributes:
        name: `demo:SPLIT`, `demo-deep:SPLIT`, `smollm2:SPLIT`, `smollm2-scenes:SPLIT` or
            `easy-vqa:SPLIT` for sets that come with a package, else a JSONL file.
        limit: At most this many samples; required size for the generated set.
        images: Folder of the JSONL's images; default: the file's folder.
        folder: What the name of a file is relative to; default: the working directory.
        limit_name: How the user is told of `limit`.
    """

    name: str = DEMO
    limit: int | None = None
    images: Path | None = None
    folder: Path = Path()
    limit_name: str = "--limit"


def model_place(name: str, folder: Path = Path()) -> str:
    """What to load for the name of a model: the folder of an embedded one or another, or a hub id.

    Args:
        name: `demo`, `demo-deep`, `smollm2`, a folder or a hub id.
        folder: What a path is relative to.

    Raises:
        InputError: It is a path, and there is no such folder; or it exists only in the working
            directory, which is not what it is relative to.
    """
    from schedsearch.models.model_name import looks_like_path

    if name in MODELS:
        return str(model_path(name))
    path = place_of(name)
    # Not the methods of Path, which raise for a name that is too long.
    there = os.path.exists if looks_like_path(name) else os.path.isdir
    if there(folder / path):
        return str(folder / path)
    if there(path):
        found = os.path.relpath(path, folder)
        raise InputError(
            f"`model` {name} is relative to the study file, and {folder / path} does not exist; "
            f"there is one in the working directory: write {found}"
        )
    if looks_like_path(name):
        raise InputError(
            f"`model` {name} is a path, but the folder {folder / path} does not exist; correct it"
        )
    return name


def model_elsewhere(name: str, folder: Path = Path()) -> str:
    """What other processes are to load for the name of a model: a folder has its whole path.

    Args:
        name: As for `model_place`; a folder with its whole path need not exist here.
        folder: As for `model_place`.

    Raises:
        InputError: As `model_place`.
    """
    from schedsearch.models.model_name import looks_like_path

    if name in MODELS:  # of which every process has its own
        return name
    if (path := place_of(name)).is_absolute():
        return str(path)
    place = model_place(name, folder)
    return os.path.abspath(place) if os.path.isdir(place) or looks_like_path(name) else place


def samples_elsewhere(data: SampleSet | DataRef, default_split: Split) -> SampleSet | DataRef:
    """Data for other processes: the samples of a file, which they may not have.

    Args:
        data: The set, or its name.
        default_split: As for `open_samples`.

    Raises:
        DataError: The file or one of its lines cannot be used.
    """
    if not isinstance(data, DataRef) or data.name.partition(":")[0] in DATA:
        return data
    return open_samples(data, default_split)


def open_samples(
    data: DataRef, default_split: Split = "held-out", progress: Progress | None = None
) -> SampleSet:
    """Open a sample set by name.

    Args:
        data: What the user calls it.
        default_split: Of a file, and of generated data that are named without.
        progress: Called with the name of what takes long, and its result with (done, total).

    Raises:
        DataError: The name, the file or one of its lines cannot be used, or so many samples.
    """
    head, colon, split = data.name.partition(":")
    if head not in DATA:
        from schedsearch.evaluation.data.jsonl import JsonlSet

        path = place_of(data.name, data.folder)
        samples = JsonlSet(
            path,
            data.images,
            split=default_split,
            on_progress=progress(f"reading {path.name}") if progress else None,
        )
        return samples if data.limit is None else FirstSamples(samples, data.limit)
    from schedsearch.demo.shapesvqa import MOST

    known = get_args(Split)
    if colon and split not in known:
        allowed = " or ".join(f"{head}:{one}" for one in known)
        raise DataError(f"{shown(data.name)} is not a split; use {allowed}")
    limit = data.limit or 1000
    if limit > MOST:
        raise DataError(
            f"`{data.limit_name}` must be at most {MOST} of a generated set, but got "
            f"{shown(limit)}; lower it"
        )
    return open_data(head, cast(Split, split or default_split), limit)


def example_schedule() -> Path:
    """The schedule for the embedded model that ships with the package."""
    from schedsearch.demo import checkpoint_path

    return checkpoint_path().parent / "example.schedule.json"


def open_model(name: str, folder: Path = Path(), **options: Any) -> tuple[Any, Any]:
    """Load a model and its processor by name.

    Args:
        name: As for `model_place`.
        folder: As for `model_place`.
        **options: See `schedsearch.models.loading.load_model`.

    Raises:
        InputError: There is no such model, or it cannot be loaded.
    """
    from schedsearch.models.loading import NoSuchModel, load_model

    try:
        return load_model(model_place(name, folder), **options)
    except NoSuchModel as error:
        raise NoSuchModel(folder / name, error.why) from None

"""A study on its way to a cluster: a folder of its file and all the files that it names."""

import json
import os
from pathlib import Path
from typing import Any

from schedsearch.app.bootstrap import model_elsewhere
from schedsearch.app.config import StudyConfig, check_study
from schedsearch.app.running import RAY
from schedsearch.core.reading import place_of
from schedsearch.core.sample_files import image_inside, images_of_rows, read_whole
from schedsearch.demo import DATA
from schedsearch.errors import InputError

STUDY = "study.json"
"""What the study file is called in the folder."""

_SPLITS = ("calibration", "certify", "held_out")
_WARM_STARTS = ("published", "additive")


def pack(config: StudyConfig, folder: Path, parcel: Path, **run: Any) -> None:
    """Put a study file, and what it names, into a folder.

    A model is not packed: its folder is to be found at the same path on each node.

    Args:
        config: The study file.
        folder: What its paths are relative to.
        parcel: Where they are put; a new folder.
        **run: What takes the place of keys of its section `run`; None where nothing is asked.
            Schedules are evaluated by workers on the cluster that the coordinator runs on.

    Raises:
        InputError: A file is missing or cannot be used.
    """
    content = config.model_dump(mode="json", exclude_unset=True, exclude={"search"})
    content["search"] = config.search.plain()
    content["model"] = model_elsewhere(config.model, folder)
    content["run"] = _run(content.get("run") or {}, run)
    _pack_data(content["data"], folder, parcel)
    _pack_search(content["search"], folder, parcel)
    check_study(content, config.study)
    (parcel / STUDY).write_text(json.dumps(content))


def _run(given: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Where it runs: on the cluster that has the job, which Ray tells by a variable."""
    if given.get("executor", RAY) != RAY:
        given = {}
    kept = {key: value for key, value in given.items() if key != "address"}
    return {**kept, **{k: v for k, v in asked.items() if v is not None}, "executor": RAY}


def _pack_data(data: dict[str, Any], folder: Path, parcel: Path) -> None:
    shared = place_of(data.pop("images"), folder) if data.get("images") else None
    packed: dict[Path, str] = {}
    for split in _SPLITS:
        name = data.get(split)
        if name is None or name.partition(":")[0] in DATA:
            continue
        samples = place_of(name, folder)
        if samples not in packed:
            packed[samples] = f"set-{len(packed) + 1}/samples.jsonl"
            _pack_set(samples, shared or samples.parent, parcel / packed[samples])
        data[split] = packed[samples]


def _pack_set(samples: Path, images: Path, target: Path) -> None:
    content = read_whole(samples)
    target.parent.mkdir()
    target.write_bytes(content)
    for name in images_of_rows(samples, content):
        whole = target.parent / os.path.normpath(name)
        source = image_inside(samples, images, name)
        if os.path.isabs(name) or not whole.is_relative_to(target.parent):
            raise InputError(
                f"{samples}: images must be named relative to {images} to travel, but got "
                f"{name!r:.200}; shorten the names"
            )
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(read_whole(source))


def _pack_search(search: dict[str, Any], folder: Path, parcel: Path) -> None:
    def packed(name: str, target: str) -> str:
        (parcel / target).write_bytes(read_whole(place_of(name, folder)))
        return target

    if search.get("latency") is not None:
        search["latency"] = packed(search["latency"], "latency.json")
    for number, name in enumerate(search.get("warm_start") or ()):
        if name not in _WARM_STARTS and not name.startswith("study:"):
            search["warm_start"][number] = packed(name, f"warm-start-{number}.json")

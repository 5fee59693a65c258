"""The whole model as a folder that transformers can load, made once from what is installed."""

import hashlib
import json
import logging
from pathlib import Path

import torch
from huggingface_hub import cached_assets_path

from schedsearch.core.files import replacing_files
from schedsearch.demo import SMOLLM2
from schedsearch.demo.smollm2 import adapter_folder
from schedsearch.demo.smollm2.adapter import FILE, merge
from schedsearch.demo.smollm2.base import WEIGHTS, build_model, build_processor
from schedsearch.errors import RunError

log = logging.getLogger(__name__)

_SUMS = "sums.json"
_MEGABYTES = 280


def model_folder(adapter: Path | None = None) -> Path:
    """The decoder's weights dequantised, with the adapter merged into them, in float16.

    They lie where the libraries of the hub keep what they make (`HF_HOME`, `HF_ASSETS_CACHE`), and
    are made anew when a file there is not what was written.

    Args:
        adapter: Another file of weights than the one that ships with the package.

    Raises:
        InputError: The decoder's weights are not installed.
        RunError: There is no room for the files.
    """
    file = adapter or adapter_folder() / FILE
    made_of = f"{WEIGHTS} {_sum(file)} float16"
    name = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    folder = cached_assets_path("schedsearch", SMOLLM2, name)
    if not _sound(folder):
        _write(folder, file)
    return folder


def _write(folder: Path, adapter: Path) -> None:
    log.warning("making the model %s, about %d MB, once, in %s", SMOLLM2, _MEGABYTES, folder)
    model = build_model()
    merge(model, adapter)
    try:
        with replacing_files(folder, _SUMS) as part:
            model.to(torch.float16).save_pretrained(part)
            build_processor().save_pretrained(part)
            sums = {one.name: _sum(one) for one in sorted(part.iterdir())}
            (part / _SUMS).write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"{folder}: the model cannot be written ({error}); make room there, or set HF_HOME to "
            "another folder"
        ) from error


def _sound(folder: Path) -> bool:
    """Whether every file is as it was written."""
    try:
        sums = json.loads((folder / _SUMS).read_text(encoding="utf-8"))
        return all(_sum(folder / name) == known for name, known in sums.items())
    except (OSError, ValueError, AttributeError):
        return False


def _sum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()

"""Where a training run writes: checked before anything is trained, or torch imported."""

import re
from pathlib import Path

from schedsearch.core.files import Kind, check_files, check_folder, check_target

STATE_FILE = "training_state.pt"
CHECKPOINT_FOLDER = "checkpoint"
CARD_FILE = "README.md"
RESULTS_FILE = "results.json"
CARD_TITLE = "# ShapesVQA LLaVA"
SMOLLM2_TITLE = "# SmolLM2 LLaVA"

# What torch.save makes of an open file.
STATE = Kind("a training state", re.compile(rb"\APK\x03\x04.{26}archive/", re.DOTALL))
CHECKPOINT = Kind(
    "a checkpoint of this training",
    re.compile("|".join([rf"\A{title}" for title in (CARD_TITLE, SMOLLM2_TITLE)]).encode()),
)


def check_places(out: Path, force: bool = False) -> None:
    """Refuse a folder that training could not write its results to.

    Args:
        out: Folder of the run.
        force: Replace files of a checkpoint folder that holds something else, too. A state is
            never replaced but by its own run.

    Raises:
        InputError: A place cannot be written, or holds something else.
    """
    check_folder(out)
    check_target(out / STATE_FILE, STATE)
    check_files(out / CHECKPOINT_FOLDER, CHECKPOINT, CARD_FILE, force=force)

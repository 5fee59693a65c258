"""A visual question-answering task and a small trained model that anyone can run offline."""

from pathlib import Path


def checkpoint_path() -> Path:
    """Folder of the model that ships with the package: weights, processor, model card."""
    return Path(__file__).parent / "checkpoint"

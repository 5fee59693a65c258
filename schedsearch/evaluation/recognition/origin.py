"""Whose code a module is: the user's, which is followed, or a release's, which is named."""

import hashlib
import sys
import sysconfig
from functools import cache
from importlib import metadata
from pathlib import Path

OURS = "schedsearch"
_INSTALLED = frozenset(("site-packages", "dist-packages"))
_STANDARD = tuple(Path(sysconfig.get_paths()[name]).resolve() for name in ("stdlib", "platstdlib"))


@cache
def release(module: str) -> str | None:
    """What a module was released with, version included; None for a user's own code.

    The version of Python is no part of it, nor is that of schedsearch, whose scores keep their
    meaning as long as `schedsearch.evaluation.identity.RUNTIME` does.
    """
    if module == "__main__":  # in a worker that is the file of whoever started it
        return None
    top = module.partition(".")[0]
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        # Neither a frozen module nor one that is built in has a file.
        return "python" if top in sys.stdlib_module_names else None
    path = Path(file).resolve()
    if top == OURS:
        return OURS
    if not _INSTALLED.isdisjoint(path.parts):
        return f"{top} {_version(top, path)}"
    if any(path.is_relative_to(folder) for folder in _STANDARD):
        return "python"
    return None


@cache
def _version(top: str, path: Path) -> str:
    try:
        return metadata.version(top)
    except metadata.PackageNotFoundError:
        pass
    # Slow, for it reads what every installed distribution holds.
    for distribution in metadata.packages_distributions().get(top, ()):
        return metadata.version(distribution)
    return hashlib.sha256(path.read_bytes()).hexdigest()

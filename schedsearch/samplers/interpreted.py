"""BoTorch's hypervolume criterion without its C++ kernel, for which BoTorch has no switch."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from botorch.acquisition.multi_objective import logei

from schedsearch.errors import RunError

# What BoTorch remembers of its attempt to load the kernel, and what it remembers where that failed.
_FAILED = {"_C": None, "_load_attempted": True}


@contextmanager
def interpreted() -> Iterator[None]:
    """Keep BoTorch from compiling a C++ kernel of the criterion, and from using it.

    The first criterion of a process would call the compiler, for half a minute; questions would
    then differ in the last digits from those of a machine without one. At 50 trials the kernel
    saves a tenth of a second.

    Raises:
        RunError: This release of BoTorch has no such names.
    """
    before = {name: vars(logei)[name] for name in _FAILED if name in vars(logei)}
    if missing := [name for name in _FAILED if name not in before]:
        raise RunError(
            f"BoTorch {version('botorch')} has no {' and no '.join(missing)} in {logei.__name__}, "
            f"by which its compiled kernel is left out; install botorch 0.18"
        )
    try:
        vars(logei).update(_FAILED)
        yield
    finally:
        vars(logei).update(before)

"""The command line: translates arguments and errors, nothing else. Never imports torch itself."""

import gc
import os
import shutil
import sys

from schedsearch.cli.commands import app
from schedsearch.cli.edge import ended
from schedsearch.cli.streams import make_readable, open_missing

__all__ = ["app", "main"]

_HELP_WIDTH = 80
"""Characters in which the help of every command stands whole; narrower, it would lose words."""


def main() -> None:
    """Run the command line; exit code 2 for unusable input, 1 for failed work, 130 for Ctrl-C."""
    open_missing()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")
    if shutil.get_terminal_size().columns < _HELP_WIDTH:
        os.environ.setdefault("TERMINAL_WIDTH", str(_HELP_WIDTH))
    make_readable()
    gc.set_threshold(50_000)  # or it would look at every module again and again while they load
    code = ended(app, sys.argv[1:])
    gc.freeze()  # the end of the process looks at nothing again
    sys.exit(code)

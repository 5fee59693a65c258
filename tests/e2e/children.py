"""Command lines in forked children: without the rights of root, in a folder of their own."""

import codecs
import gc
import hashlib
import io
import os
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NOBODY = 65534
_SECONDS = 30
_BROKEN = 70

# Loaded here, because the children may not read what belongs to root.
for _encoding in ("ascii", "latin-1"):
    codecs.lookup(_encoding)


@dataclass(frozen=True)
class Ended:
    """What a child left behind."""

    code: int
    out: bytes
    err: str


@contextmanager
def copied(template: Path) -> Iterator[Path]:
    """A copy of a folder whose permissions bind the children, in a place that they may enter."""
    holder = Path(tempfile.mkdtemp())
    holder.chmod(0o755)
    folder = holder / "here"
    shutil.copytree(template, folder, symlinks=True)
    own(folder)
    (folder / "unreadable").chmod(0)
    (folder / "locked").chmod(0o555)
    (folder / "hidden").chmod(0)
    try:
        yield folder
    finally:
        for name in ("locked", "hidden"):
            (folder / name).chmod(0o755)
        shutil.rmtree(holder)


def own(folder: Path) -> None:
    """Give a folder to the user that the children are."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def contents(folder: Path) -> dict[str, str]:
    """Every file of a folder with what it holds, every folder, every link."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path)] = f"link to {os.readlink(path)}"
        elif os.path.isfile(path):
            mode = path.stat().st_mode
            found[str(path)] = f"{mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        else:
            found[str(path)] = f"{path.stat().st_mode:o}"
    return found


def complaint(ended: Ended) -> str:
    """The one line on standard error of a command that was refused."""
    assert "Traceback" not in ended.err, ended.err[-3000:]
    assert ended.code in (1, 2), (ended.code, ended.err[:500], ended.out[:500])
    lines = ended.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), lines[:10]
    assert len(lines[0]) < 5000
    assert "set_int_max_str_digits" not in lines[0] and "Errno" not in lines[0], lines[0]
    assert "is not installed" not in lines[0], lines[0]
    return lines[0]


def run(
    args: Sequence[str],
    folder: Path,
    *,
    encoding: str = "utf-8",
    out: str | None = None,
    environment: Mapping[str, str] | None = None,
    before: Callable[[], object] = bool,
) -> Ended:
    """Run a command line in a folder.

    Args:
        args: Behind the name of the program.
        folder: Where.
        encoding: Of standard output and error.
        out: File that standard output goes to.
        environment: Variables that differ.
        before: Called in the child, in its folder and with all rights.
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if not child:
            streams = (out or stdout.fileno(), stderr.fileno())
            _be_child(args, folder, encoding, streams, {**(environment or {})}, before)
        _, status = os.waitpid(child, 0)
        stdout.seek(0)
        stderr.seek(0)
        return Ended(
            os.waitstatus_to_exitcode(status), stdout.read(), stderr.read().decode(encoding)
        )


def _be_child(
    args: Sequence[str],
    folder: Path,
    encoding: str,
    streams: tuple[str | int, int],
    environment: Mapping[str, str],
    before: Callable[[], object],
) -> None:
    code = _BROKEN
    out, err = streams
    try:
        gc.disable()  # which would copy every page it looks at
        signal.alarm(_SECONDS)
        warnings.simplefilter("ignore")
        os.environ.update({"COLUMNS": "200", **environment})
        os.environ.pop("SCHEDSEARCH_STORE", None)
        target = os.open(out, os.O_WRONLY) if isinstance(out, str) else out
        for new, old in ((os.open(os.devnull, os.O_RDONLY), 0), (target, 1), (err, 2)):
            os.dup2(new, old)
        # Folders that the tests run from may be closed to the child.
        os.chdir(folder)
        before()
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
        sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False), encoding=encoding)
        sys.stderr = io.TextIOWrapper(
            open(2, "wb", closefd=False), encoding=encoding, line_buffering=True
        )
        sys.argv = ["schedsearch", *args]
        from transformers.utils import logging

        from schedsearch.cli import main

        logging.disable_progress_bar()  # what main() tells it through the environment is too late

        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
        code = _BROKEN
    finally:
        os._exit(code)

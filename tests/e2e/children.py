"""Command lines in forked children: without the rights of root, in a folder of their own."""

import codecs
import gc
import hashlib
import io
import os
import pickle
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

PROGRAM = "from schedsearch.cli import main; main()"
NOBODY = 65534
_SECONDS = 30
_BROKEN = 70

# Loaded here, because the children may not read what belongs to root.
for _encoding in ("ascii", "latin-1", "idna"):
    codecs.lookup(_encoding)


@dataclass(frozen=True)
class Ended:
    """What a command line left behind."""

    code: int
    out: bytes
    err: str
    changed: tuple[str, ...] = ()
    """What is not in the folder as it was."""


@contextmanager
def copied(template: Path) -> Iterator[Path]:
    """A copy of a folder whose permissions bind the children, in a place that they may enter."""
    holder = Path(tempfile.mkdtemp())
    holder.chmod(0o755)
    folder = holder / "here"
    shutil.copytree(template, folder, symlinks=True)
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    (folder / "unreadable").chmod(0)
    (folder / "locked").chmod(0o555)
    (folder / "hidden").chmod(0)
    try:
        yield folder
    finally:
        for name in ("locked", "hidden"):
            (folder / name).chmod(0o755)
        shutil.rmtree(holder)


def contents(folder: Path) -> set[tuple[str, object]]:
    """Every file of a folder with what it holds, every folder, every link."""
    found: set[tuple[str, object]] = set()
    for path in folder.rglob("*"):
        about = path.lstat()
        what = os.readlink(path) if path.is_symlink() else ""
        if os.access(path, os.R_OK) and os.path.isfile(path):
            what = hashlib.sha256(path.read_bytes()).hexdigest()
        found.add((str(path.relative_to(folder)), (about.st_mode, about.st_ino, what)))
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


def shell(command: str, folder: Path) -> Ended:
    """Run a command line of bash in a folder, where `schedsearch` is a process of its own."""
    program = shlex.join([sys.executable, "-c", PROGRAM])
    ran = subprocess.run(
        ["bash", "-c", command.replace("schedsearch", program, 1)],
        cwd=folder,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "COLUMNS": "200"},
    )
    return Ended(ran.returncode, ran.stdout, ran.stderr.decode())


def run(args: Sequence[str], folder: Path, **options: Any) -> Ended:
    """Run a command line in a folder; see `run_all`."""
    return run_all([args], folder, **options)[0]


def run_all(
    calls: Sequence[Sequence[str]],
    folder: Path,
    *,
    encoding: str = "utf-8",
    out: str | None = None,
    environment: Mapping[str, str] | None = None,
    before: Callable[[], object] = bool,
) -> list[Ended]:
    """Run command lines in a folder, one after the other in the same child.

    Args:
        calls: Each without the name of the program.
        folder: Where.
        encoding: Of standard output and error.
        out: File that standard output goes to.
        environment: Variables that differ.
        before: Called in the child, in its folder and with all rights.

    Returns:
        What each left behind; fewer where one has ended the child.
    """
    with (
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
        tempfile.TemporaryFile() as results,
    ):
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if not child:
            try:
                target = os.open(out, os.O_WRONLY) if out else stdout.fileno()
                _prepare(folder, (target, stderr.fileno()), environment or {}, before)
                for args in calls:
                    pickle.dump(_ended(args, folder, encoding), results)
                    results.flush()
            except BaseException:
                os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
            finally:
                os._exit(_BROKEN)
        _, status = os.waitpid(child, 0)
        ended = list(_loaded(results))
        if len(ended) < len(calls):
            stderr.seek(0)
            code = os.waitstatus_to_exitcode(status)
            ended.append(Ended(code, b"", stderr.read().decode(encoding, "replace")))
        return ended


def _loaded(results: IO[bytes]) -> Iterator[Ended]:
    results.seek(0)
    while True:
        try:
            yield pickle.load(results)  # noqa: S301 - written by the child
        except EOFError:
            return


def _prepare(
    folder: Path,
    streams: tuple[int, int],
    environment: Mapping[str, str],
    before: Callable[[], object],
) -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()  # what main() tells it through the environment is too late
    gc.disable()  # it would copy every page that it looks at
    warnings.simplefilter("ignore")
    if torch := sys.modules.get(
        "torch"
    ):  # its threads do not survive a fork, and it waits for them
        torch.set_num_threads(1)
    os.environ.update({"COLUMNS": "200", **environment})
    os.environ.pop("SCHEDSEARCH_STORE", None)
    for new, old in ((os.open(os.devnull, os.O_RDONLY), 0), (streams[0], 1), (streams[1], 2)):
        os.dup2(new, old)
    os.chdir(folder)
    before()
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def _ended(args: Sequence[str], folder: Path, encoding: str) -> Ended:
    from schedsearch.cli import main

    signal.alarm(_SECONDS)
    there = contents(folder)
    for stream in (1, 2):
        if os.path.isfile(f"/proc/self/fd/{stream}"):
            os.ftruncate(stream, 0)
            os.lseek(stream, 0, os.SEEK_SET)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False), encoding=encoding)
    sys.stderr = io.TextIOWrapper(
        open(2, "wb", closefd=False), encoding=encoding, write_through=True
    )
    sys.argv = ["schedsearch", *args]
    code = 0
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        sys.stderr.write(traceback.format_exc())
        code = _BROKEN
    sys.stdout.flush()
    sys.stderr.flush()
    changed = tuple(sorted({name for name, _ in contents(folder) ^ there}))
    return Ended(code, _written(1), _written(2).decode(encoding), changed)


def _written(stream: int) -> bytes:
    if not os.path.isfile(f"/proc/self/fd/{stream}"):
        return b""
    return os.pread(stream, os.fstat(stream).st_size, 0)

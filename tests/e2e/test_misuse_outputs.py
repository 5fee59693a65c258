"""What commands write, and say, where output is full, narrow or in another encoding."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from itertools import product
from pathlib import Path

import pytest
import yaml

from schedsearch import Schedule
from tests.e2e.children import PROGRAM, Ended, complaint, copied, run, run_all, shell
from tests.e2e.conftest import MISUSED
from tests.e2e.misuses import LONG, commands
from tests.pace import some

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


def quick() -> list[tuple[str, ...]]:
    """Commands that print something at once, as people and as JSON."""
    store = ("--store", "store.db")
    made = [
        ("list", *store),
        ("show", "small", *store),
        ("export", "small", "new.json", *store),
        ("db", "upgrade", *store),
        ("db", "check", *store),
        ("db", "prune", "--dry-run", *store),
        ("db", "free", "small", *store),
        ("doctor",),
    ]
    return [(*one, *json) for one in made for json in ((), ("--json",))]


def helps() -> list[tuple[str, ...]]:
    return [("--version",), *((*name.split(), "--help") for name, _ in commands())]


THROUGH = [
    ("export", "small", "-", "--store", "store.db"),
    ("db", "backup", "-", "--store=store.db"),
]


PRINTING = [(one,) for one in (*quick(), *helps(), *THROUGH)]


@pytest.mark.parametrize(("args",), some(PRINTING, PRINTING[::3]), ids=" ".join)
def test_full_output_is_one_line(folder: Path, args: tuple[str, ...]) -> None:
    ended = run(args, folder, out="/dev/full")
    assert ended.code == 1
    assert "standard output cannot be written (No space left on device)" in complaint(ended)


Printed = Callable[..., Mapping[tuple[str, ...], Ended]]


@pytest.fixture(scope="module")
def printed(template: Path) -> Printed:
    """What the quick commands print with an encoding and a width."""

    @cache
    def find(encoding: str = "utf-8", width: int = 300) -> Mapping[tuple[str, ...], Ended]:
        with copied(template) as folder:
            environment = {"COLUMNS": str(width)}
            ended = run_all(quick(), folder, encoding=encoding, environment=environment)
        return dict(zip(quick(), ended, strict=True))

    return find


@pytest.mark.parametrize("encoding", some(["ascii", "latin-1", "utf-8"], ["ascii", "utf-8"]))
@pytest.mark.parametrize("args", quick(), ids=" ".join)
def test_output_is_readable_in_every_encoding(
    printed: Printed, args: tuple[str, ...], encoding: str
) -> None:
    ended = printed(encoding)[args]
    assert ended.code == 0, ended.err
    text = ended.out.decode(encoding)
    assert text.strip()
    if "--json" in args:
        json.loads(text)
    assert ("█" in text) == (args[0] == "show" and "--json" not in args and encoding == "utf-8")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.parametrize(
    ("given", "shown"), [("d\udc80", "d\\x80"), ("\udcc3\udcbc", "ü"), ("ü", "ü")]
)
def test_names_are_shown_as_the_text_that_they_are(
    folder: Path, given: str, shown: str, encoding: str
) -> None:
    if encoding == "ascii":
        shown = shown.replace("ü", "\\xfc")
    assert shown in complaint(run(("search", given), folder, encoding=encoding))
    args = ("export", "small", given, "--store", "store.db")
    ended = run(args, folder, encoding=encoding)
    assert shown in ended.out.decode(encoding)
    ended = run((*args, "--json"), folder, encoding=encoding)
    found = json.loads(ended.out.decode(encoding))["schedule"]
    assert found == shown.replace("\\xfc", "ü")


@pytest.mark.parametrize("width", some([1, 20, 40], [1]))
@pytest.mark.parametrize("args", [one for one in quick() if "--json" not in one], ids=" ".join)
def test_narrow_terminals_lose_nothing(printed: Printed, args: tuple[str, ...], width: int) -> None:
    assert letters(printed(width=width)[args].out) == letters(printed()[args].out)


def letters(out: bytes) -> list[str]:
    """Every letter and digit, in no order."""
    return sorted(one for one in out.decode() if one.isalnum())


def in_study(folder: Path, key: str, value: str) -> str:
    found = yaml.safe_load(MISUSED)
    place = found
    *path, last = key.split(".")
    for part in path:
        place = place.setdefault(part, {})
    if last == "images":
        place["calibration"] = "questions.jsonl"
    place[last] = [value] if last == "warm_start" else value
    if last in ("warm_start", "latency"):
        found["search"] |= {"sampler": "random", "budget": {"milliseconds": 9.0}}
        found["search"] = {key: found["search"][key] for key in ("sampler", "budget", last)}
        if last == "warm_start":
            found["search"]["budget"] = {"flops": 0.95}
    (folder / "other.yaml").write_text(yaml.safe_dump(found))
    return "other.yaml"


KEYS = ["model", "data.calibration", "data.images", "search.latency", "search.warm_start"]
NAMES = [
    "./none",
    "./unreadable",
    "/dev/zero",
    "./loop",
    LONG,
    f"./{LONG}",
    "~nobody-here/x",
    "a\0b",
]


@pytest.mark.parametrize(
    ("key", "value"),
    # In the fast part each value with one key or two, each key with some values.
    some(product(KEYS, NAMES), [*zip(KEYS * 3, NAMES * 2, strict=False)]),
)
def test_names_inside_a_study_file(folder: Path, key: str, value: str) -> None:
    ended = run(("search", in_study(folder, key, value), "--store", "new.db"), folder)
    complaint(ended)


@pytest.mark.parametrize("args", [("search", "study.yaml"), ("list",), ("export", "small")])
def test_working_directory_that_is_gone_is_one_line(folder: Path, args: tuple[str, ...]) -> None:
    gone = folder / "gone"
    gone.mkdir()
    complaint(run(args, gone, before=gone.rmdir))


@pytest.mark.parametrize(
    "args", some(["demo eval -n 4", "doctor", "profile demo", "db check"], ["demo eval -n 4"])
)
def test_working_directory_that_is_gone_is_said_before_torch_is_imported(
    tmp_path: Path, args: str
) -> None:
    gone = "mkdir gone && cd gone && rmdir ../gone &&"
    said = complaint(shell(f"{gone} schedsearch {args}", tmp_path))
    assert said == "error: the working directory is gone; change to one that exists"
    assert shell(f"{gone} schedsearch --version", tmp_path).code == 0


def test_a_pipe_that_is_closed_ends_a_command_quietly() -> None:
    ran = subprocess.run(
        ["bash", "-c", f"{sys.executable} -c '{PROGRAM}' --help | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
    )
    assert ran.stderr == ""
    assert ran.stdout.strip() in ("0", "1")  # 0: all was written before the pipe was closed


@pytest.mark.parametrize("unbuffered", some(["", "1"], [""]))
def test_full_output_leaves_nothing_to_say_at_the_end(unbuffered: str) -> None:
    ran = subprocess.run(
        ["bash", "-c", f"{sys.executable} -c '{PROGRAM}' --help > /dev/full"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1 and "No space left on device" in ran.stderr


@pytest.mark.parametrize(
    ("command", "unbuffered"),
    some(
        product(["export small -", "export small /dev/fd/1", "db backup -"], ["", "1"]),
        [("export small -", ""), ("db backup -", "1")],
    ),
)
def test_output_that_nobody_reads_ends_a_command_quietly(
    folder: Path, command: str, unbuffered: str
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split(), "--store", "store.db"],
        cwd=folder,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(writer)
    assert ran.returncode == 1
    assert "error" not in ran.stderr and "Traceback" not in ran.stderr


def test_file_is_whole_where_the_output_is_full(folder: Path) -> None:
    ended = run(("export", "small", "new.json", "--store", "store.db"), folder, out="/dev/full")
    assert ended.code == 1
    assert Schedule.load(folder / "new.json").layers == 8


def test_interrupted_command_is_one_line(folder: Path) -> None:
    def interrupt() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGVTALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.5)

    ended = run(("demo", "eval", "-n", "4000"), folder, before=interrupt)
    assert (ended.code, ended.err) == (130, "error: interrupted\n")

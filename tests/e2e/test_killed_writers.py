"""A command that is killed while it writes leaves each file old, new or absent.

A child is forked from a process that has imported everything. It kills itself as it comes to an
event of the file system below the folder of its results (opening for writing, renaming, removing,
making folders), drawn among those of an undisturbed run. `make test-kills` draws more, and kills at
random times too.
"""

import csv
import io
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
import typing
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import UnionType

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from transformers import LlavaForConditionalGeneration

import schedsearch.app.analyze
import schedsearch.app.apply
import schedsearch.app.compare
import schedsearch.app.compare_families
import schedsearch.app.open
import schedsearch.app.plots
import schedsearch.app.profile
import schedsearch.demo.stages
import schedsearch.evaluation.attention.statistics
import schedsearch.evaluation.latency.measure
from schedsearch import Schedule
from schedsearch.cli import app, main
from schedsearch.core.latency import LatencyModel
from schedsearch.core.partials import is_partial
from schedsearch.store.store import open_store
from tests.engine.embedded import embedded
from tests.integration.test_demo_training import TINY
from tests.pace import some

KILLS = int(os.environ.get("SCHEDSEARCH_KILLS", "2"))
TIMED = KILLS // 2 if KILLS > 3 else 0
SEED = 20

log = logging.getLogger(__name__)
processes = multiprocessing.get_context("fork")
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

STUDY = """
study: small
model: demo
data:
  calibration: demo:calibration
  calibration_samples: 12
  held_out: demo:held-out
  held_out_samples: 4
  certify: demo:certify
  certify_samples: 12
certify: {tolerance: 0.9}
search: {sampler: random, budget: {flops: 0.8}, trials: 2}
"""


@dataclass(frozen=True)
class Writer:
    """A command that writes files.

    Attributes:
        words: What is typed, in a folder with study.yaml and its store s.db.
        place: Parameter that says where it writes.
        files: What it writes below `out`.
        once: Whether it refuses what it has written before.
    """

    words: tuple[str, ...]
    place: str
    files: frozenset[str]
    once: bool = False


CHECKPOINT = (
    "README.md",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "processor_config.json",
    "results.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
WRITERS = {
    "export": Writer(("small", "out/s.json", "--store", "s.db"), "out", frozenset({"s.json"})),
    "certify": Writer(
        ("study.yaml", "--store", "s.db", "--out", "out/c.json"), "out", frozenset({"c.json"})
    ),
    "report": Writer(
        ("study.yaml", "--store", "s.db", "--out", "out"),
        "out",
        frozenset(
            ("schedule.json", "schedule.png", "frontier.png", "trials.csv")
            + ("report.html", "report.md")
        ),
    ),
    "compare": Writer(
        ("study.yaml", "--store", "s.db", "--out", "out", "--trials", "1", "--budget", "flops:0.8"),
        "out",
        frozenset({"compare.json", "compare.png", "compare.md"}),
    ),
    "profile": Writer(
        ("demo", "-n", "2", "--repeats", "1", "--out", "out/latency.json"),
        "out",
        frozenset({"latency.json", "latency.png"}),
    ),
    "analyze": Writer(
        ("demo", "-n", "4", "--schedules", "0", "--out", "out/analysis.png"),
        "out",
        frozenset({"analysis.png"}),
    ),
    "demo run": Writer(("-n", "4", "--out", "out"), "out", frozenset({"schedule.png"})),
    "demo train": Writer(
        ("out", "--steps", str(TINY.steps), "--seed", str(TINY.seed)),
        "out",
        frozenset({"training_state.pt", *(f"checkpoint/{name}" for name in CHECKPOINT)}),
    ),
    "db backup": Writer(("out/c.db", "--store", "s.db"), "file", frozenset({"c.db"}), once=True),
}
READS = {
    ("plan", "file"),
    ("submit", "file"),
    ("search", "file"),
    ("certify", "file"),
    ("exhibit", "file"),
    ("report", "file"),
    ("compare", "file"),
    ("apply", "schedule"),
    ("apply", "images"),
    ("analyze", "images"),
    ("profile", "images"),
    ("serve", "folder"),  # what is killed there: test_service.py and the tests of uploads
}


def commands(group=app, *before: str) -> Iterator[tuple[str, Callable[..., None]]]:
    for one in group.registered_commands:
        name = one.name or one.callback.__name__.replace("_", "-")
        yield " ".join((*before, name)), one.callback
    for one in group.registered_groups:
        yield from commands(one.typer_instance, *before, one.name or one.typer_instance.info.name)


def test_every_command_that_writes_files_is_killed_here():
    places = set()
    for name, command in commands():
        for parameter, kind in typing.get_type_hints(command).items():
            kinds = typing.get_args(kind) if isinstance(kind, UnionType) else (kind,)
            if Path in kinds or parameter == "out":
                places.add((name, parameter))
    assert places - READS == {(name, writer.place) for name, writer in WRITERS.items()}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Folder with a study that has been searched."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    embedded()
    assert ended(folder, "search", "study.yaml", "--store", "s.db") == 0
    return folder


def ended(folder: Path, *words: str, at: int = 0, after: float = 0, count: Path | None = None):
    """Exit code of a command in a child; minus the signal that killed it.

    Args:
        folder: Where it runs.
        *words: What is typed.
        at: Number of the event at which it kills itself; 0 for none.
        after: Seconds after which it is killed; 0 for never.
        count: File for the number of events.
    """
    child = processes.Process(target=run, args=(folder, words, at, count))
    child.start()
    child.join(after or None)
    if child.is_alive():
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    return child.exitcode


def run(folder: Path, words: tuple[str, ...], at: int, count: Path | None) -> None:
    """Life of a child."""
    os.chdir(folder)
    with open(os.devnull, "w") as nowhere, open("errors", "w") as said:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(said.fileno(), 2)
    # Torch's threads do not survive a fork, and it would wait for them.
    torch.set_num_threads(1)
    events = 0

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal events
        if changes_results(event, args):
            events += 1
            if events == at:
                os.kill(os.getpid(), signal.SIGKILL)

    schedsearch.demo.recipe.Recipe = lambda: TINY
    schedsearch.demo.stages.measure = partial(
        lambda measure, part, recipe, _samples: measure(part, recipe, 24),
        schedsearch.demo.stages.measure,
    )
    sys.argv = ["schedsearch", *words]
    sys.addaudithook(hook)
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    if count is not None:
        count.write_text(str(events))
    sys.stderr.flush()
    os._exit(code)


EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "os.link")


def changes_results(event: str, args: tuple[object, ...]) -> bool:
    if event == "open":
        if not (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            return False
    elif event not in (*EVENTS, "sqlite3.connect"):
        return False
    if not isinstance(args[0], str | bytes | os.PathLike):
        return False
    return Path(os.path.abspath(os.fsdecode(args[0]))).is_relative_to(Path.cwd() / "out")


def contents(out: Path) -> dict[str, bytes]:
    """Of all files below a folder but left-overs."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and not any(map(is_partial, (path, *path.relative_to(out).parents)))
    }


def left_overs(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if is_partial(path)]


def check(path: Path) -> None:
    """Refuse a file that is not complete."""
    if path.suffix == ".png":
        with Image.open(path) as image:
            image.load()
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
    elif path.suffix == ".csv":
        rows = list(csv.reader(io.StringIO(path.read_text("utf-8"))))
        assert len(rows) == 3 and len({len(row) for row in rows}) == 1
    elif path.suffix == ".md":
        text = path.read_text("utf-8")
        assert text.startswith("# ") and text.endswith("\n")
        if path.name == "report.md":
            assert "## Apply it" in text
    elif path.suffix == ".html":
        text = path.read_text("utf-8")
        assert text.startswith("<!doctype html>") and text.endswith("</html>")
    elif path.name == "latency.json":
        LatencyModel.load(path)
    elif path.name in ("s.json", "schedule.json"):
        Schedule.load(path)
    elif path.suffix == ".json":
        assert json.loads(path.read_text("utf-8"))
    elif path.suffix == ".safetensors":
        with safe_open(path, "pt") as weights:
            assert all(weights.get_tensor(name).isfinite().all() for name in weights.keys())  # noqa: SIM118
    elif path.suffix == ".pt":
        assert torch.load(path, weights_only=True)["model"]
    elif path.suffix == ".db":
        with open_store(path, read_only=True) as store:
            assert store.check().problems == () and len(store.trials("small")) == 2
    else:
        assert path.suffix == ".jinja" and path.read_text("utf-8").endswith("}")


@pytest.mark.parametrize(
    "name",
    some(WRITERS, [*WRITERS.keys() - {"compare", "report", "analyze", "profile", "demo run"}]),
)
def test_killed_writer_leaves_each_file_old_new_or_absent(home, tmp_path, name):
    writer, draw = WRITERS[name], random.Random(f"{SEED} {name}")
    words = (*name.split(), *writer.words)
    folder, out = tmp_path / "here", tmp_path / "here" / "out"
    shutil.copytree(home, folder)

    def undisturbed() -> tuple[int, float]:
        """Events of a run, and its seconds."""
        began, count = time.monotonic(), tmp_path / "count"
        out.mkdir(exist_ok=True)
        if writer.once:
            (out / "c.db").unlink(missing_ok=True)
        assert ended(folder, *words, count=count) == 0, (folder / "errors").read_text()
        assert contents(out).keys() == writer.files
        return int(count.read_text()), time.monotonic() - began

    anew, _ = undisturbed()
    again, lasts = undisturbed()
    assert anew > 1 and again > 1

    killed, left, seen = 0, 0, Counter(old=0, new=0, absent=0)
    for number in range(KILLS + TIMED):
        if number % 4 == 2:
            shutil.rmtree(out)
        elif number and number % 4 == 0:
            undisturbed()
        if writer.once:
            (out / "c.db").unlink(missing_ok=True)
        out.mkdir(exist_ok=True)
        before = contents(out)
        moment = {"at": draw.randint(1, again if before else anew)}
        if number >= KILLS:
            moment = {"after": draw.uniform(0.01, lasts)}
        killed += ended(folder, *words, **moment) == -signal.SIGKILL
        found = contents(out)
        assert found.keys() <= writer.files, moment
        for file in writer.files:
            if file not in found:
                assert file not in before, moment
                seen["absent"] += 1
            elif found[file] == before.get(file):
                seen["old"] += 1
            else:
                check(out / file)
                seen["new"] += 1
        left += len(left_overs(folder))
    runs = KILLS + TIMED
    log.info("%s: %d of %d killed, %d left-overs, files %s", name, killed, runs, left, dict(seen))

    assert killed >= KILLS // 2
    undisturbed()
    assert left_overs(folder) == []
    for file in writer.files:
        check(out / file)
    if name == "demo train":
        LlavaForConditionalGeneration.from_pretrained(out / "checkpoint")

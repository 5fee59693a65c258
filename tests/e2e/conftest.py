"""Running the command line in this process, as its entry point does."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from schedsearch import Schedule
from schedsearch.app.config import read_study_file
from schedsearch.app.configured import prepare
from schedsearch.cli import main
from schedsearch.cli.output import errors, output
from tests.e2e.children import copied
from tests.ports import unused_port


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]

KEEP = (1.0, 1.0, 0.8, 0.7, 0.6, 0.3, 0.1, 0.1)


@pytest.fixture
def schedule(tmp_path):
    """File of a schedule for the embedded model."""
    path = tmp_path / "schedule.json"
    Schedule(KEEP).save(path)
    return path


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens at."""
    return unused_port()


@pytest.fixture
def run(monkeypatch, capsys) -> Run:
    # Consoles fold lines at the width of a terminal that is not there.
    monkeypatch.setattr(output, "width", 200)
    monkeypatch.setattr(errors, "width", 200)

    def call(*args: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["schedsearch", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
            raise SystemExit(0)
        captured = capsys.readouterr()
        return Ran(int(ended.value.code or 0), captured.out, captured.err)

    return call


MISUSED = """
study: small
model: demo
data:
  calibration: demo:calibration
  calibration_samples: 12
  held_out: demo:held-out
  held_out_samples: 4
search: {tolerance: 1, floor: 60, first: 7}
"""


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """Files of every kind, and a store with a finished study."""
    folder: Path = tmp_path_factory.mktemp("misuse")
    (folder / "study.yaml").write_text(MISUSED)
    (folder / "unreadable").write_text(MISUSED)
    (folder / "garbage").write_bytes(bytes(range(256)))
    (folder / "wrong.jsonl").write_text('{"text": 1}\n' * 7)
    for name in ("loop", "loop.json", "loop.png"):
        (folder / name).symlink_to(name)
    for name in ("empty", "folder", "folder.json", "folder.png", "locked", "hidden"):
        (folder / name).mkdir()
    for name in ("other", "other.json", "other.png"):
        (folder / name).write_text("irreplaceable")
    Schedule(KEEP).save(folder / "schedule.json")
    Image.new("RGB", (64, 64), (200, 30, 30)).save(folder / "red.png")
    row = {"question": "what color is at a1 ?", "answer": "red", "image": "red.png"}
    (folder / "questions.jsonl").write_text(json.dumps(row))
    config = read_study_file(folder / "study.yaml")
    with prepare(config, folder, folder / "store.db").open() as study:
        study.run()
    (folder / "read-only.db").write_bytes((folder / "store.db").read_bytes())
    (folder / "read-only.db").chmod(0o444)
    return folder


@pytest.fixture
def folder(template: Path) -> Iterator[Path]:
    with copied(template) as made:
        yield made

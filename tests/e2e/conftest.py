"""Running the command line in this process, as its entry point does."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from schedsearch import Schedule
from schedsearch.cli import main
from schedsearch.cli.output import errors, output


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

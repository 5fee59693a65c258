"""Running the command line in this process, as its entry point does."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from schedsearch.cli import main
from schedsearch.cli.output import errors, output


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


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

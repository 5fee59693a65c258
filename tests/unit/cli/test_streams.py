"""Text and tables in whatever encoding and width a terminal has."""

import io
import json
import subprocess
import sys

import pytest
from rich.console import Console

from schedsearch.cli import output
from schedsearch.cli.streams import SHOWN, make_readable, one_line
from schedsearch.core.shown import readable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ü 🙂", "plain ü 🙂"),
        ("d\udc80", "d\\x80"),
        ("\udcc3\udcbc", "ü"),
        ("\udcc3\udcbc\udc80", "ü\\x80"),
        ("\ud800", "\\ud800"),
    ],
)
def test_bytes_of_names_become_text(text, expected):
    assert readable(text) == expected


def test_message_is_bounded_and_cannot_act_on_a_terminal():
    assert one_line("a\x1b[31m\rb\tc") == "a\\x1b[31m\\rb\\tc"
    long = one_line("a" * 10**6 + "; remedy")
    assert len(long) <= SHOWN and long.endswith("; remedy")


@pytest.mark.parametrize(
    ("encoding", "text", "written"),
    [
        ("utf-8", "ü\udc80\udcc3\udcbc", "ü\\x80ü".encode()),
        ("ascii", "ü\udc80\udcc3\udcbc█", b"\\xfc\\x80\\xfc\\u2588"),
        ("latin-1", "ü\udc80█", b"\xfc\\x80\\u2588"),
        ("cp1252", "ü\udc80\u2192", b"\xfc\\x80\\u2192"),
    ],
)
def test_every_text_can_be_written(monkeypatch, encoding, text, written):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    make_readable()
    sys.stdout.write(text)
    sys.stdout.flush()
    assert raw.getvalue() == written


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_is_valid_in_every_encoding(monkeypatch, encoding):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    make_readable()
    output.print_json({"ü\udc80": ["\udcc3\udcbc", float("inf"), 1e-9, 10**30]})
    sys.stdout.flush()
    assert json.loads(raw.getvalue().decode(encoding)) == {"ü\\x80": ["ü", None, 1e-9, 10**30]}


@pytest.mark.parametrize("width", [1, 8, 20])
def test_table_keeps_every_cell_in_a_terminal_of_any_width(monkeypatch, width):
    console = Console(width=width, file=io.StringIO())
    monkeypatch.setattr(output, "output", console)
    table = output.table(*(f"h{n}" for n in range(9)))
    cells = [f"{n}:" + "x" * n for n in range(9)]
    table.add_row(*cells)
    output.show(table)
    shown = "".join(one for one in console.file.getvalue() if one.isalnum() or one == ":")
    assert sorted(shown) == sorted("".join(cells) + "".join(f"h{n}" for n in range(9)))


def test_streams_that_are_missing_lead_nowhere_for_child_processes_too():
    program = """
import os, subprocess, sys
os.closerange(0, 3)
from schedsearch.cli.streams import open_missing
open_missing()
found = subprocess.run([sys.executable, "-c", "import os; os.fstat(0); os.fstat(1); os.fstat(2)"])
os._exit(found.returncode)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

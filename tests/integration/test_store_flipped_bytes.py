"""One byte of a store is another one: every command says so, or does not need to know."""

import os
import random

import pytest
from typer.testing import CliRunner

from schedsearch.cli import app
from schedsearch.errors import SchedsearchError
from tests.integration.searched import COMMANDS, searched_store
from tests.pace import some

FLIPS = int(os.environ.get("SCHEDSEARCH_FLIPS", "60"))


@pytest.mark.parametrize("flip", some(range(FLIPS), range(20)))
def test_flipped_byte_ends_in_no_traceback(flip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = random.Random(flip)
    damaged = bytearray(searched_store())
    damaged[chosen.randrange(len(damaged))] ^= chosen.randrange(1, 256)
    store = tmp_path / "runs.db"
    for command in COMMANDS:
        store.write_bytes(damaged)
        ended = CliRunner().invoke(app, [*command, "--store", str(store)])
        assert isinstance(ended.exception, (SchedsearchError, SystemExit, type(None)))
        assert "\n" not in str(ended.exception or "")

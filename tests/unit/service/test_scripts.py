"""The scripts of pages, where node is at hand."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def test_computations_of_pages_pass_their_own_tests():
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is missing; `make setup-system` brings it")
    files = sorted(map(str, HERE.glob("*.test.mjs")))
    assert files
    ended = subprocess.run([node, "--test", *files], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr

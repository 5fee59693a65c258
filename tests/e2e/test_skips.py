"""What a run of the tests says, and whether it fails, where a program is missing."""

import os
import subprocess
import sys

import pytest

from tests.skips import NONE_MAY

MODULE = """
import pytest

def test_that_lacks_a_program():
    pytest.skip("a browser is missing; `make setup-system` brings it")

def test_that_has_all():
    pass
"""
FOREIGN = MODULE.replace("; `make setup-system` brings it", "")


@pytest.mark.parametrize(
    ("module", "strict", "code", "told"),
    [(MODULE, "", 0, True), (MODULE, "1", 1, True), (FOREIGN, "1", 0, False)],
)
def test_missing_programs_are_told_and_fail_where_none_may_be(tmp_path, module, strict, code, told):
    (tmp_path / "test_made.py").write_text(module)
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import pytest_sessionfinish, pytest_terminal_summary\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.getcwd(), NONE_MAY: strict},
        cwd=tmp_path,
    )
    assert ended.returncode == code, ended.stdout
    assert ("1 tests: a browser is missing; `make setup-system`" in ended.stdout) is told

"""Every command under every misuse: one line, an exit code, and everything left as it was."""

from pathlib import Path

import matplotlib.font_manager  # noqa: F401 - loaded once, for all the children
import pytest

import schedsearch.app.compare_families
import schedsearch.app.plots  # noqa: F401
from tests.e2e.children import complaint, contents, run
from tests.e2e.misuses import Case, cases

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

ALLOWED: dict[str, str] = {}
OTHERS: dict[str, str] = {}


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases()])
def test_misuse_is_one_line_and_changes_nothing(folder: Path, case: Case) -> None:
    before = contents(folder)
    ended = run(case.args, folder)
    said = complaint(ended)
    assert contents(folder) == before
    assert ended.out == b"", said

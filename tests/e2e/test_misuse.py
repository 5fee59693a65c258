"""Every command under every misuse: one line, an exit code, and everything left as it was."""

from collections.abc import Callable
from pathlib import Path

import matplotlib.font_manager  # noqa: F401 - loaded once, for all the children
import pytest

import schedsearch.app.compare_families
import schedsearch.app.plots
import schedsearch.app.submitting  # noqa: F401
from tests.e2e.children import Ended, complaint, copied, run, run_all
from tests.e2e.misuses import Case, cases
from tests.pace import some

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

CREATED = "a search makes its store"
READ = "a store that is only read needs no right to write"
ALLOWED = {
    "search store: missing": CREATED,
    "search store: undecodable": CREATED,
    "token create store: missing": CREATED,
    "token create store: undecodable": CREATED,
    "token list store: read-only": READ,
    "compare store: missing": CREATED,
    "compare store: undecodable": CREATED,
    "export store: read-only": READ,
    "db copy source: read-only": READ,
    "db copy target: missing": "a copy makes the store that it is written to",
    "db copy target: undecodable": "a copy makes the store that it is written to",
}
"""Misuses that are none: the command succeeds, and makes what it is asked for."""
READING = {
    f"{command} store: read-only": READ
    for command in ("list", "show", "watch", "pause", "stop", "db check")
} | {f"plan store: {misuse}": "a plan makes no store" for misuse in ("missing", "undecodable")}
"""Misuses that are none: the command succeeds, and makes nothing."""

CASES = list(cases())
FAST = [
    case
    for number, case in enumerate(CASES)
    if number % 3 == 1 or case.name in {*ALLOWED, *READING}
]

EndedOf = Callable[[Case], Ended]


@pytest.fixture(scope="module")
def ended_of(template: Path, request: pytest.FixtureRequest) -> EndedOf:
    """How a case ends: together with the others of its command, if all leave things alone."""
    apart = {*ALLOWED}
    chosen = CASES if request.config.getoption("full") else FAST
    known: dict[str, Ended] = {}

    def run_command(command: str) -> None:
        together = [one for one in chosen if one.command == command and one.name not in apart]
        with copied(template) as folder:
            ended = run_all([one.args for one in together], folder)
        known.update({one.name: end for one, end in zip(together, ended, strict=False)})

    def find(case: Case) -> Ended:
        if case.name not in apart and case.name not in known:
            run_command(case.command)
        if case.name not in known:
            with copied(template) as folder:
                known[case.name] = run(case.args, folder)
        return known[case.name]

    return find


@pytest.mark.parametrize("case", some(CASES, FAST), ids=lambda case: case.name)
def test_misuse_is_one_line_and_changes_nothing(ended_of: EndedOf, case: Case) -> None:
    ended = ended_of(case)
    if case.name in ALLOWED:
        assert ended.code == 0, ended.err
        return
    if case.name in READING:
        assert ended.code == 0, ended.err
    else:
        said = complaint(ended)
        assert ended.out == b"", said
    assert ended.changed == ()


def test_what_is_said_of_misuses_is_said_of_some() -> None:
    assert {*ALLOWED, *READING} <= {case.name for case in CASES}

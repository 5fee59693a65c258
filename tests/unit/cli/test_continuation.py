from pathlib import Path

import pytest

from schedsearch.cli.options import asked
from schedsearch.cli.studies import continuation


@pytest.mark.parametrize(
    ("store", "command"),
    [
        (None, "schedsearch search 'my study.yaml'"),
        ("my runs.db", "schedsearch search 'my study.yaml' --store 'my runs.db'"),
        (
            "postgresql://me:***@host/runs",
            "schedsearch search 'my study.yaml' (with the store's address in SCHEDSEARCH_STORE)",
        ),
    ],
)
def test_command_to_go_on_can_be_pasted(store, command):
    assert continuation(Path("my study.yaml"), store, asked(None, None, None, None)) == command


def test_command_to_go_on_runs_where_this_one_did():
    where = asked("ray", "ray://head:10001", 8, 0.5)
    assert continuation(Path("study.yaml"), "s.db", where) == (
        "schedsearch search study.yaml --executor ray --address ray://head:10001 --workers 8 "
        "--gpus-per-worker 0.5 --store s.db"
    )

from pathlib import Path

import pytest

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
    assert continuation(Path("my study.yaml"), store) == command

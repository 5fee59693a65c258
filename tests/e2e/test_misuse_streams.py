"""Standard streams that are closed, full, or lead into what a command works on."""

import json
from pathlib import Path

import pytest

from schedsearch import Schedule
from tests.e2e.children import Ended, complaint, shell
from tests.pace import some

STORE = "--store store.db"


INTO_ITSELF = [
    f"schedsearch export small /dev/fd/7 {STORE} 7<>store.db",
    f"schedsearch export small - {STORE} 1<>store.db",
    f"schedsearch export small --force /proc/self/fd/7 {STORE} 7>>store.db",
    f"schedsearch db backup - {STORE} 1<>store.db",
    f"schedsearch db backup /dev/fd/7 {STORE} 7<>store.db",
    f"schedsearch list --json {STORE} >> store.db",
    f"schedsearch db check {STORE} 1<>store.db",
    "schedsearch search study.yaml --store new.db >> study.yaml",
    "schedsearch apply demo schedule.json -n 2 --json >> schedule.json",
    "schedsearch profile demo --data questions.jsonl --out - >> questions.jsonl",
    "schedsearch analyze demo --data questions.jsonl --out - 1<>questions.jsonl",
    "schedsearch analyze demo --data questions.jsonl --out - 1<>red.png",
    "schedsearch analyze demo --data questions.jsonl --out red.png",
    "schedsearch analyze demo --data questions.jsonl --out /dev/fd/7 7<>red.png",
    "schedsearch profile demo --data schedule.json --out schedule.json --force",
]


@pytest.mark.parametrize("command", some(INTO_ITSELF, INTO_ITSELF[::2]))
def test_output_never_lands_in_what_a_command_works_on(folder: Path, command: str) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    said = complaint(shell(command, folder))
    assert (
        "of this very command goes there" in said
        or "this very command writes there" in said
        or ("is in use by this very command" in said)
    )
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("way", [">>", "<>"])
def test_complaints_do_not_land_in_the_store_either(folder: Path, way: str) -> None:
    before = (folder / "store.db").read_bytes()
    ended = shell(f"schedsearch list {STORE} 2{way}store.db", folder)
    assert (ended.code, ended.out) == (2, b"")
    assert (folder / "store.db").read_bytes() == before


CLOSED = [
    f"schedsearch export small - {STORE} >&-",
    f"schedsearch export small /dev/fd/1 {STORE} >&- <&-",
    f"schedsearch db backup - {STORE} >&-",
    "schedsearch profile demo --out - >&-",
    "schedsearch analyze demo --out - >&-",
]


@pytest.mark.parametrize("command", some(CLOSED, CLOSED[::2]))
def test_closed_output_is_refused_before_the_work(folder: Path, command: str) -> None:
    before = (folder / "store.db").read_bytes()
    assert "it is closed" in complaint(shell(command, folder))
    assert (folder / "store.db").read_bytes() == before


@pytest.mark.parametrize("closed", some(["2>&-", "<&- 2>&-", "<&-"], ["<&- 2>&-"]))
def test_commands_work_without_input_or_errors(folder: Path, closed: str) -> None:
    before = (folder / "store.db").read_bytes()
    ended = shell(f"schedsearch -v list {STORE} --json {closed}", folder)
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out)[0]["spec"]["name"] == "small"
    assert shell(f"schedsearch show none {STORE} {closed}", folder).code == 2
    assert (folder / "store.db").read_bytes() == before


@pytest.mark.full
def test_nothing_that_is_printed_lands_in_what_is_opened(folder: Path) -> None:
    for command in (
        f"schedsearch export small new.json {STORE}",
        "schedsearch -v search study.yaml --store new.db",
    ):
        assert shell(f"{command} <&- >&- 2>&-", folder) == Ended(0, b"", "")
    assert Schedule.load(folder / "new.json").layers == 8
    assert shell("schedsearch db check --store new.db", folder).code == 0

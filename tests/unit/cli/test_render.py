"""Tables in a narrow terminal: no number and no name is cut."""

import io
import math
import re
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from schedsearch.app.analyze import Analysis
from schedsearch.app.withdrawal import Withdrawal
from schedsearch.cli import output, render, render_studies
from schedsearch.core.intervals import Interval
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Measurement, Trial, TrialState
from schedsearch.errors import InputError
from schedsearch.evaluation.attention.statistics import AttentionStatistics
from schedsearch.samplers.which_ranker import Rung

Shown = Callable[[int, Callable[[], None]], str]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What a terminal of some width shows."""

    def show(width: int, write: Callable[[], None]) -> str:
        console = Console(width=width, file=io.StringIO())
        for module in (output, render, render_studies):
            monkeypatch.setattr(module, "output", console)
        write()
        text: str = console.file.getvalue()  # type: ignore[attr-defined]
        return text

    return show


def interval(value: float) -> Interval:
    return Interval(value, value - 0.1, value + 0.1, 30)


def analysed(layers: int) -> Analysis:
    def tau(row: int, column: int) -> float:
        return 1.0 if row == column else -(10 * min(row, column) + abs(row - column)) / 1000

    pairs = [[interval(tau(row, column)) for column in range(layers)] for row in range(layers)]
    attention = AttentionStatistics(
        ranker="last",
        samples=30,
        tau=tuple(map(tuple, pairs)),
        random_tau=interval(-0.001),
        overlap=(),
        random_overlap=interval(0.1),
        top=0.1,
        mass=(interval(0.1),) * layers,
        uniform_mass=interval(0.1),
        cover=(),
    )
    gone = tuple(
        Withdrawal(layer, 0.5, interval(-0.8), interval(-0.9)) for layer in range(1, layers + 1)
    )
    return Analysis("demo", layers, "d", 30, "answer_log_likelihood", attention, gone, None)


@pytest.mark.parametrize("width", [80, 60, 20])
@pytest.mark.parametrize("layers", [8, 12, 32])
def test_every_tau_is_shown_whole_under_its_layer(shown: Shown, width: int, layers: int) -> None:
    found = analysed(layers)

    text = shown(width, lambda: render.analysis(found))

    taus = text[: text.index("neighbouring layers")].replace("┃", "│")
    seen: dict[tuple[int, int], str] = {}
    for line in taus.splitlines():
        assert len(line) <= width
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        if cells[0] == "layer":
            columns = [int(cell) for cell in cells[1:]]
        elif cells[0].isdigit():
            row = int(cells[0])
            seen |= dict(zip([(row, column) for column in columns], cells[1:], strict=True))
    assert seen == {
        (row, column): f"{found.attention.tau[row][column].value:.2f}"
        for row in range(layers)
        for column in range(layers)
    }


def test_as_few_tables_as_fit_hold_the_taus(shown: Shown) -> None:
    def tables(width: int, layers: int) -> int:
        text = shown(width, lambda: render.analysis(analysed(layers)))
        return text.count("┃ layer ┃") - 1  # that of the attention

    assert [tables(80, 8), tables(80, 12), tables(80, 32)] == [1, 2, math.ceil(32 / 8)]
    assert [tables(60, 8), tables(120, 12)] == [2, 1]


@pytest.mark.parametrize("width", [80, 60, 40])
def test_no_table_cuts_a_number_or_a_name(shown: Shown, width: int) -> None:
    name = "llava-1.5-7b-vqav2-frontier"
    text = "ResourceExhausted: the device has no memory for a batch"
    measured = Measurement(0.123456, 0.1, 40, 0.4567, 0.4, -0.012345, 0.01)
    schedule = Schedule((1.0, 1.0, 0.5))
    params = {"steepness": 12.345678901234567, "midpoint": 0.1234567890123456, "layer": 3}
    trials = [
        Trial(1234, params, schedule, TrialState.COMPLETE, measured),
        Trial(1235, {"layer": 3}, schedule, TrialState.FAIL, reason=text),
    ]
    sampler = SimpleNamespace(n_max=576)
    view: Any = SimpleNamespace(trials=trials, sampler=sampler, layers=_no_result, rungs=[])
    summary: Any = SimpleNamespace(
        trials={"COMPLETE": 123},
        spec=SimpleNamespace(name=name, model="llava-hf/llava-1.5-7b-hf", metric="vqa_accuracy"),
        holder="gpu-node-0123.cluster.example",
        wish="run",
        silence=1.0,
        left=29.0,
        created=datetime(2026, 1, 2, 3, 4),
    )

    ranker = RankerSpec.from_mapping("neighbourhoods-of-my-own", {"rows": "last", "window": 1024})
    drops: dict[RankerSpec, float | None] = {RankerSpec(): 0.012345, ranker: math.inf}
    rungs = [Rung(1234, drops), Rung(2468, {ranker: None})]

    ranker_rows = shown(width, lambda: render_studies.rankers(rungs))
    trial_rows = shown(width, lambda: render_studies.study(view, every=True))
    study_rows = shown(width, lambda: render_studies.studies([summary]))

    for table in (trial_rows, study_rows, ranker_rows):
        assert "…" not in table
        assert all(len(line) <= width for line in table.splitlines())
    assert _columns(study_rows)[0] == f"study{name}"
    assert _columns(trial_rows)[6] == "reason" + text.replace(" ", "")
    if width == 80:
        assert {"12.3457,", "0.123457,", "0.1235", "-0.0123", "0.457"} <= set(trial_rows.split())


def _no_result() -> Any:
    raise InputError("no result yet")


def _columns(table: str) -> list[str]:
    """The texts of each column, without blanks and line ends."""
    rows = [
        line.strip("│┃").replace("┃", "│").split("│")
        for line in table.splitlines()
        if line.startswith(("│", "┃"))
    ]
    return [re.sub(r"\s", "", "".join(cells)) for cells in zip(*rows, strict=True)]

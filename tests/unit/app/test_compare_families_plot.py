"""The picture of families at equal budgets: every interval can be seen, at its value."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from schedsearch.app.compare_families import AtBudget, Entry, FamilyComparison
from schedsearch.app.compare_families_plot import save_family_comparison
from schedsearch.core.comparison import Row
from schedsearch.core.intervals import Interval
from schedsearch.core.schedule import Schedule

NAMES = [f"family {number} $" for number in range(10)]
MISSING = "out of reach"


def interval(number: int) -> Interval:
    value = 0.9 - number / 1000  # all overlap
    return Interval(value, value - 0.02, value + 0.01, 100)


def at_budget(flops: float) -> AtBudget:
    entries = [
        Entry(
            Row(name, "", interval(number), None, flops, flops, flops),
            schedule=Schedule((1.0, 1.0, 0.5)),
        )
        for number, name in enumerate(NAMES)
    ]
    return AtBudget(f"flops: {flops}", flops, (*entries, Entry(Row(MISSING, "", reason="no"))))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures as they are written."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *args: object, **options: object) -> None:
        figures.append(self)
        save(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


@pytest.mark.parametrize("budgets", [[0.4], [0.3, 0.31], [0.2, 0.4, 0.6]])
def test_no_two_intervals_lie_on_each_other(
    drawn: list[Figure], tmp_path: Path, budgets: list[float]
) -> None:
    full = Interval(0.95, 0.93, 0.96, 100)
    rounds = tuple(at_budget(flops) for flops in reversed(budgets))
    found = FamilyComparison("s", "d", "0", 100, 10, "exact_match", 5, full, rounds, None)

    save_family_comparison(found, tmp_path / "compare.png")

    (figure,) = drawn
    *scores, _ = figure.axes
    assert [axes.get_title() for axes in scores] == [f"flops: {flops}" for flops in budgets]
    for axes in scores:
        bars = [bar.lines[2][0].get_segments()[0] for bar in axes.containers]
        assert [list(ends[:, 0]) for ends in bars] == [
            pytest.approx([interval(number).low, interval(number).high]) for number in range(10)
        ]
        heights = [{float(y) for y in ends[:, 1]} for ends in bars]
        assert all(len(one) == 1 for one in heights)
        assert len(set.union(*heights)) == len(bars)
    assert [tick.get_text() for tick in scores[0].get_yticklabels()] == [
        *(f"family {number} \\$, FLOPs {budgets[0]:.3f}" for number in range(10)),
        MISSING,
    ]

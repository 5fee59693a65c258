"""Outcomes as a table for people, in Markdown."""

from collections import Counter
from collections.abc import Sequence

from tests.chaos.run import Record

HEAD = (
    "| what happens | when | times (SQLite + PostgreSQL) | lost | counted twice "
    "| recomputed at most, of in flight | same schedule |\n|---|---|---|---|---|---|---|"
)


def table(records: Sequence[Record]) -> str:
    """A row for each fault and moment, in the order of the records."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for one in records:
        groups.setdefault((one.fault, one.moment), []).append(one)
    rows = [_row(fault, moment, group) for (fault, moment), group in groups.items()]
    return "\n".join([HEAD, *rows])


def _row(fault: str, moment: str, group: Sequence[Record]) -> str:
    stores = Counter(one.store for one in group)
    found = [one.outcome for one in group]
    most = max(found, key=lambda one: (one.recomputed, one.in_flight))
    same = sum(one.same_schedule for one in found)
    cells = (
        fault,
        moment,
        f"{stores['sqlite']} + {stores['postgresql']}",
        sum(one.lost for one in found),
        sum(one.twice for one in found),
        f"{most.recomputed} of {most.in_flight}",
        "all" if same == len(found) else f"{same} of {len(found)}",
    )
    return f"| {' | '.join(map(str, cells))} |"

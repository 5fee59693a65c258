"""Trials a page at a time, and the answers of one: what people look at, in SQL."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, and_, case, func, or_, select, true

from schedsearch.core.trial import Trial, TrialState
from schedsearch.store.codec import trial_from_row
from schedsearch.store.tables import (
    ContextRow,
    CountsRow,
    EvaluationRow,
    SampleRow,
    StudyContextRow,
    TrialRow,
)
from schedsearch.store.trials import rows_of

Order = Literal["number", "drop", "flops_ratio", "score"]

_ORDERS: dict[str, Any] = {
    "number": TrialRow.number,
    "drop": TrialRow.drop,
    "flops_ratio": TrialRow.flops_ratio,
    "score": TrialRow.score,
}


@dataclass(frozen=True)
class Wanted:
    """Which trials are looked at, and in which order.

    Attributes:
        states: In one of these; none: in any.
        max_cost: Measured, with at most this FLOPs ratio.
        max_drop: With at most this drop.
        layer: That asked about this layer, of searches that go layer by layer.
        order: What they are sorted by; those that have no such value come last.
        descending: Whether the greatest comes first.
    """

    states: Collection[TrialState] = ()
    max_cost: float | None = None
    max_drop: float | None = None
    layer: int | None = None
    order: Order = "number"
    descending: bool = False


ALL = Wanted()


class Place(NamedTuple):
    """Where a page begins: after the trial of this value and number."""

    value: float | None
    number: int


@dataclass(frozen=True)
class Page:
    """Some trials.

    Attributes:
        trials: In the order that was asked.
        following: Where the next page begins; None where there is none.
        total: How many trials there are in all pages.
    """

    trials: Sequence[Trial]
    following: Place | None
    total: int


class Answer(NamedTuple):
    """What became of one sample under a schedule."""

    sample: str
    score: float
    prediction: str | None


def page(
    connection: Connection, study_id: int, wanted: Wanted, after: Place | None, limit: int
) -> Page:
    """Return at most so many trials of a study, those after a place."""
    which = [TrialRow.study_id == study_id]
    if wanted.states:
        which.append(TrialRow.state.in_([str(state) for state in wanted.states]))
    if wanted.max_cost is not None:
        which.append(TrialRow.flops_ratio <= wanted.max_cost)
    if wanted.max_drop is not None:
        which.append(TrialRow.drop <= wanted.max_drop)
    if wanted.layer is not None:
        which.append(TrialRow.params["layer"].as_integer() == wanted.layer)
    value = _ORDERS[wanted.order]
    lacking = case((value.is_(None), 1), else_=0)
    ordered = value.desc() if wanted.descending else value
    # All have a number: for that order alone, a database need not look at every trial.
    order = [ordered] if wanted.order == "number" else [lacking, ordered, TrialRow.number]
    begun = []
    if after is not None:
        same = TrialRow.number > after.number
        if after.value is None:
            begun = [and_(lacking == 1, same)]
        else:
            beyond = value < after.value if wanted.descending else value > after.value
            later = or_(beyond, and_(value == after.value, same), lacking == 1)
            begun = [beyond if wanted.order == "number" else later]
    total = connection.scalar(select(func.count()).select_from(TrialRow).where(*which))
    # What is long of a row is read of those alone that are on the page.
    chosen = select(TrialRow.id).where(*which, *begun).order_by(*order).limit(limit + 1)
    query = rows_of(study_id).where(TrialRow.id.in_(chosen)).order_by(None)
    rows = connection.execute(query.order_by(*order))
    trials = [trial_from_row(row) for row in rows]
    following = None
    if len(trials) > limit:
        trials.pop()
        following = Place(_value(trials[-1], wanted.order), trials[-1].number)
    return Page(trials, following, total or 0)


def closed(connection: Connection, study_id: int) -> int:
    """Return the number of the last trial up to which all are closed; -1 where there is none."""
    of_study = select(TrialRow.number).where(TrialRow.study_id == study_id)
    open_states = [str(state) for state in TrialState if not state.finished]
    first_open = of_study.where(TrialRow.state.in_(open_states)).order_by(TrialRow.number).limit(1)
    number = connection.scalar(first_open)
    if number is not None:
        return number - 1
    last = connection.scalar(of_study.order_by(TrialRow.number.desc()).limit(1))
    return -1 if last is None else last


def _value(trial: Trial, order: str) -> float | None:
    if order == "number":
        return trial.number
    if order == "drop" and trial.measurement is None:
        return trial.expected
    value: float | None = getattr(trial.measurement, order, None)
    return value


def answers(
    connection: Connection,
    study_id: int,
    ranker: Mapping[str, Any] | None,
    counts: Collection[tuple[int, ...]],
    after: str = "",
    limit: int = 1000,
    samples: Collection[str] | None = None,
) -> list[Answer]:
    """Return what is known of a schedule's samples, by their keys, those after a key.

    Args:
        connection: In a transaction.
        study_id: Of the study.
        ranker: As contexts describe it; None of a schedule that keeps all.
        counts: What the schedule keeps, of each number of vision tokens.
        after: Key of the sample before.
        limit: At most so many.
        samples: Keys of those alone; default: of any.
    """
    contexts = connection.execute(
        select(ContextRow.id, ContextRow.description)
        .join(StudyContextRow, StudyContextRow.context_id == ContextRow.id)
        .where(StudyContextRow.study_id == study_id)
    )
    of_ranker = [key for key, description in contexts if description.get("ranker") == ranker]
    kept = [",".join(map(str, one)) for one in counts]
    rows = connection.execute(
        select(SampleRow.key, EvaluationRow.score, EvaluationRow.prediction)
        .join(EvaluationRow, EvaluationRow.sample_id == SampleRow.id)
        .join(CountsRow, CountsRow.id == EvaluationRow.counts_id)
        .where(
            EvaluationRow.context_id.in_(of_ranker),
            CountsRow.kept.in_(kept),
            SampleRow.key > after,
            true() if samples is None else SampleRow.key.in_(samples),
        )
        .order_by(SampleRow.key)
        .limit(limit)
    )
    return [Answer(*row) for row in rows]

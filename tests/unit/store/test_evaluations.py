import sqlite3

from sqlalchemy import Engine, event

from schedsearch.store import Evaluation, open_store
from tests.unit.store.strategies import SPEC


def test_every_score_is_looked_up_by_its_whole_key(tmp_path):
    # SQLite's planner, without statistics, would rather read all evaluations of the context.
    executed = []

    def note(_connection, _cursor, statement, parameters, *_):
        executed.append((statement, parameters))

    with open_store(tmp_path / "runs.db") as store:
        store.create_study(SPEC)
        context = store.context_id(SPEC.name, "c0ffee", {})
        found = {("sample", (9, 4)): Evaluation(1.0)}
        store.add_scores(context, found)
        event.listen(Engine, "before_cursor_execute", note)
        assert store.scores(context, found) == found
        event.remove(Engine, "before_cursor_execute", note)
    connection = sqlite3.connect(tmp_path / "runs.db")
    plan = [
        step[-1]
        for statement, parameters in executed
        if statement.startswith("SELECT")
        for step in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
    ]
    connection.close()
    assert [step.removesuffix(" LEFT-JOIN") for step in plan if "evaluation" in step] == [
        "SEARCH evaluation USING PRIMARY KEY (context_id=? AND counts_id=? AND sample_id=?)"
    ]
    assert not any(step.startswith(("SCAN sample", "SCAN counts")) for step in plan), plan

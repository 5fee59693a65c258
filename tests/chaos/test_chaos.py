"""A few of the faults, and what is made of a search that is not sound; `make chaos` has all."""

from dataclasses import replace

import pytest
from sqlalchemy import delete

from schedsearch.store.tables import AttemptRow, EvaluationRow
from tests.chaos import cluster
from tests.chaos.faults import FAULTS
from tests.chaos.outcome import outcome
from tests.chaos.points import BEFORE, SENT, START, TASK
from tests.chaos.run import Stage
from tests.chaos.scene import new_scene
from tests.pace import some

FEW = [
    ("coordinator killed", BEFORE, "sqlite"),
    ("coordinator killed", SENT, "postgresql"),
    ("connection cut", SENT, "postgresql"),
    ("server restarted (immediate)", BEFORE, "postgresql"),
    ("two coordinators at once", START, "sqlite"),
    ("frozen, replaced, woken at the end", TASK, "postgresql"),
    ("disk full", TASK, "sqlite"),
]
RAY = [
    ("Ray: worker killed in its task", TASK, "sqlite"),
    ("Ray: node killed in its task", TASK, "sqlite"),
]


@pytest.fixture(scope="module")
def stages(postgresql_server):
    made = Stage("sqlite"), Stage("postgresql", postgresql_server)
    yield {stage.kind: stage for stage in made}
    cluster.end()


@pytest.mark.parametrize(("name", "moment", "kind"), some([*FEW, *RAY], fast=FEW))
def test_fault_changes_nothing(stages, name, moment, kind):
    stage = stages[kind]
    fault, points = next(
        (one, points)
        for one in FAULTS
        if one.name == name and (points := [at for at in stage.points(one) if at.moment == moment])
    )
    record = stage.face(fault, points[len(points) // 2])
    assert record.outcome.broken == (), record.name
    assert record.outcome.same_schedule


def test_every_fault_has_points_at_some_store(stages):
    assert all(any(stage.points(fault) for stage in stages.values()) for fault in FAULTS)


@pytest.fixture
def scene():
    """Where a search has ended that nothing has happened to."""
    with new_scene("sqlite") as scene:
        scene.search.search()
        yield scene


def judged(scene, stages):
    return outcome(scene, stages["sqlite"].known, 0)


def test_search_that_nothing_happens_to_is_sound(scene, stages):
    found = judged(scene, stages)
    assert (found.lost, found.twice, found.recomputed, found.in_flight) == (0, 0, 0, 0)
    assert found.same_schedule and found.broken == ()


def test_score_that_the_store_does_not_have_any_more_is_lost(scene, stages):
    with scene.store() as store, store._database.writing() as connection:
        connection.execute(delete(EvaluationRow).where(EvaluationRow.sample_id == 1))
    found = judged(scene, stages)
    assert found.lost > 1
    assert f"{found.lost} acknowledged results were lost" in found.broken


def test_trial_that_ends_twice_is_counted_twice(scene, stages):
    closed = next(one for one in scene.witness.events if one.what == "closed")
    scene.witness.say("closed", closed.told)
    found = judged(scene, stages)
    assert found.twice == 1 and found.broken == ("1 results were counted twice",)


def test_score_that_nobody_evaluated_is_counted_twice(scene, stages):
    said = scene.witness.file.read_text().splitlines(keepends=True)
    first = next(line for line in said if line.startswith('["evaluated"'))
    scene.witness.file.write_text("".join(line for line in said if line != first))
    assert judged(scene, stages).twice > 1


def test_evaluation_begun_once_more_is_recomputed_unless_it_was_in_flight(scene, stages):
    first = next(one for one in scene.witness.events if one.what == "evaluated")
    scene.witness.say("evaluated", first.told, first.schedule)
    found = judged(scene, stages)
    assert found.recomputed == len(found.broken) == len(first.keys)
    scene.fault()
    assert judged(scene, stages).broken == ()


def test_attempt_that_is_missing_is_told(scene, stages):
    with scene.store() as store, store._database.writing() as connection:
        connection.execute(delete(AttemptRow).where(AttemptRow.trial_id == 3))
    assert any("the attempts at trial 2 are []" in one for one in judged(scene, stages).broken)


def test_other_result_is_not_the_same_schedule(scene, stages):
    known = stages["sqlite"].known
    found = outcome(scene, replace(known, trials=known.trials[:5]), 0)
    assert not found.same_schedule
    assert found.broken == ("the trials are not those of an undisturbed run",)

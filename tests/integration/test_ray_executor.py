"""Searching on a real Ray cluster whose workers die, hang, dawdle and talk."""

import logging
import os
import platform
import re
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from threading import Lock

import pytest

from schedsearch.app.happened import lanes, timeline
from schedsearch.errors import InputError, RunError
from schedsearch.execution.cluster import crew
from schedsearch.execution.cluster.crew import Member
from schedsearch.execution.cluster.host import Answer, Place
from schedsearch.execution.cluster.options import ClusterOptions
from schedsearch.execution.executor import Ticket
from schedsearch.execution.executors.ray import RayExecutor
from schedsearch.execution.pace import Pace
from schedsearch.store.terms import HEARTBEAT, LEASE
from tests.contract.test_executors import outcomes, task_of
from tests.integration.frail import Frail
from tests.unit.execution.synthetic import (
    IDS,
    STUDY,
    FunctionWorker,
    Recorded,
    evaluate,
    new_place,
)

pytestmark = pytest.mark.usefixtures("ray_cluster")

DAY = 86_400.0
HASTY = Pace(least=1.0, first=20.0, factor=10.0)
TASKS = [task_of(one) for one in IDS[:4]]


@pytest.fixture
def pool():
    """Makes executors, and lets their workers go in the end."""
    made = []

    def make(way, workers=2, deaths=2, pace=None):
        options = ClusterOptions(workers=workers, deaths=deaths)
        made.append(RayExecutor(way, options, pace))
        return made[-1]

    yield make
    for executor in made:
        executor.close()


def scores(found):
    return {outcome.task: outcome.scores for outcome in found}


RIGHT = {task: tuple(evaluate(task)) for task in TASKS}


def test_killed_worker_costs_its_task_alone_and_another_takes_its_place(tmp_path, pool, caplog):
    way = Frail(tmp_path, "killed")
    executor = pool(way)
    assert scores(outcomes(executor, TASKS)) == RIGHT
    assert len(way.begun) == 2
    until(lambda: sum(one.done for one in executor.seen()) > 0)
    assert all(platform.node() in one.node and one.pid for one in executor.seen() if one.done)
    until(lambda: "is gone: its process has died" in caplog.text)
    until(lambda: executor.slots == 4)


def test_task_that_always_kills_is_poison_and_fails_with_the_place(tmp_path, pool):
    way = Frail(tmp_path, "killed", times=9)
    found = outcomes(pool(way), TASKS)
    assert scores(found) == {**RIGHT, TASKS[1]: ()}
    (failed,) = [outcome for outcome in found if outcome.failure]
    assert "has ended 2 workers" in failed.failure
    assert os.uname().nodename in failed.failure
    assert len(way.begun) == 2


def test_worker_whose_device_fails_is_ended_and_its_task_goes_to_another(tmp_path, pool, caplog):
    way = Frail(tmp_path, "device")
    executor = pool(way)
    assert scores(outcomes(executor, TASKS)) == RIGHT
    first, second = (int(one.name.split("-")[1]) for one in way.begun)
    assert first != second
    assert "is gone: the device has failed (CUDA error: unspecified launch fa" in caplog.text
    until(lambda: not alive(first))
    until(lambda: executor.slots == 4)


@pytest.mark.full
def test_task_under_which_each_device_fails_is_poison(tmp_path, pool):
    found = outcomes(pool(Frail(tmp_path, "device", times=9)), TASKS)
    assert scores(found) == {**RIGHT, TASKS[1]: ()}
    (failed,) = [outcome for outcome in found if outcome.failure]
    assert "has ended 2 workers" in failed.failure
    assert "the device has failed (CUDA error" in failed.failure


@pytest.mark.full
def test_search_on_two_workers_has_a_lane_for_each(tmp_path, pool):
    place = new_place(tmp_path)
    executor = pool(partial(FunctionWorker, Recorded(place.file, slow)))
    until(lambda: [one.state for one in executor.seen()] == ["idle", "idle"])
    assert place.search(chunk=3, executor=lambda _evaluate: executor).ending == "finished"
    with place.store() as store:
        trials, attempts = store.trials(STUDY), store.last_attempts(STUDY)
    spans = timeline(trials, attempts)
    workers = executor.seen()
    names = [f"process {one.pid} on {one.node}" for one in workers]
    assert [name for name, _ in lanes(spans)] == sorted(names)
    assert {one.pid for one in place.evaluated} == {one.pid for one in workers}
    for one in spans:
        attempt = attempts[one.trial]
        assert attempt.started <= one.started <= one.ended <= attempt.ended


def slow(task):
    time.sleep(0.02)
    return evaluate(task)


def test_poison_fails_its_trial_and_the_search_says_why(tmp_path, pool):
    place = new_place(tmp_path / "place")
    way = Frail(tmp_path, "killed", times=9)
    with pytest.raises(RunError, match="its task has ended 2 workers"):
        place.search(executor=lambda _evaluate: pool(way))
    assert place.search().ending == "finished", "whoever mends it goes on"


def test_hung_worker_is_ended_after_its_deadline(tmp_path, pool, caplog):
    way = Frail(tmp_path, "hangs")
    executor = pool(way, workers=1, pace=HASTY)
    outcomes(executor, [TASKS[0]])
    assert scores(outcomes(executor, TASKS)) == RIGHT
    until(lambda: "it gave no answer for" in caplog.text)
    first = int(way.begun[0].name.split("-")[1])
    until(lambda: not alive(first))


def test_task_of_a_slow_worker_goes_to_an_idle_one_and_counts_once(tmp_path, pool):
    way = Frail(tmp_path, "dawdles")
    executor = pool(way, pace=Pace())
    outcomes(executor, [task_of("q5"), task_of("q6")])
    found = outcomes(executor, TASKS)
    assert scores(found) == RIGHT
    assert len(found) == len(TASKS)
    (tmp_path / "enough").touch()
    assert scores(outcomes(executor, [task_of("q7")])) == {
        task_of("q7"): tuple(evaluate(task_of("q7")))
    }, "the answer that came too late is passed over"


def test_cancelled_task_is_abandoned_between_two_batches(tmp_path, pool):
    way = Frail(tmp_path, "never ends")
    executor = pool(way, workers=1, pace=Pace())
    executor.submit(Ticket(7, 1, 0), task_of("q1"))
    until(lambda: way.begun)
    executor.cancel([Ticket(7, 1, 0)])
    found = outcomes(executor, TASKS)
    assert scores(found) == RIGHT
    assert Ticket(7, 1, 0) not in [one.ticket for one in found]


def test_worker_that_cannot_be_opened_ends_it_with_node_and_reason(tmp_path, pool):
    executor = pool(Frail(tmp_path, "refuses"))
    with pytest.raises(InputError, match=rf"on {os.uname().nodename}.*/models/llava is a path"):
        executor.ask("who")
    with pytest.raises(InputError, match="/models/llava"):
        executor.ask("who")
    executor.submit(Ticket(0, 1, 0), TASKS[0])
    with pytest.raises(InputError, match="/models/llava"):
        executor.next()


def test_workers_that_die_while_they_open_end_it(tmp_path, pool):
    executor = pool(Frail(tmp_path, "dies opening"), workers=1)
    with pytest.raises(RunError, match="no worker can be opened: 2 have ended"):
        executor.ask("who")


def test_worker_that_hangs_while_it_opens_ends_it(tmp_path, pool, monkeypatch):
    monkeypatch.setattr("schedsearch.execution.executors.ray._OPENING", 0.5)
    executor = pool(Frail(tmp_path, "hangs opening"), workers=1, deaths=1)
    with pytest.raises(RunError, match="it was not open after"):
        executor.ask("who")


def test_workers_without_signs_of_their_coordinator_go(tmp_path, pool, monkeypatch, caplog):
    monkeypatch.setenv(HEARTBEAT, "0.1")
    monkeypatch.setenv(LEASE, "0.3")
    monkeypatch.setattr(crew, "_LEAST_SILENCE", 2.0)
    monkeypatch.setattr(crew, "_LOOK", 0.2)  # signs are given as often
    executor = pool(Frail(tmp_path, "none"), workers=1, deaths=9)
    executor.ask("who")
    monkeypatch.setattr(crew, "_LOOK", 60.0)
    time.sleep(4.0)
    monkeypatch.setattr(crew, "_LOOK", 0.2)
    assert scores(outcomes(executor, TASKS)) == RIGHT
    assert "is gone" in caplog.text


def test_workers_that_would_score_otherwise_are_refused(tmp_path, pool):
    executor = pool(Frail(tmp_path, "differs"))
    with pytest.raises(RunError, match="all workers must have the same weights"):
        until(lambda: executor.ask("who") is None)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param(
            "refuses late",
            r"on .*: `model` /models/llava is a path",
            marks=pytest.mark.full,
        ),
        ("differs late", r"the same weights, but the one on .* has decaf where others have c0ffee"),
    ],
)
def test_workers_that_cannot_take_part_are_left_out_of_a_search_at_work(
    tmp_path, pool, monkeypatch, caplog, fault, said
):
    monkeypatch.setattr(crew, "_LOOK", 0.2)
    monkeypatch.setattr(crew, "_LONGEST_PAUSE", 0.4)
    executor = pool(Frail(tmp_path, fault))
    assert scores(outcomes(executor, TASKS)) == RIGHT
    (tmp_path / "go").touch()
    until(lambda: len(list(tmp_path.glob("late-*"))) > 2)
    assert scores(outcomes(executor, TASKS)) == RIGHT
    assert len([one for one in caplog.records if re.search(said, one.getMessage())]) == 1


def test_time_in_which_the_coordinator_was_frozen_counts_against_no_worker(tmp_path, pool, caplog):
    executor = pool(Frail(tmp_path, "late"))
    answer = executor._asked("think", (), {})
    until(lambda: (tmp_path / "asked").exists() and list(tmp_path.glob("late-*")))
    until(lambda: [one.state for one in executor.seen()].count("opens") == 1)

    def sleep_for_a_day():
        pool = executor._pool
        pool._tended -= DAY
        for question in pool._asked.values():
            question.asked -= DAY
        for member in pool._crew.members.values():
            member.placed -= DAY

    executor._pool.do(sleep_for_a_day)
    until(lambda: executor._pool._forgiving > time.monotonic())
    (tmp_path / "enough").touch()
    (tmp_path / "go").touch()
    assert answer() > 0
    until(lambda: [one.state for one in executor.seen()] == ["idle", "idle"])
    assert "is gone" not in caplog.text


def test_defect_of_a_worker_names_its_place_and_its_line(tmp_path, pool):
    with pytest.raises(ZeroDivisionError) as raised:
        pool(Frail(tmp_path, "errs"), workers=1).ask("who")
    (note,) = raised.value.__notes__
    assert note.startswith(f"in a worker on {os.uname().nodename}")
    assert "in who" in note


def test_workers_see_no_gpu_unless_they_ask_for_one(tmp_path, pool):
    executor = pool(Frail(tmp_path, "none"), workers=1)
    assert executor.ask("environment", "CUDA_VISIBLE_DEVICES") == ""


@pytest.mark.parametrize(
    ("way", "options", "remedy"),
    [
        (lambda: None, {"cpus_per_worker": 0}, "raise one"),
        (Lock().__enter__, {}, "define what it holds in a module"),
    ],
    ids=["needs nothing", "cannot travel"],
)
def test_pool_that_cannot_be_is_an_error_with_a_remedy(way, options, remedy):
    with (
        pytest.raises(InputError, match=remedy),
        closing(RayExecutor(way, ClusterOptions(**options))) as one,
    ):
        one.ask("who")


def test_question_that_killed_a_worker_is_asked_again(tmp_path, pool):
    executor = pool(Frail(tmp_path, "killed by a question"))
    assert executor.ask("who") != os.getpid()


def test_workers_get_custom_resources_and_the_runtime_environment(tmp_path):
    options = ClusterOptions(resources={"special": 1}, runtime_env={"env_vars": {"ODD": "yes"}})
    executor = RayExecutor(Frail(tmp_path, "none"), options)
    assert executor.ask("environment", "ODD") == "yes"
    assert executor.slots == 2, "there is room for one on two CPUs"
    executor.close()


def test_what_workers_say_comes_with_the_name_of_the_node(tmp_path, pool, caplog):
    executor = pool(Frail(tmp_path, "talks", times=9))
    outcomes(executor, [*TASKS, TASKS[1]])
    said = [one for one in caplog.records if "weights are odd" in one.getMessage()]
    assert [one.levelno for one in said] == [logging.WARNING], "once is enough"
    assert said[0].getMessage().startswith(os.uname().nodename)
    assert "attention is slow" in caplog.text


def test_trouble_of_a_second_node_is_said_too(tmp_path, pool, caplog):
    listen = pool(Frail(tmp_path, "none"))._pool._listen
    said = Answer(said=((logging.WARNING, "the clock is slow"),))
    for node in ("aaaaaa", "bbbbbb", "aaaaaa"):
        listen(Member("a worker", None, Place(node, "host", 1)), said)
    found = [one.getMessage() for one in caplog.records if "clock" in one.getMessage()]
    assert found == [f"host (node {node}): the clock is slow" for node in ("aaaaaa", "bbbbbb")]


def test_two_searches_share_the_cluster_and_a_third_says_what_it_waits_for(
    pool, monkeypatch, caplog
):
    monkeypatch.setattr(crew, "_LOOK", 0.2)
    monkeypatch.setattr(crew, "_SILENT", 0.5)
    way = partial(FunctionWorker, evaluate)
    first = pool(way, workers=None)
    outcomes(first, TASKS)
    until(lambda: first.slots == 4)
    second = pool(way, workers=None)
    assert scores(outcomes(second, TASKS)) == RIGHT
    assert scores(outcomes(first, TASKS)) == RIGHT
    until(lambda: first.slots == second.slots == 2)
    third = pool(way, workers=None)
    third.submit(Ticket(0, 1, 0), TASKS[0])
    said = (
        "waiting for a worker with 1 CPU; the cluster has 0 of 2 CPU free, which it shares with 2"
    )
    until(lambda: said in caplog.text)
    second.close()
    assert third.next().scores == RIGHT[TASKS[0]]
    third.close()
    until(lambda: first.slots == 4)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
def test_cluster_that_is_not_there_is_an_error_with_a_remedy(address):
    code = (
        "from schedsearch.execution.cluster.connection import connect\n"
        "from schedsearch.errors import RunError\n"
        f"try: connect({address!r})\n"
        "except RunError as error: print(error)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )
    assert ended.stdout.startswith("no Ray cluster could be joined at"), ended.stderr
    assert "start one with `ray start --head`" in ended.stdout

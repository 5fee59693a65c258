"""Who does what, by a clock that the tests turn."""

import pytest

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Evaluated, Task
from schedsearch.execution.dispatch import Dispatch
from schedsearch.execution.executor import Ticket
from schedsearch.execution.pace import Pace

FULL = Schedule((1.0, 1.0, 1.0))


def task(*ids: str) -> Task:
    return Task(FULL, "calibration", ids or ("q",))


def ticket(number: int) -> Ticket:
    return Ticket(0, 1, number)


def dispatch(*workers: str, deaths: int = 3) -> Dispatch:
    """With workers, each on the node that its name begins with."""
    made = Dispatch(Pace(least=60, first=600, factor=10, straggling=2), deaths)
    for worker in workers:
        made.join(worker, worker[0])
    return made


def handed(made: Dispatch, now: float = 0.0) -> dict[str, int]:
    """Number of the task that each worker gets now."""
    return {worker: ticket.task for worker, ticket, _ in made.hand_out(now)}


def submit(made: Dispatch, *tasks: Task, now: float = 0.0) -> None:
    for number, one in enumerate(tasks):
        made.submit(ticket(number), one, now)


def warm(made: Dispatch, *workers: str, seconds: float = 1.0) -> None:
    """Have each worker end a task of its own, of one sample."""
    for number, worker in enumerate(workers):
        made.submit(ticket(1000 + number), task(f"warm {worker}"), -seconds)
    given = handed(made, -seconds)
    for worker in given:
        assert made.ended(worker, Evaluated(), 0.0)


def test_tasks_go_out_in_the_order_of_submission():
    made = dispatch("a", "b")
    submit(made, task("q0"), task("q1"), task("q2"))
    assert handed(made) == {"a": 0, "b": 1}
    assert made.ended("b", Evaluated(), 1.0).ticket == ticket(1)
    assert handed(made, 1.0) == {"b": 2}


def test_same_samples_go_to_the_same_worker_again():
    made = dispatch("a", "b")
    submit(made, task("q0"), task("q1"))
    assert handed(made) == {"a": 0, "b": 1}
    made.ended("a", Evaluated(), 1.0)
    made.ended("b", Evaluated(), 1.0)
    made.submit(ticket(7), task("q1"), 1.0)
    made.submit(ticket(8), task("q0"), 1.0)
    assert handed(made, 1.0) == {"a": 8, "b": 7}


def test_new_task_goes_to_the_worker_that_has_read_most_of_it():
    made = dispatch("a", "b")
    made.has_read("a", task("q1", "q2").portion)
    made.has_read("b", task("q3", "q4", "q5").portion)
    submit(made, task("q2", "q3", "q4"), task("q0"), task("q1", "q2", "q5"))
    assert handed(made) == {"a": 2, "b": 0}


def test_worker_without_any_that_it_has_read_takes_what_nobody_has_then_what_others_have():
    made = dispatch("a", "b")
    made.has_read("a", task("q0", "q1", "q2").portion)
    submit(made, task("q0"), task("q1"), task("q3"), task("q2"))
    assert handed(made) == {"a": 0, "b": 2}
    assert made.ended("b", Evaluated(), 1.0)
    assert handed(made, 1.0) == {"b": 1}


def test_lone_task_goes_to_the_worker_that_has_read_it_where_others_are_idle_too():
    made = dispatch("a", "b")
    made.has_read("b", task("q0").portion)
    submit(made, task("q0"))
    assert handed(made) == {"b": 0}


def test_who_has_read_less_than_half_of_a_task_is_not_waited_for():
    made = dispatch("a", "b")
    made.has_read("b", task("q0").portion)
    submit(made, task("q0", "q1", "q2"))
    assert handed(made) == {"a": 0}


def test_what_a_lost_worker_has_read_counts_no_more():
    made = dispatch("a", "b", "c")
    made.has_read("a", task("q1").portion)
    made.has_read("b", task("q0").portion)
    made.lose("a", "it died", blamed=False)
    submit(made, task("q0"), task("q1"))
    assert handed(made) == {"b": 0, "c": 1}


def test_task_waits_for_its_worker_only_for_as_long_as_it_takes():
    made = dispatch("a", "b")
    warm(made, "a", "b", seconds=5.0)
    made.submit(ticket(0), task("q0"), 0.0)
    assert handed(made) == {"a": 0}
    made.submit(ticket(1), task("q0"), 0.0)
    assert handed(made, 4.0) == {}
    assert handed(made, 5.1) == {"b": 1}


def test_idle_worker_takes_from_the_end_of_the_longest_line():
    made = dispatch("a")
    for number in range(4):
        made.submit(ticket(number), task(f"q{number}"), 0.0)
        handed(made)
        made.ended("a", Evaluated(), 1.0)
    for number in range(4):
        made.submit(ticket(number), task(f"q{number}"), 1.0)
    assert handed(made, 1.0) == {"a": 0}
    made.join("b", "b")
    assert handed(made, 1.0) == {"b": 3}
    made.ended("b", Evaluated(), 1.1)
    assert handed(made, 1.1) == {"b": 2}
    made.ended("b", Evaluated(), 1.2)
    assert handed(made, 1.2) == {}, "the last of a line is left to its own worker"


def test_task_of_a_lost_worker_goes_to_another_before_all_others():
    made = dispatch("a", "b")
    submit(made, task("q0"), task("q1"), task("q2"))
    handed(made)
    assert made.lose("a", "killed", blamed=True) is None
    made.ended("b", Evaluated(), 1.0)
    assert handed(made, 1.0) == {"b": 0}


def test_task_that_kills_its_workers_is_poison_and_says_where():
    made = dispatch("a", "b", "c")
    submit(made, task("q0"))
    for worker in ("a", "b"):
        assert handed(made) == {worker: 0}
        assert made.lose(worker, "out of memory", blamed=True) is None
    assert handed(made) == {"c": 0}
    outcome = made.lose("c", "out of memory", blamed=True)
    assert outcome.ticket == ticket(0)
    assert all(f"{node}: out of memory" in outcome.failure for node in "abc")
    assert not outcome.scores


SHORT = Evaluated(failure="sample q0 does not fit into memory alone", short=True)


def test_task_for_which_memory_was_short_is_tried_once_more_elsewhere():
    made = dispatch("a1", "a2", "b")
    submit(made, task("q0"))
    assert handed(made) == {"a1": 0}
    assert made.ended("a1", SHORT, 1.0) is None
    assert handed(made, 1.0) == {"b": 0}
    assert made.ended("b", SHORT, 2.0).failure == SHORT.failure
    assert handed(made, 2.0) == {}


def test_task_for_which_memory_was_short_fails_where_there_is_no_other_worker():
    made = dispatch("a")
    submit(made, task("q0"))
    handed(made)
    assert made.ended("a", SHORT, 1.0).failure == SHORT.failure


def test_task_for_which_memory_was_short_is_forgotten_if_it_is_cancelled():
    made = dispatch("a", "b")
    submit(made, task("q0"))
    handed(made)
    made.cancel([ticket(0)])
    made.ended("a", SHORT, 1.0)
    assert handed(made, 1.0) == {}


def test_task_that_killed_a_worker_is_tried_on_another_node_while_there_is_one():
    made = dispatch("a1", "a2")
    submit(made, task("q0"))
    assert handed(made) == {"a1": 0}
    made.lose("a1", "killed", blamed=True)
    made.join("b1", "b")
    assert handed(made) == {"b1": 0}
    made.lose("b1", "killed", blamed=True)
    assert handed(made) == {"a2": 0}, "where there is no other node, any will do"


def test_lost_nodes_are_not_blamed_on_the_task_until_they_are_many():
    made = dispatch(deaths=1)
    submit(made, task("q0"))
    for number in range(10):
        made.join(f"a{number}", "a")
        assert handed(made) == {f"a{number}": 0}
        assert made.lose(f"a{number}", "its node has died", blamed=False) is None
    made.join("b", "b")
    handed(made)
    assert made.lose("b", "its node has died", blamed=False).failure


def test_cancelled_tasks_are_not_handed_out_and_not_tried_again():
    made = dispatch("a", "b")
    submit(made, task("q0"), task("q1"), task("q2"))
    handed(made)
    made.cancel([ticket(0), ticket(2)])
    assert made.lose("a", "killed", blamed=True) is None
    made.ended("b", Evaluated(), 1.0)
    assert handed(made, 1.0) == {}


def test_cancelled_task_that_is_at_work_still_gives_its_scores():
    made = dispatch("a")
    submit(made, task("q0"))
    handed(made)
    made.cancel([ticket(0)])
    assert made.ended("a", Evaluated(), 1.0).ticket == ticket(0)


def test_straggler_is_handed_out_once_more_and_the_first_answer_counts():
    made = dispatch("a", "b", "c")
    warm(made, "a", "b", "c", seconds=1.0)
    submit(made, task("q0"))
    assert handed(made) == {"a": 0}
    assert handed(made, 1.9) == {}
    assert handed(made, 2.1) == {"b": 0}
    assert handed(made, 9.0) == {}, "two at once are enough"
    assert made.ended("b", Evaluated(), 9.0).ticket == ticket(0)
    assert made.ended("a", Evaluated(), 9.5) is None
    made.submit(ticket(1), task("q1"), 9.5)
    assert handed(made, 9.5), "both are free again"


def test_straggler_whose_worker_dies_stays_with_the_other():
    made = dispatch("a", "b")
    warm(made, "a", "b", seconds=1.0)
    submit(made, task("q0"))
    handed(made)
    assert handed(made, 3.0) == {"b": 0}
    assert made.lose("a", "killed", blamed=True) is None
    assert made.ended("b", Evaluated(), 4.0).ticket == ticket(0)


def test_nothing_straggles_before_anything_is_known():
    made = dispatch("a", "b")
    submit(made, task("q0"))
    assert handed(made) == {"a": 0}
    assert handed(made, 500.0) == {}


@pytest.mark.parametrize(("seconds", "samples", "least"), [(1.0, 1, 60.0), (20.0, 2, 400.0)])
def test_worker_hangs_after_a_deadline_that_scales_with_size_and_pace(seconds, samples, least):
    made = dispatch("a")
    warm(made, "a", seconds=seconds)
    submit(made, task(*(f"q{n}" for n in range(samples))))
    handed(made)
    assert made.overdue(least - 1) == []
    assert made.overdue(least + 1) == [("a", least + 1)]


def test_each_missed_deadline_doubles_the_next():
    made = dispatch("a", "b")
    warm(made, "a", "b")
    submit(made, task("q0"))
    handed(made)
    assert made.overdue(61.0)
    made.lose("a", "hangs", blamed=True)
    assert handed(made, 61.0) == {"b": 0}
    assert made.overdue(61.0 + 119.0) == []
    assert made.overdue(61.0 + 121.0) == [("b", 121.0)]


def test_first_task_of_a_worker_has_longer():
    made = dispatch("a")
    submit(made, task("q0"))
    handed(made)
    assert made.overdue(599.0) == []
    assert made.overdue(601.0) == [("a", 601.0)]


def test_released_worker_gets_no_further_task():
    made = dispatch("a", "b")
    submit(made, task("q0"), task("q1"), task("q2"))
    handed(made)
    made.release("a")
    assert not made.idle("a")
    made.ended("a", Evaluated(), 1.0)
    assert made.idle("a")
    assert handed(made, 1.0) == {}


def test_worker_that_answers_a_question_gets_no_task_meanwhile():
    made = dispatch("a")
    assert made.take_idle() == "a"
    assert made.take_idle() is None
    submit(made, task("q0"))
    assert handed(made) == {}
    assert not made.idle("a")
    made.give_back("a")
    assert handed(made) == {"a": 0}


def test_failure_of_a_task_teaches_no_pace():
    made = dispatch("a", "b")
    submit(made, task("q0"))
    handed(made)
    made.ended("a", Evaluated(failure="no image"), 0.001)
    submit(made, task("q1"))
    handed(made, 1.0)
    assert handed(made, 500.0) == {}, "one hundredth of a second would make it a straggler"


def test_ticket_may_be_used_again_after_it_is_cancelled():
    made = dispatch("a", "b")
    submit(made, task("q0"))
    handed(made)
    made.cancel([ticket(0)])
    made.submit(ticket(0), task("q1"), 1.0)
    assert handed(made, 1.0) == {"b": 0}
    assert made.ended("a", Evaluated(), 2.0) is None
    assert made.ended("b", Evaluated(), 2.0).task == task("q1")


def test_time_in_which_the_coordinator_was_frozen_counts_for_no_deadline():
    made = dispatch("a")
    warm(made, "a")
    submit(made, task("q0"))
    handed(made)
    made.shift(100.0)
    assert made.overdue(150.0) == []
    assert made.overdue(161.0) == [("a", 61.0)]


def test_task_whose_copy_is_at_work_is_not_given_up():
    made = dispatch("a", "b", deaths=1)
    warm(made, "a", "b")
    submit(made, task("q0"))
    handed(made)
    assert handed(made, 3.0) == {"b": 0}
    assert made.lose("a", "killed", blamed=True) is None
    assert made.ended("b", Evaluated(), 4.0).ticket == ticket(0)


def test_task_whose_first_deadline_was_too_short_has_twice_as_long():
    made = dispatch("a", "b")
    submit(made, task("q0"))
    handed(made)
    assert made.overdue(601.0)
    made.lose("a", "hangs", blamed=True)
    handed(made, 601.0)
    assert made.overdue(601.0 + 1199.0) == []
    assert made.overdue(601.0 + 1201.0)

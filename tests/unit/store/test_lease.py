"""When a lease is valid, by a clock that the tests set."""

import dataclasses
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schedsearch.errors import InputError, RunError
from schedsearch.store import lease as leases
from schedsearch.store import open_store, studies
from schedsearch.store.lease import LeaseLostError
from schedsearch.store.process import Process
from schedsearch.store.terms import HEARTBEAT, LEASE, Holder, lease_seconds
from tests.unit.store.strategies import HALF, PROGRESS, SPEC

STUDY = SPEC.name
LASTS = 30.0
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
NODES = tuple(Process(f"node{i}", 4711) for i in range(3))


class Clock:
    """The database's clock, which the tests set, beside the time that really passes."""

    def __init__(self) -> None:
        self.shown = BEGIN
        self.passed = 0.0

    def pass_by(self, seconds: float) -> None:
        self.shown += timedelta(seconds=seconds)
        self.passed += seconds

    def set_back(self, seconds: float) -> None:
        self.shown -= timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    for module in (leases, studies):
        monkeypatch.setattr(module, "now", lambda _connection: found.shown)
    return found


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "runs.db") as opened:
        opened.create_study(SPEC)
        yield opened


@contextmanager
def on(node: Process):
    """As if this process ran there, where it sees of no other whether it runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Process, "current", lambda: node)
        patch.setattr(Process, "runs", lambda _self: None)
        yield


def acquire(store, node=NODES[0]):
    with on(node):
        return store.acquire(STUDY)


def holds(store, lease) -> bool:
    """Whether this lease may write."""
    try:
        with store._database.reading() as connection:
            leases.check(connection, lease)
    except LeaseLostError:
        return False
    return True


def test_refusal_names_the_holder_and_for_how_long_its_lease_is_valid(store, clock):
    acquire(store)
    clock.pass_by(7.5)
    with pytest.raises(
        RunError,
        match=r"searched by process 4711 on node0 since .*; wait until it has ended, or end it "
        r"with `schedsearch stop demo`: its lease is valid for 23 s yet",
    ):
        acquire(store, NODES[1])
    assert store.study(STUDY).left == 22.5


def test_heartbeat_makes_a_lease_valid_for_longer(store, clock):
    lease = acquire(store)
    for _ in range(3):
        clock.pass_by(LASTS - 1)
        with pytest.raises(RunError, match="valid for 1 s yet"):
            acquire(store, NODES[1])
        store.beat(lease, PROGRESS)
    clock.pass_by(LASTS)
    assert store.study(STUDY).left == 0
    assert acquire(store, NODES[1]).token == lease.token + 1
    assert not holds(store, lease)


def test_lapsed_lease_goes_on_where_nobody_has_taken_it(store, clock):
    lease = acquire(store)
    clock.pass_by(100 * LASTS)
    assert store.beat(lease, PROGRESS) == "run"
    store.open_trial(lease, {}, HALF)
    with pytest.raises(RunError, match="valid for 30 s yet"):
        acquire(store, NODES[1])


def test_lease_is_judged_by_the_terms_of_its_holder(store, clock, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv(LEASE, "600")
        acquire(store)
    clock.pass_by(599)
    with pytest.raises(RunError, match="valid for 1 s yet"):
        acquire(store, NODES[1])
    clock.pass_by(1)
    acquire(store, NODES[1])


def test_lease_of_a_version_that_did_not_say_its_terms_lasts_as_long_as_ever(store, clock):
    acquire(store)
    with store._database.writing() as connection:
        leases._write(connection, 1, lease_holder=dataclasses.asdict(NODES[0]))
    clock.pass_by(29)
    with pytest.raises(RunError, match="process 4711 on node0 .* valid for 1 s yet"):
        acquire(store, NODES[1])
    clock.pass_by(1)
    acquire(store, NODES[1])


def test_process_that_was_seen_to_end_holds_nothing(clock):
    ended = dataclasses.replace(Process.current(), started="1")
    assert Holder(ended, LASTS).left(clock.shown, clock.shown) == 0
    assert Holder(NODES[0], LASTS).left(clock.shown, clock.shown) == LASTS


def test_study_with_a_lapsed_lease_can_be_deleted(store, clock):
    lease = acquire(store)
    with pytest.raises(RunError, match="is being searched"):
        store.prune([STUDY])
    clock.pass_by(LASTS)
    store.prune([STUDY])
    with pytest.raises(LeaseLostError, match="has been deleted"):
        store.beat(lease, None)


def test_check_says_that_trials_of_a_lapsed_lease_were_interrupted(store, clock):
    lease = acquire(store)
    store.start_attempt(lease, store.open_trial(lease, {}, HALF).number)
    assert store.check().notes == ()
    clock.pass_by(LASTS)
    (note,) = store.check().notes
    assert "1 trial(s) of study `demo` were interrupted" in note


@pytest.mark.parametrize("back", [3600.0, LASTS])
def test_clock_that_was_set_back_far_keeps_no_lease(store, clock, back):
    acquire(store)
    clock.set_back(back)
    acquire(store, NODES[1])


def test_clock_that_was_set_back_a_little_keeps_a_lease_a_little_longer(store, clock):
    acquire(store)
    clock.set_back(LASTS - 1)
    with pytest.raises(RunError, match="valid for 59 s yet"):
        acquire(store, NODES[1])
    clock.pass_by(2 * LASTS - 1)
    acquire(store, NODES[1])


@pytest.mark.parametrize(
    ("variable", "said", "told"),
    [
        (LEASE, "soon", "seconds above 0, but got 'soon'"),
        (LEASE, "inf", "seconds above 0"),
        (HEARTBEAT, "0", "seconds above 0"),
        (HEARTBEAT, "16", f"{LEASE} must be at least twice {HEARTBEAT}, but got 30 and 16"),
    ],
)
def test_terms_that_are_none_are_refused(store, monkeypatch, variable, said, told):
    monkeypatch.setenv(variable, said)
    with pytest.raises(InputError, match=told):
        store.acquire(STUDY)
    assert store.study(STUDY).holder is None
    monkeypatch.setenv(variable, "")
    assert lease_seconds() == LASTS


events = st.one_of(
    st.tuples(st.sampled_from(["acquire", "beat", "release"]), st.integers(0, len(NODES) - 1)),
    st.tuples(st.just("pass by"), st.integers(0, 36)),
    st.tuples(st.just("set back"), st.sampled_from([1, 15, 60, 1_000_000])),
    st.tuples(st.just("free"), st.none()),
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(events, max_size=25))
def test_no_two_hold_a_lease_and_tokens_grow(store, clock, happened):
    store.free(STUDY)
    clock.shown = BEGIN
    last, signs = 0, dict[int, float]()  # when each holder gave its last sign, by real time
    held: list[leases.Lease | None] = [None] * len(NODES)
    back = 0  # seconds by which the clock was set back since
    for what, argument in happened:
        if what == "pass by":
            clock.pass_by(argument)
        elif what == "set back":
            clock.set_back(argument)
            back += argument
        elif what == "free":
            store.free(STUDY)
            signs.clear()
        elif what == "acquire":
            silent = [clock.passed - sign for sign in signs.values()]
            try:
                lease = acquire(store, NODES[argument])
            except RunError:
                assert silent and min(silent) < LASTS + back
            else:
                assert back or not silent or min(silent) >= LASTS
                assert last == 0 or lease.token > last
                last, signs, back = lease.token, {argument: clock.passed}, 0
                held[argument] = lease
        elif held[argument] is not None:
            right = argument in signs
            if what == "release":
                store.release(held[argument])
                if right:
                    signs.clear()
            elif right:
                store.beat(held[argument], PROGRESS)
                signs[argument], back = clock.passed, 0
            else:
                with pytest.raises(LeaseLostError):
                    store.beat(held[argument], PROGRESS)
        valid = [i for i, one in enumerate(held) if one is not None and holds(store, one)]
        assert valid == list(signs)

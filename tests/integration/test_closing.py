"""A study lets its workers go, however it ends."""

import pytest

from schedsearch import InputError
from schedsearch.app.bootstrap import DataRef, open_samples
from schedsearch.app.open import open_study, search
from schedsearch.execution.executors.local import LocalExecutor

COARSE = {"tolerance": 0.5, "floor": 20}


class Counted(LocalExecutor):
    """Counts in `made` how often each executor was closed."""

    made: list["Counted"] = []

    def __init__(self, open_worker):
        super().__init__(open_worker)
        self.closed = 0
        Counted.made.append(self)

    def close(self):
        self.closed += 1
        super().close()


class Stuck(Counted):
    def close(self):
        super().close()
        raise ZeroDivisionError


@pytest.fixture
def options(tmp_path):
    Counted.made = []
    data = open_samples(DataRef("demo:calibration", 12), "calibration")
    given = {"sampler": COARSE, "store": tmp_path / "s.db", "executor": Counted}
    return {"model": "demo", "calibration": data, **given}


def closed() -> list[int]:
    return [one.closed for one in Counted.made]


def test_workers_are_let_go_when_a_study_is_closed(options):
    with open_study(**options) as study:
        assert closed() == [0]
    assert closed() == [1]
    assert study.trials == []


def test_workers_are_let_go_when_a_search_is_broken_off(options):
    def fail(_study, _trial):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        search(**options, callbacks=[fail])
    assert closed() == [1]


def test_workers_are_let_go_when_a_study_cannot_be_opened(options):
    with pytest.raises(InputError, match="floor"):
        open_study(**{**options, "sampler": {**COARSE, "floor": 99}})
    assert closed() == [1]


def test_store_is_closed_although_the_workers_cannot_be(options, monkeypatch):
    study = open_study(**{**options, "executor": Stuck})
    stored = []
    monkeypatch.setattr(study.store, "close", lambda: stored.append(True))
    with pytest.raises(ZeroDivisionError):
        study.close()
    assert stored

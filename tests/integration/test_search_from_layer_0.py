"""Searches of the embedded model whose ranker works before the layers."""

import pytest

from schedsearch import Schedule
from schedsearch.app.open import open_study
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.errors import InputError
from tests.pace import some

SAMPLES = 24


def searched(folder, ranker, sampler):
    with open_study(
        "demo",
        ShapesVQA("calibration", SAMPLES),
        ranker=ranker,
        sampler={"first": 0, **sampler},
        store=folder / "store.db",
    ) as study:
        study.run()
        return study.best, study.trials


def test_g_search_drops_before_layer_0_and_its_schedule_goes_through_a_file(tmp_path):
    best, trials = searched(tmp_path, "diverse", {"tolerance": 0.2, "screens": [8]})

    assert best.keep[0] < 1
    assert best in [trial.schedule for trial in trials]
    best.save(tmp_path / "found.json")
    assert Schedule.load(tmp_path / "found.json") == best


@pytest.mark.parametrize(
    "ranker", some(["diverse", "tower", "random", "uniform"], ["diverse", "tower"])
)
def test_a_family_drops_before_layer_0(tmp_path, ranker):
    sampler = {"sampler": "random", "family": "linear", "budget": {"flops": 0.5}, "trials": 3}

    best, trials = searched(tmp_path, ranker, sampler)

    assert best.ranker.name == ranker
    assert best.keep[0] < 1
    assert len({trial.schedule.keep for trial in trials}) == 3


@pytest.mark.parametrize("ranker", ["last", "text", "local"])
def test_a_ranker_that_reads_attention_cannot(tmp_path, ranker):
    with pytest.raises(InputError, match=f"`first` must be at least 1 with ranker {ranker}"):
        searched(tmp_path, ranker, {"tolerance": 0.2})

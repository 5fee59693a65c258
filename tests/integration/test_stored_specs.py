"""A store as revision 0003 has written it: its specifications are rewritten, its studies go on."""

import sqlite3
from pathlib import Path

import pytest

from schedsearch.app.bootstrap import DataRef, open_samples
from schedsearch.app.open import open_study
from schedsearch.app.samplers import make_sampler, settings_of
from schedsearch.core.facts import Prompts
from schedsearch.core.flops import DecoderShape
from schedsearch.core.latency import Conditions, LatencyModel
from schedsearch.errors import InputError
from schedsearch.samplers.family_settings import FrontierSettings
from schedsearch.store import open_store, upgrade
from schedsearch.store.tables import REVISION

WRITTEN = Path(__file__).parents[1] / "golden" / "store" / "revision_0003.sql"
SHAPE = DecoderShape(8, 128, 4, 4, 32, 320, 72)
PROMPTS = tuple(Prompts(64, *one) for one in ((8, 1), (9, 9), (10, 1), (11, 2), (12, 1), (15, 2)))
PLACE = Conditions("demo", "cpu", "float32", "sdpa", "2", 1, 1, 64, 20, "last", 4, 3)
LATENCY = LatencyModel(8, (20, 100), (0.5, 1.25), 2.0, 0.1, 0.05, PLACE)
SEARCHES = {
    "layers": {"tolerance": 0.13, "screens": [4]},
    "budget": {
        "sampler": "bayes",
        "budget": {"flops": 0.7},
        "trials": 8,
        "warm_start": ["published"],
    },
    "milliseconds": {
        "sampler": "frontier",
        "max_drop": 0.1,
        "latency": LATENCY,
        "trials": 6,
        "warm_start": ["study:layers"],
    },
}


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "s.db"
    connection = sqlite3.connect(path)
    connection.executescript(WRITTEN.read_text(encoding="utf-8"))
    connection.close()
    assert upgrade(path) == ("0003", REVISION)
    return path


def test_settings_are_values_and_facts_are_apart(path):
    with open_store(path) as store:
        layers, budget, milliseconds = map(store.spec, SEARCHES)
    assert layers.search["screens"] == [4]
    assert (layers.search["guess"], layers.search["concurrent_trials"]) == ([], 1)
    assert (layers.facts.layers, layers.facts.n_visions, layers.facts.shape) == (8, (64,), None)
    assert budget.search["budget"] == {"flops": 0.7}
    assert budget.search["starts"][1] == {
        "steepness": 4.820790738288172,
        "midpoint": 0.234375,
        "floor": 0.0625,
    }
    assert (budget.facts.shape, budget.facts.tokens) == (SHAPE, PROMPTS)
    settings = settings_of(milliseconds)
    assert isinstance(settings, FrontierSettings)
    assert settings.latency == LATENCY
    assert make_sampler(milliseconds).starts[0]["budget"] == 9.707812500000001


@pytest.mark.parametrize("name", SEARCHES)
def test_study_goes_on(path, name):
    data = open_samples(DataRef("demo:calibration", 16), "calibration")
    with open_store(path) as store:
        before, stored = store.trials(name), store.spec(name)
    with open_study("demo", data, name=name, sampler=SEARCHES[name], store=path) as study:
        study.run(n_trials=3)
        after = study.trials
        assert study.spec == stored.filled(study.spec)
        assert (study.spec.facts.shape, study.spec.facts.tokens) == (SHAPE, PROMPTS)
    with open_store(path) as store:
        assert store.spec(name) == study.spec
    closed = [trial for trial in before if trial.state.finished]
    assert after[: len(closed)] == closed
    assert after[len(closed)].params == before[len(closed)].params
    assert len([trial for trial in after if trial.state.finished]) == len(closed) + 3
    changed = {**SEARCHES[name], "first": 3}
    with pytest.raises(InputError, match=r"search\.first: 2 -> 3"):
        open_study("demo", data, name=name, sampler=changed, store=path)

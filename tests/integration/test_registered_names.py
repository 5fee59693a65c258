"""What somebody else has written is taken wherever a name is: registered, installed, or itself."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pytest

import schedsearch
from schedsearch.app.bootstrap import DataRef, open_samples
from schedsearch.app.config import read_study_file
from schedsearch.app.configured import prepare
from schedsearch.app.open import open_study
from schedsearch.core.families import FAMILIES
from schedsearch.core.families.uniform import Uniform
from schedsearch.errors import InputError
from schedsearch.evaluation.metrics import METRICS
from schedsearch.evaluation.metrics.vqa_accuracy import VqaAccuracy
from schedsearch.execution.executors import EXECUTORS
from schedsearch.execution.executors.local import LocalExecutor
from schedsearch.reduction.rankers import RANKERS
from schedsearch.reduction.rankers.local import LocalRanker
from schedsearch.reduction.rankers.random import RandomRanker
from schedsearch.samplers import SAMPLERS
from schedsearch.samplers.family_settings import BudgetSettings
from schedsearch.samplers.random_search import RandomSearch
from schedsearch.store import open_store

FILE = """
study: s
model: demo
data: {{calibration: demo:calibration, calibration_samples: 12}}
metric: {metric}
metric_params: {{max_new_tokens: 2}}
ranker: {ranker}
ranker_params: {{seed: 3}}
search: {{sampler: {sampler}, family: {family}, budget: {{flops: 0.8}}, trials: 2}}
"""

SHIPPED = {"metric": "vqa_accuracy", "ranker": "random", "family": "step", "sampler": "random"}


class OwnMetric(VqaAccuracy):
    name = "own"


class OwnRanker(RandomRanker):
    name = "own"


@dataclass(frozen=True)
class OwnFamily(Uniform):
    weight: int = 1
    name = "own"


class OwnExecutor(LocalExecutor):
    pass


class OwnSettings(BudgetSettings):
    sampler: Literal["own"]

    def make(self, facts, ranker, seed):
        return RandomSearch(**self._shared(facts, ranker, seed))


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    for registry in (METRICS, RANKERS, FAMILIES, SAMPLERS, EXECUTORS):
        if "own" in registry:
            del registry["own"]


@pytest.fixture
def data():
    return open_samples(DataRef("demo:calibration", 12), "calibration")


def written(folder, **names: str):
    path = folder / "study.yaml"
    defaults = dict.fromkeys(("metric", "ranker", "family", "sampler"), "own")
    path.write_text(FILE.format(**defaults | names))
    return path


def test_registered_names_are_accepted_by_a_study_file(tmp_path):
    path = written(tmp_path)
    for kind in ("metric", "ranker", "search"):
        with pytest.raises(InputError, match=f"`{kind}` must be"):
            read_study_file(path)
        if kind == "metric":
            schedsearch.register_metric("own", OwnMetric)
        if kind == "ranker":
            schedsearch.register_ranker("own", OwnRanker)
        if kind == "search":
            schedsearch.register_sampler("own", OwnSettings)
    with pytest.raises(InputError, match=r"`search\.family` must be one of sigmoid, .* got 'own'"):
        read_study_file(path)
    schedsearch.register_family("own", OwnFamily)
    prepared = prepare(read_study_file(path), tmp_path, tmp_path / "s.db")
    with prepared.open() as study:
        assert study.run().ending == "finished"
        assert study.spec.search["sampler"] == study.spec.search["family"] == "own"
        assert study.spec.metric.startswith("own ")
        assert dict(study.spec.ranker.params) == {"seed": 3}
        assert study.sampler.family == OwnFamily()


def test_own_objects_are_taken_in_place_of_names(tmp_path, data):
    family = OwnFamily(first=3, weight=2)
    search = {"sampler": "random", "family": family, "budget": {"flops": 0.8}, "trials": 1}
    options = {"metric": OwnMetric(), "ranker": OwnRanker(seed=4), "store": tmp_path / "s.db"}
    with open_study("demo", data, sampler=search, **options) as study:
        assert study.run().ending == "finished"
        spec = study.spec
    assert (spec.search["family"], spec.search["first"]) == ("own", 3)
    assert spec.search["family_params"] == {"weight": 2}
    assert spec.ranker == schedsearch.RankerSpec.from_mapping("own", {"seed": 4})
    with open_study("demo", data, sampler=search, **options) as study:
        assert study.spec == spec
        assert study.sampler.family == family
    settings = OwnSettings(sampler="own", budget={"flops": 0.8}, trials=1)
    with open_study("demo", data, name="other", sampler=settings, **options) as study:
        assert study.sampler.name == "random"


def test_executor_has_a_name_or_is_handed_in(tmp_path, data):
    options = {"sampler": {"tolerance": 0.5}, "store": tmp_path / "s.db"}
    with pytest.raises(InputError, match="`executor` must be one of local.* but got 'own'"):
        open_study("demo", data, executor="own", **options)
    schedsearch.register_executor("own", OwnExecutor)
    for executor in ("own", OwnExecutor):
        with open_study("demo", data, executor=executor, **options) as study:
            assert type(study.executor) is OwnExecutor


def test_study_goes_on_wherever_its_file_says_that_it_runs(tmp_path):
    path = written(tmp_path, **SHIPPED)
    schedsearch.register_executor("own", OwnExecutor)
    specs = []
    for run, executor in (("", LocalExecutor), ("run: {executor: own}", OwnExecutor)):
        path.write_text(FILE.format(**SHIPPED) + run)
        with prepare(read_study_file(path), tmp_path, tmp_path / "s.db").open() as study:
            assert type(study.executor) is executor
            specs.append(study.spec)
    assert specs[0] == specs[1]


def test_command_line_says_where_a_study_runs(tmp_path):
    path = written(tmp_path, **SHIPPED)
    schedsearch.register_executor("own", OwnExecutor)
    run = {"executor": "own", "workers": None}
    prepared = prepare(read_study_file(path), tmp_path, tmp_path / "s.db", run=run)
    with prepared.open() as study:
        assert type(study.executor) is OwnExecutor


def test_sampler_that_is_not_registered_is_told(tmp_path, data):
    settings = OwnSettings(sampler="own", budget={"flops": 0.8}, trials=1)
    open_study("demo", data, sampler=settings, store=tmp_path / "s.db").store.close()
    del SAMPLERS["own"]
    with open_store(tmp_path / "s.db") as store, pytest.raises(InputError, match="register it"):
        schedsearch.app.study_view.StudyView(store, "study")


def test_ranker_of_ours_may_be_an_object(tmp_path, data):
    options = {"sampler": {"tolerance": 0.5}, "ranker": LocalRanker(window=3)}
    with open_study("demo", data, store=tmp_path / "s.db", **options) as study:
        assert dict(study.spec.ranker.params) == {"rows": "text", "window": 3}


class Forgetful(RandomRanker):
    name = "own"

    def __init__(self, bias: int = 0) -> None:
        super().__init__(seed=bias)


class Nameless(RandomRanker):
    pass


@pytest.mark.parametrize(
    ("ranker", "expected"),
    [
        (Forgetful(), "`own` does not keep its parameter `bias`"),
        (Nameless(), "the ranker Nameless is not registered .*call `schedsearch.register_ranker`"),
    ],
)
def test_ranker_that_cannot_be_named_is_refused(tmp_path, data, ranker, expected):
    with pytest.raises(InputError, match=expected):
        open_study("demo", data, ranker=ranker, sampler={"tolerance": 1}, store=tmp_path / "s.db")


def test_parameters_of_a_metric_belong_to_its_name(tmp_path, data):
    options = {"sampler": {"tolerance": 0.5}, "store": tmp_path / "s.db"}
    params = {"max_new_tokens": 3}
    with open_study("demo", data, metric="vqa_accuracy", metric_params=params, **options) as study:
        assert study.spec.metric.startswith("vqa_accuracy ")
        assert study.metric_identity()["settings"]["max_new_tokens"] == 3
    with pytest.raises(InputError, match="parameters of metric `vqa_accuracy` do not fit"):
        open_study("demo", data, metric="vqa_accuracy", metric_params={"size": 3}, **options)
    with pytest.raises(InputError, match="`metric_params` belong to a metric that is named"):
        open_study("demo", data, metric=OwnMetric(), metric_params=params, **options)


def test_installed_package_is_accepted_by_a_study_file(tmp_path):
    info = tmp_path / "somebodys-1.0.dist-info"
    info.mkdir()
    (tmp_path / "somebodys.py").write_text("raise RuntimeError('imported too early')\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n")
    kinds = ("ranker", "metric", "family")
    points = "".join(f"[schedsearch.{kind}]\ntheirs = somebodys:Own\n" for kind in kinds)
    (info / "entry_points.txt").write_text(points)
    path = written(tmp_path, metric="theirs", ranker="theirs", family="theirs", sampler="bayes")
    code = (
        "import sys; from pathlib import Path\n"
        "sys.path.append(sys.argv[1])\n"
        "from schedsearch.app.config import read_study_file\n"
        "config = read_study_file(Path(sys.argv[2]))\n"
        "print(config.metric, config.ranker, config.search.family)\n"
        "print({'torch', 'optuna', 'botorch'} & sys.modules.keys())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["theirs theirs theirs", "set()"]

"""Where a search runs: the study file says it, and the command line has the last word."""

from functools import partial

import pytest
from pydantic import ValidationError

from schedsearch.app.running import RunConfig, chosen
from schedsearch.errors import InputError
from schedsearch.execution.cluster.options import ClusterOptions
from schedsearch.execution.executors import EXECUTORS
from schedsearch.execution.executors.local import LocalExecutor


class Pool(LocalExecutor):
    """Stands for Ray's, of which these tests need the name alone."""


@pytest.fixture(autouse=True)
def ray(monkeypatch):
    monkeypatch.setitem(EXECUTORS, "ray", Pool)


def options(run=None, **asked) -> ClusterOptions:
    """Those of a pool of Ray workers."""
    made = chosen(run and RunConfig(**run), **asked)
    assert isinstance(made, partial)
    assert (made.func, made.args, set(made.keywords)) == (Pool, (), {"options"})
    return made.keywords["options"]


def test_a_search_is_local_where_nothing_else_is_said():
    assert chosen() == chosen(RunConfig()) == chosen(RunConfig(), executor=None) == "local"


def test_ray_has_the_options_of_the_study_file():
    given = {
        "address": "auto",
        "workers": 8,
        "cpus_per_worker": 2,
        "gpus_per_worker": 0.5,
        "resources": {"a100": 1},
        "runtime_env": {"env_vars": {"HF_HOME": "/models"}},
    }
    assert options({"executor": "ray", **given}) == ClusterOptions(**given)


def test_ray_has_its_defaults_where_nothing_is_given():
    assert options({"executor": "ray"}) == ClusterOptions()
    assert options({"executor": "ray", "workers": None}) == ClusterOptions()


def test_command_line_takes_the_place_of_what_the_study_file_says():
    run = {"executor": "ray", "address": "auto", "workers": 8}
    assert options(run, workers=2, address=None) == ClusterOptions("auto", 2)
    assert options(None, executor="ray", gpus_per_worker=0.0) == ClusterOptions(gpus_per_worker=0)


def test_command_line_may_take_a_search_back_from_the_cluster():
    run = RunConfig(executor="ray", address="auto", workers=8)
    assert chosen(run, executor="local") == "local"


def test_executor_of_a_package_is_known_by_its_name(monkeypatch):
    monkeypatch.setitem(EXECUTORS, "own", Pool)
    assert chosen(RunConfig(executor="own")) == chosen(executor="own") == "own"


@pytest.mark.parametrize("asked", [{"workers": 4}, {"address": "auto"}, {"gpus_per_worker": 0.0}])
@pytest.mark.parametrize("executor", [None, "local"])
def test_option_of_ray_alone_is_refused_with_the_remedy(executor, asked):
    (key,) = asked
    with pytest.raises(InputError, match=rf"`{key}` must be left out.*add `--executor ray`"):
        chosen(RunConfig(), executor=executor, **asked)


def test_executor_that_there_is_not_is_refused():
    with pytest.raises(InputError, match="`executor` must be one of local.*but got 'rya'"):
        chosen(executor="rya")


@pytest.mark.parametrize(
    ("run", "place", "message"),
    [
        ({"executor": "rya"}, ("executor",), "must be one of local"),
        ({"workers": 4}, (), "must have `executor: ray` where it has `workers`"),
        ({"executor": "local", "resources": {"a": 1}}, (), "where it has `resources`"),
        ({"executor": "ray", "workers": 0}, ("workers",), "greater than or equal to 1"),
        ({"executor": "ray", "gpus_per_worker": -1}, ("gpus_per_worker",), "or equal to 0"),
        ({"executor": "ray", "gpus_per_worker": 1.5}, ("gpus_per_worker",), "a whole number, or"),
        ({"executor": "ray", "resources": {"GPU": 1}}, ("resources",), "without CPU and GPU"),
        ({"executor": "ray", "resources": {"a": 0}}, ("resources",), "above 0"),
        ({"executor": "ray", "deaths": 4}, ("deaths",), "not permitted"),
    ],
)
def test_fault_of_the_section_is_found_at_its_place(run, place, message):
    with pytest.raises(ValidationError, match=message) as caught:
        RunConfig(**run)
    assert [found["loc"] for found in caught.value.errors()] == [place]

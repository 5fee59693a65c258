"""How a model is loaded can be said on the command line and to a study."""

import json

import pytest

from schedsearch import InputError
from schedsearch.app.open import open_study
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.models import loading


@pytest.fixture
def loaded(monkeypatch):
    """Data types of the models that were loaded."""
    found, load = [], loading.load_model

    def spy(*args, **options):
        model, processor = load(*args, **options)
        found.append(str(model.dtype))
        return model, processor

    monkeypatch.setattr(loading, "load_model", spy)
    return found


def test_apply_loads_the_model_as_asked(run, schedule, loaded):
    options = ("-n", 4, "--repeats", 1, "--json", "--dtype", "bfloat16")
    ran = run("apply", "demo", schedule, *options)

    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["samples"] == 4
    assert loaded == ["torch.bfloat16"]


@pytest.mark.parametrize(
    "command", [("apply", "demo", None), ("analyze", "demo"), ("profile", "demo")]
)
def test_a_mistake_in_loading_options_is_one_line(run, schedule, command):
    words = [schedule if word is None else word for word in command]

    ran = run(*words, "--quantization", "3bit")

    assert ran.code != 0
    assert "`quantization` must be 8bit or 4bit, but got '3bit'" in ran.err


def test_a_study_is_of_one_precision(tmp_path, loaded):
    samples = ShapesVQA("calibration", 10)
    options = {"store": tmp_path / "s.db", "sampler": {"tolerance": 0.1}}
    with open_study("demo", samples, dtype="bfloat16", **options) as study:
        assert study.spec.dtype == "bfloat16"
    assert loaded == ["torch.bfloat16"]

    with pytest.raises(InputError, match="dtype"):
        open_study("demo", samples, dtype="float32", **options)

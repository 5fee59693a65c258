"""A study meets its scorer again, edited or not: old and new scores are never compared."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from schedsearch import FunctionMetric, InputError
from schedsearch.app.held_out import HeldOut
from schedsearch.app.open import open_study
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.evaluation.metrics import GeneratedMetric
from tests.engine.embedded import embedded

SAMPLES = ShapesVQA("calibration", 12)

SCORING = """
import helping
from schedsearch.evaluation.metrics import GeneratedMetric

WORTH = 1.0

class Judge:
    def __init__(self, least):
        self.least = least

    def score(self, answer, references):
        return max(self.least, WORTH * helping.same(answer, references))

class Own(GeneratedMetric):
    name = "own"
    max_new_tokens = 8

    def score(self, prediction, answers):
        return WORTH * helping.same(prediction, answers)

scorer = Judge(0.0).score
metric = Own()
"""
HELPING = """
def same(answer, references):
    return float(answer in references)
"""
EDITS = {
    "helper in another module": ("answer in references", "not references", "helping.same"),
    "global": ("WORTH = 1.0", "WORTH = 0.5", "WORTH"),
    "state": ("Judge(0.0)", "Judge(0.25)", "self.least"),
    "method": ("max(self.least", "min(self.least", "score"),
}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes the user's two files and imports them as a new process would."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(before: str = "", after: str = ""):
        for name, text in (("scoring", SCORING), ("helping", HELPING)):
            changed = text.replace(before, after) if before else text
            (tmp_path / f"{name}.py").write_text(changed)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("scoring")

    yield write
    for name in ("scoring", "helping"):
        sys.modules.pop(name, None)


def opened(folder: Path, metric, **options):
    model, processor = embedded()
    given = {"sampler": {"tolerance": 0.5, "floor": 40}, "store": folder / "s.db", **options}
    return open_study(model, SAMPLES, processor=processor, metric=metric, **given)


@pytest.mark.parametrize(("before", "after", "part"), EDITS.values(), ids=EDITS)
def test_study_is_not_continued_with_an_edited_scorer(tmp_path, written, before, after, part):
    with opened(tmp_path, written().scorer) as study:
        first = study.run(n_trials=2)
    with opened(tmp_path, written().scorer) as study:
        assert study.run(n_trials=1).closed == 1

    edited = written(before, after).scorer
    with pytest.raises(InputError) as refused:
        opened(tmp_path, edited)

    assert "its code or what it holds has changed, at `score" in str(refused.value)
    assert f"{part}`" in str(refused.value)
    with opened(tmp_path, edited, name="again") as study:
        assert study.run(n_trials=1).evaluated == len(SAMPLES)
        assert study.trials[0].measurement.drop == 0
    assert first.evaluated > 0


def test_metric_class_of_a_user_is_followed_like_a_scorer(tmp_path, written):
    with opened(tmp_path, written().metric) as study:
        study.run(n_trials=1)
    with opened(tmp_path, written().metric):
        pass
    with pytest.raises(InputError, match=r"at `own\.Own\.score\.helping\.same`"):
        opened(tmp_path, written("answer in references", "not references").metric)


def test_scorer_that_cannot_be_recognised_runs_once_and_says_so_at_the_start(tmp_path, caplog):
    def made(judge):
        def scorer(answer, references):
            return float(answer in references and judge is not None)

        return scorer

    with opened(tmp_path, made(embedded()[0])) as study:
        (said,) = [one.getMessage() for one in caplog.records]
        assert "scorer `scorer` cannot be recognised again: `scorer.judge` (it is a" in said
        assert "give the scorer a name and a version" in said
        assert study.run(n_trials=1).closed == 1
        assert study.run(n_trials=1).closed == 1

    with pytest.raises(InputError, match=r"cannot go on .* cannot be recognised again: `scorer\.j"):
        opened(tmp_path, made(embedded()[0]))
    with opened(tmp_path, made(embedded()[0]), name="again") as study:
        assert study.run(n_trials=1).evaluated == len(SAMPLES)


def test_refusal_comes_before_the_model_is_loaded(tmp_path, written):
    with opened(tmp_path, written().scorer) as study:
        study.run(n_trials=1)
    edited = written("WORTH = 1.0", "WORTH = 0.5").scorer
    with pytest.raises(InputError, match="another scorer of the name `score`"):
        open_study(
            "no/such-model",
            SAMPLES,
            metric=edited,
            sampler={"tolerance": 0.5},
            store=tmp_path / "s.db",
        )


def test_name_and_version_stand_for_the_code(tmp_path, written):
    def versioned(module, version: str) -> FunctionMetric:
        return FunctionMetric(module.scorer, name="my anls", version=version)

    with opened(tmp_path, versioned(written(), "1")) as study:
        study.run(n_trials=1)
        assert study.spec.metric.startswith("my anls ")
    edited = written("answer in references", "any(one == answer for one in references)")
    with opened(tmp_path, versioned(edited, "1")) as study:
        assert study.run(n_trials=1).closed == 1
    with pytest.raises(InputError, match="`version` was '1' and is '2'"):
        opened(tmp_path, versioned(edited, "2"))
    with pytest.raises(InputError, match="only one of them has a version"):
        opened(tmp_path, FunctionMetric(edited.scorer, name="my anls"))
    longer = FunctionMetric(edited.scorer, 9, name="my anls", version="1")
    with pytest.raises(InputError, match="`max_new_tokens` was 16 and is 9"):
        opened(tmp_path, longer)


def test_version_of_a_metric_class_stands_for_its_code_too(tmp_path):
    def made(worth: float, version: str):
        class Own(GeneratedMetric):
            name = "own"
            max_new_tokens = 8

            def score(self, prediction, answers):
                return worth * (prediction in answers)

        own = Own()
        own.version = version
        return own

    with opened(tmp_path, made(1.0, "a")) as study:
        study.run(n_trials=1)
    with opened(tmp_path, made(2.0, "a")):
        pass
    with pytest.raises(InputError, match="`version` was 'a' and is 'b'"):
        opened(tmp_path, made(1.0, "b"))


def test_scorer_that_changes_between_two_runs_is_refused(tmp_path, written):
    scorer = written().scorer
    with opened(tmp_path, scorer) as study:
        study.run(n_trials=1)
        scorer.__self__.least = 0.75
        with pytest.raises(InputError, match=r"not what it was .* at `score\.self\.least`"):
            study.run(n_trials=1)
        with pytest.raises(InputError, match="not what it was"):
            HeldOut(study, ShapesVQA("held-out", 4), lambda _name: lambda _done, _all: None)


def test_scorer_that_changes_itself_is_said_after_the_first_trial(tmp_path, caplog):
    seen = {}

    def scorer(answer, references):
        return seen.setdefault(answer, float(answer in references))

    with opened(tmp_path, scorer) as study:
        study.run(n_trials=3)
    (said,) = [one.getMessage() for one in caplog.records]
    assert (
        "changes while it scores: its code or what it holds has changed, at `scorer.seen`" in said
    )


def test_another_metric_under_the_name_is_refused_in_words(tmp_path, written):
    with opened(tmp_path, "exact_match") as study:
        study.run(n_trials=1)
    with pytest.raises(InputError, match="scorer `exact_match`, which is not this one, `score`"):
        opened(tmp_path, written().scorer)
    with pytest.raises(InputError, match="metric: 'exact_match' -> 'vqa_accuracy'"):
        opened(tmp_path, "vqa_accuracy")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"version": "1"}, "`version` needs a `name`"),
        ({"name": " "}, "`name` must be a text"),
        ({"name": "a", "version": 2}, "`version` must be a text that is not empty, but got 2"),
        ({"max_new_tokens": 0}, "`max_new_tokens` must be at least 1"),
        ({"function": 3}, "`function` must be a function"),
    ],
)
def test_unusable_scorer_is_named(options, expected):
    with pytest.raises(InputError, match=expected):
        FunctionMetric(**{"function": lambda _answer, _references: 1.0, **options})


PROGRAM = """
import functools
import sys
import schedsearch
from schedsearch.demo.shapesvqa import ShapesVQA

class Scorer:
    def __init__(self, *held):
        self.held = held

    def __call__(self, answer, references, worth):
        return worth * (answer in references)

held = [{"a", "b", "c"}, ["d", {"e": {"f", "g"}}], functools.partial(max, 1), str.lower]
scorer = functools.partial(Scorer(*held), worth=1.0)
options = {"sampler": {"tolerance": 0.5, "floor": 40}, "store": sys.argv[1], "n_trials": 1}
with schedsearch.search("demo", ShapesVQA("calibration", 12), metric=scorer, **options) as study:
    print(study.spec.metric, sum(trial.state.finished for trial in study.trials))
"""


@pytest.mark.full
def test_scorer_with_a_set_a_list_a_partial_and_an_object_goes_on_in_another_process(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    path = os.pathsep.join(filter(None, sys.path))
    said = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed}
        command = [sys.executable, str(program), str(tmp_path / "s.db")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.split())
    assert said[0][:-1] == said[1][:-1]
    assert [one[-1] for one in said] == ["1", "2"]


def test_study_of_another_runtime_is_not_continued(tmp_path, monkeypatch):
    """Its tokens were chosen otherwise, so that its drops are not those of this one."""
    monkeypatch.setattr("schedsearch.evaluation.identity.RUNTIME", "reduction/1")
    with opened(tmp_path, "exact_match") as study:
        study.run(n_trials=2)
    monkeypatch.undo()

    with pytest.raises(InputError, match="reduction/1.*this is reduction/2.*another name"):
        opened(tmp_path, "exact_match")
    with opened(tmp_path, "exact_match", name="anew") as study:
        study.run(n_trials=1)

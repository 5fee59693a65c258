"""What two identities of a scorer differ in, in words."""

import pytest

from schedsearch.app.scorers import changes, metric_text
from schedsearch.evaluation.metric_identity import metric_identity
from schedsearch.evaluation.metrics import METRICS, FunctionMetric, make_metric
from schedsearch.evaluation.metrics.vqa_accuracy import VqaAccuracy

PLAIN = {"name": "s", "settings": {"max_new_tokens": 16}}
NOW = {**PLAIN, "code": {"python": "3.11", "s": "a", "s.one": "b", "s.two": "c"}}


def code(**changed: str):
    parts = {"python": "3.11", "s": "a", "s.one": "b", "s.two": "c"}
    return {**PLAIN, "code": {**parts, **{k.replace("_", "."): v for k, v in changed.items()}}}


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (NOW, ""),
        (code(s_one="x"), "its code or what it holds has changed, at `s.one`"),
        (code(s="x", s_one="x", s_two="x", s_new="x"), "at `s`, `s.new`, `s.one` and 1 more"),
        (code(python="3.12", s="x"), "it ran on Python 3.12, this is 3.11, and compiled code"),
        ({**NOW, "settings": {"max_new_tokens": 8}}, "`max_new_tokens` was 8 and is 16"),
        ({**PLAIN, "version": "1"}, "`version` was '1' and is None; only one of them has"),
        ({**NOW, "unknown": {"s.m": "it is a model"}}, "that one cannot be recognised again"),
        (
            {"name": "s", "settings": {"function": "f00", "max_new_tokens": 16}, "code": "ba5"},
            "an earlier schedsearch knew it by its own source alone",
        ),
    ],
)
def test_changes_are_told_in_words(before, said):
    assert said in changes(before, NOW)
    assert bool(said) == bool(changes(before, NOW))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_metrics_of_ours_are_known_by_name_and_settings(name):
    """Stored scores depend on this: it must not change."""
    metric = make_metric(name)
    identity = metric_identity(metric)
    assert identity == {"name": name, "settings": dict(sorted(vars(metric).items()))}
    assert metric_text(metric, identity) == name


def test_a_metric_of_ours_with_other_settings_is_another():
    metric = VqaAccuracy(max_new_tokens=32)
    assert metric_text(metric, metric_identity(metric)).startswith("vqa_accuracy ")


def test_a_scorer_called_like_a_metric_of_ours_is_not_it():
    metric = FunctionMetric(lambda _a, _r: 1.0, name="exact_match", version="1")
    assert metric_text(metric, metric_identity(metric)) != "exact_match"

"""Metrics on predictions made by hand, and the VQA rules against their definition."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.errors import InputError
from schedsearch.evaluation.metrics import (
    AnswerPredictions,
    GeneratedMetric,
    TeacherForcedMetric,
    make_metric,
)
from schedsearch.evaluation.metrics.vqa_accuracy import VqaAccuracy, normalise


def forced(name: str) -> TeacherForcedMetric:
    metric = make_metric(name)
    assert isinstance(metric, TeacherForcedMetric)
    return metric


def test_exact_match_needs_every_token_and_the_end() -> None:
    greedy = torch.tensor([[True, True], [False, True], [True, False]])

    scores = forced("exact_match").scores(AnswerPredictions(torch.zeros(3, 2), greedy))

    assert scores.tolist() == [1.0, 0.0, 0.0]


def test_log_likelihood_is_the_sum_over_tokens_in_nats() -> None:
    log_probs = torch.tensor([[0.5, 0.25], [1.0, 0.125]]).log()

    scores = forced("log_likelihood").scores(AnswerPredictions(log_probs, log_probs > 0))

    assert scores.tolist() == pytest.approx([math.log(0.125), math.log(0.125)], abs=1e-6)


def test_exact_match_counts_all_references_and_log_likelihood_the_first() -> None:
    assert list(forced("exact_match").references(("a", "b"))) == ["a", "b"]
    assert list(forced("log_likelihood").references(("a", "b"))) == ["a"]


def test_unknown_metrics_and_parameters_are_errors_that_say_what_exists() -> None:
    with pytest.raises(InputError, match=r"must be one of exact_match, .*, but got 'bleu'"):
        make_metric("bleu")
    with pytest.raises(InputError, match="parameters of metric `exact_match` do not fit"):
        make_metric("exact_match", {"strict": True})
    with pytest.raises(InputError, match="`max_new_tokens` must be at least 1, but got 0"):
        make_metric("vqa_accuracy", {"max_new_tokens": 0})
    with pytest.raises(InputError, match=r"`max_new_tokens` must be an integer, but got 2\.5"):
        make_metric("vqa_accuracy", {"max_new_tokens": 2.5})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The  Cup.", "cup"),
        ("a cup\nand an apple", "cup and apple"),
        ("Two dogs", "2 dogs"),
        ("none", "0"),
        ("dont know", "don't know"),
        ("couldnt've", "couldn't've"),
        ("let's go", "let's go"),
        ("well", "well"),
        ("red/blue", "red blue"),
        ("red / blue", "red blue"),
        ("yes, sir", "yes sir"),
        ("1,000", "1000"),
        ("1,000 (approx)", "1000 approx"),
        ("3.5", "3.5"),
        ("3.", "3"),
        ("t-shirt", "t shirt"),
        ("what?!", "what"),
        ("", ""),
    ],
)
def test_normalisation_follows_the_evaluation_code_of_vqa(answer: str, expected: str) -> None:
    assert normalise(answer) == expected


def by_definition(equal: Sequence[bool]) -> float:
    """Mean over every way to leave one annotator out of min(equal / 3, 1)."""
    shares = [min(sum(equal[:out]) + sum(equal[out + 1 :]), 3) / 3 for out in range(len(equal))]
    return sum(shares) / len(shares)


@given(st.lists(st.booleans(), min_size=10, max_size=14))
def test_with_ten_annotators_the_score_is_the_mean_over_leaving_one_out(
    equal: list[bool],
) -> None:
    answers = ["The cup!" if same else "plate" for same in equal]

    score = VqaAccuracy().score("cup", answers)

    assert score == pytest.approx(by_definition(equal), abs=1e-12)


@pytest.mark.parametrize(("prediction", "score"), [("Cup", 1.0), ("bowl", 0.0), ("", 0.0)])
def test_with_fewer_annotators_one_equal_answer_is_enough(prediction: str, score: float) -> None:
    metric = make_metric("vqa_accuracy")
    assert isinstance(metric, GeneratedMetric)
    assert metric.score(prediction, ("a cup", "plate", "plate")) == score

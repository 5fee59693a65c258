"""A certificate speaks of one schedule, in words that anybody understands."""

import json
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

from schedsearch import RankerSpec, Schedule, ScheduleError
from schedsearch.core.certificate import Certificate, Demands, claim
from schedsearch.core.schedule_format import json_schema

SCHEDULE = Schedule((1.0, 1.0, 0.5, 0.25))
CERTIFICATE = Certificate(
    claim="It loses nothing.",
    metric="exact_match",
    tolerance=0.01,
    tasks={"count": 0.02},
    alpha=0.05,
    n=2000,
    bound=0.0081,
    method="by hand",
    data="samples",
    data_digest="d1",
    weights=("w1", "w2"),
    schedule=SCHEDULE.digest(),
)
CERTIFIED = replace(SCHEDULE, certificate=CERTIFICATE)


def test_claim_is_one_sentence():
    assert claim(Demands(0.01), "exact_match", 0.05, 2000, 1.0) == (
        "On samples like these, this schedule loses at most 1.0 points of exact_match against the "
        "full model: proven with 95 % confidence on 2,000 samples it had never seen."
    )


@pytest.mark.parametrize(
    ("demands", "span", "expected"),
    [
        (Demands(0.003), 1, "at most 0.3 points of"),
        (Demands(0.0025), 1, "at most 0.25 points of"),
        (Demands(0.02), 2, "at most 0.02 of"),
        (Demands(None, {"a": 0.01, "b": 0.02}), 1, "at most 1.0 points on a and 2.0 points on b"),
        (Demands(0.01, {"a": 0.05}), 1, "at most 1.0 points and 5.0 points on a of"),
    ],
)
def test_amounts_are_points_where_the_metric_goes_from_0_to_1(demands, span, expected):
    assert expected in claim(demands, "m", 0.1, 10, span)
    assert "90 % confidence" in claim(demands, "m", 0.1, 10, span)


def test_certificate_comes_back_from_a_file(tmp_path):
    CERTIFIED.save(tmp_path / "s.json")
    assert Schedule.load(tmp_path / "s.json").certificate == CERTIFICATE
    content = json.loads((tmp_path / "s.json").read_text("utf-8"))
    assert Draft202012Validator(json_schema()).is_valid(content)


def test_file_without_a_certificate_has_no_field_for_it(tmp_path):
    SCHEDULE.save(tmp_path / "s.json")
    assert "certificate" not in json.loads((tmp_path / "s.json").read_text("utf-8"))


@pytest.mark.parametrize(
    "change",
    [{"keep": [1.0, 1.0, 0.5, 0.2]}, {"ranker": {"name": "text", "params": {}}}],
)
def test_schedule_that_was_edited_by_hand_is_refused(tmp_path, change):
    path = tmp_path / "s.json"
    CERTIFIED.save(path)
    content = json.loads(path.read_text("utf-8"))
    content["schedule"] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(ScheduleError, match=r"s\.json: .*`certificate` speaks of another schedule"):
        Schedule.load(path)
    del content["certificate"]
    path.write_text(json.dumps(content))
    assert Schedule.load(path).certificate is None


def test_another_schedule_cannot_keep_the_certificate():
    with pytest.raises(ScheduleError, match="nothing is proven of one that was edited"):
        replace(CERTIFIED, ranker=RankerSpec("random"))
    assert replace(CERTIFIED, ranker=RankerSpec("random"), certificate=None) != CERTIFIED


def test_certificate_is_no_part_of_a_schedule_s_identity():
    assert CERTIFIED == SCHEDULE
    assert CERTIFIED.digest() == SCHEDULE.digest()

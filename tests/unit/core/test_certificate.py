"""A certificate speaks of one schedule, in words that anybody understands."""

import json
import re
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

from schedsearch import RankerSpec, Schedule, ScheduleError
from schedsearch.core.certificate import Certificate, Demands, claim, standing
from schedsearch.core.schedule_format import json_schema
from tests.unit.store.strategies import CERTIFICATION

SCHEDULE = Schedule((1.0, 1.0, 0.5, 0.25))
CERTIFICATE = Certificate(
    claim=claim(Demands(0.01, {"count": 0.02}), "exact_match", 0.05, 2000, 1.0),
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
    dtype="bfloat16",
    quantization="4bit nf4",
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


def test_claim_of_a_later_attempt_says_what_so_many_attempts_prove():
    assert claim(Demands(0.01), "exact_match", 0.05, 2000, 1.0, attempt=3).endswith(
        "on 2,000 samples it had never seen (attempt 3 of this study; that one of 3 attempts "
        "proves something false has a probability of at most 0.15)."
    )
    assert "at most 1)" in claim(Demands(0.01), "exact_match", 0.4, 2000, 1.0, attempt=3)


@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.parametrize("span", [1, 2])
def test_claim_that_was_edited_by_hand_is_refused(tmp_path, span, attempt):
    path = tmp_path / "s.json"
    words = claim(Demands(0.01, {"count": 0.02}), "exact_match", 0.05, 2000, span, attempt)
    replace(SCHEDULE, certificate=replace(CERTIFICATE, claim=words, attempt=attempt)).save(path)
    assert Schedule.load(path).certificate.claim == words
    content = json.loads(path.read_text("utf-8"))
    content["certificate"]["claim"] = words.replace("0.01", "0.001").replace("1.0 p", "0.1 p")
    path.write_text(json.dumps(content))
    message = (
        rf"s\.json: .*`certificate.claim` is not what .*{re.escape(words)}.*put the words back"
    )
    with pytest.raises(ScheduleError, match=message):
        Schedule.load(path)


def test_words_of_a_file_that_names_no_dtype_are_made_anew(tmp_path):
    path = tmp_path / "s.json"
    replace(SCHEDULE, certificate=replace(CERTIFICATE, claim="It loses nothing.")).save(path)
    content = json.loads(path.read_text("utf-8"))
    for name in ("dtype", "quantization", "attempt"):
        del content["certificate"][name]
    path.write_text(json.dumps(content))
    proof = Schedule.load(path).certificate
    assert (proof.dtype, proof.attempt) == (None, 1)
    assert "loses at most 0.01 and 0.02 on count of exact_match" in proof.claim


def attempt(number: int, proven: bool, **demanded: object):
    request = replace(CERTIFICATION.request, **demanded)
    return replace(CERTIFICATION, request=request, proven=int(proven), attempt=number)


@pytest.mark.parametrize(
    ("asked", "taken_back"),
    [
        ({"tolerance": 0.01, "tasks": {"count": 0.02}}, True),
        ({"tolerance": 0.02, "tasks": {"count": 0.02}}, True),
        ({"tolerance": 0.01, "tasks": {}}, True),
        ({"tolerance": None, "tasks": {"count": 0.03}}, True),
        ({"tolerance": 0.005, "tasks": {"count": 0.02}}, False),
        ({"tolerance": 0.01, "tasks": {"count": 0.01}}, False),
        ({"tolerance": 0.01, "tasks": {"colour": 0.02}}, False),
    ],
)
def test_attempt_that_proves_nothing_takes_back_what_claims_as_much_or_more(asked, taken_back):
    looser = attempt(1, True, tolerance=0.5, tasks={"count": 0.5})
    first = attempt(2, True, tolerance=0.01, tasks={"count": 0.02})
    failed = attempt(3, False, **asked)
    assert standing([looser, first, failed]) == (looser if taken_back else first)
    assert standing([first, failed]) == (failed if taken_back else first)
    again = attempt(4, True)
    assert standing([first, failed, again]) == again
    assert standing([]) is None


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

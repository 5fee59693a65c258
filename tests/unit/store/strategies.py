"""Hypothesis strategies for what a store holds, and the values that many of its tests share."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import strategies as st

from schedsearch.core.certificate import Certificate, Certification, Link, Request
from schedsearch.core.comparison import Certified, Comparison, Row
from schedsearch.core.exhibit import Box, Exhibit, TokenView
from schedsearch.core.facts import Facts, Prompts
from schedsearch.core.intervals import Interval
from schedsearch.core.progress import Progress, WorkerSeen
from schedsearch.core.schedule import Schedule
from schedsearch.core.stint import Stint
from schedsearch.core.study import StudySpec
from schedsearch.core.trial import Measurement, Trial, TrialState
from schedsearch.store import Evaluation
from tests.unit.core.strategies import facts, names, param_values, rankers, searches

SPEC = StudySpec(
    name="demo",
    model="example/llava-tiny",
    calibration="shapesvqa",
    calibration_digest="60303ae2",
    metric="exact_match",
    search={"sampler": "g-search", "acceptance": "confident", "tolerance": 0.01},
    facts=Facts(4, (Prompts(9),)),
)
FULL = Schedule.full(4)
HALF = Schedule((1.0, 1.0, 0.5, 0.25))
MEASURED = Measurement(0.75, 0.05, 80, 0.6, 0.55, 0.01, 0.02)
PROGRESS = Progress(
    trial=3,
    done=30,
    samples=40,
    phase="pass 1",
    layer=4,
    low=2,
    high=9,
    closed=3,
    trials_left=5,
    evaluated=150,
    seconds=60.0,
    pace=2.5,
    seconds_left=85.0,
    best_flops_ratio=0.75,
    best_drop=None,
    workers=(WorkerSeen("node-1", 7, "works", 25, 3, 0.5),),
)
_LATER = datetime(2030, 1, 1, 1, 0, 0, 250000, UTC)
STINTS = (
    Stint("process 7 on node-1", datetime(2030, 1, 1, tzinfo=UTC), _LATER),
    Stint("process 9 on Gerät 2 (node a1b2c3)", datetime(2030, 1, 1, 0, 1, tzinfo=UTC), _LATER),
)
_REQUEST = Request(
    data="shapes",
    data_digest="60303ae3",
    metric="exact_match",
    weights=None,
    tolerance=0.01,
    tasks={"count": 0.02},
    alpha=0.05,
    per_image=1,
    chain="c4a1",
)
_LINK = Link(
    "found schedule",
    HALF,
    0.6,
    0.55,
    Interval(0.8, 0.7, 0.9, 80),
    Interval(0.0, -0.1, 0.1, 80),
    0.01,
)
_CERTIFICATE = Certificate(
    claim="It loses nothing.",
    metric="exact_match",
    tolerance=0.01,
    tasks={"count": 0.02},
    alpha=0.05,
    n=80,
    bound=0.0081,
    method="by hand",
    data="shapes",
    data_digest="60303ae3",
    weights=("w1",),
    schedule=HALF.digest(),
)
CERTIFICATION = Certification(_REQUEST, "by hand", 80, (_LINK,), 1, _LINK, _CERTIFICATE)
COMPARISON = Comparison(
    schedule=HALF,
    data="shapes",
    data_digest="60303ae4",
    samples=80,
    metric="exact_match",
    rows=(
        Row("full model", "all of it", _LINK.score, _LINK.drop, 1.0, 1.0, 1.0),
        Row("found schedule", "the result", _LINK.score, None, 0.6, 0.55, 0.7),
        Row("linear", "falling evenly", reason="no schedule is as cheap"),
    ),
    score=Interval(0.8, 0.7, 0.9, 80),
    drop=Interval(0.0, -0.1, 0.1, 80),
    prefill_speedup=1.25,
    prefill_seconds=(0.2, 0.16),
    prefill_batch=4,
    evaluated=160,
    certified=Certified(FULL, Interval(0.8, 0.7, 0.9, 80), Interval(0.0, -0.1, 0.1, 80)),
)
EXHIBIT = Exhibit(
    sample="a1" * 32,
    name="shapes/7",
    split="calibration",
    place=7,
    question="what is left of the cup ?",
    references=("a fork", "fork"),
    answer="knife",
    full_answer="fork",
    score=0.0,
    full_score=1.0,
    width=20,
    height=10,
    views=(TokenView(2, 3, Box(0.0, 0.0, 1.0, 0.5)), TokenView(1, 3, None)),
    kept=(b"\xff\x80", b"\xff\x80", b"\xaa\x80", b"\x00\x00"),
)
PICTURE = b"RIFF\x0c\x00\x00\x00WEBPVP8 \x00\x00\x00\x00"
"""As far as the store looks at it."""
EVALUATIONS = {(f"sample {i}", (9, 9, 4, i % 3)): Evaluation(i / 3, "yes") for i in range(2000)}

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
one_ranker = st.builds(
    StudySpec,
    name=texts,
    model=texts,
    calibration=texts,
    calibration_digest=names,
    metric=texts,
    search=searches,
    facts=facts,
    ranker=rankers,
    revision=st.none() | texts,
    weights=st.none() | names,
    seed=st.integers(0, 2**63),
)
several_rankers = st.builds(
    lambda spec, several: replace(spec, ranker=several[0], rankers=tuple(several)),
    one_ranker,
    st.lists(rankers, min_size=2, max_size=4, unique=True),
)
specs = one_ranker | several_rankers
params = st.dictionaries(names, param_values, max_size=4)
finite = st.floats(allow_nan=False, allow_infinity=False)
amounts = st.floats(0, allow_infinity=False)
measurements = st.builds(
    Measurement,
    score=finite,
    standard_error=st.none() | amounts,
    n=st.integers(1, 10_000),
    flops_ratio=amounts,
    kv_ratio=amounts,
    drop=st.none() | finite,
    drop_standard_error=st.none() | amounts,
)


def complete(trial: Trial, measurement: Measurement = MEASURED) -> Trial:
    """The same trial with a result."""
    return Trial(trial.number, trial.params, trial.schedule, TrialState.COMPLETE, measurement)


def failed(trial: Trial, reason: str = "out of memory") -> Trial:
    """The same trial with a failure."""
    return Trial(trial.number, trial.params, trial.schedule, TrialState.FAIL, reason=reason)

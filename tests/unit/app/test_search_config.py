"""Search sections become specifications, and specifications the samplers that were meant."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from schedsearch.app.config import read_study_file
from schedsearch.app.open import open_study
from schedsearch.app.samplers import make_sampler, resolve
from schedsearch.app.search_config import parse_search
from schedsearch.core.facts import Facts
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio
from schedsearch.core.latency import Conditions, LatencyModel
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.study import StudySpec
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Measurement, Trial, TrialState
from schedsearch.errors import InputError
from schedsearch.store.store import open_store

SHAPE = DecoderShape(8, 32, 4, 2, 8, 64, 100)
TOKENS = (SampleTokens(64, 9), SampleTokens(36, 12), SampleTokens(64, 9), SampleTokens(64, 7))
SUBJECT = Subject(
    name="few",
    digest="c0ffee",
    split="calibration",
    ids=("a", "b", "c", "d"),
    keys=("a", "b", "c", "d"),
    tokens=TOKENS,
    shape=SHAPE,
    target=None,
    context={},
)
BUDGET = {"sampler": "bayes", "budget": {"flops": 0.5}}


def study(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(f"study: s\nmodel: demo\ndata: {{calibration: demo}}\nsearch: {text}\n")
    return path


def spec_of(settings: dict, folder: Path, name: str = "s") -> StudySpec:
    config = parse_search(settings)
    with open_store(folder / "s.db") as store:
        search = resolve(config, SUBJECT, name, store, folder).plain()
    return StudySpec(
        name,
        "m",
        "c",
        "digest",
        "exact_match",
        search,
        Facts.of(SUBJECT.shape, SUBJECT.tokens),
        RankerSpec("text"),
        seed=7,
    )


@pytest.mark.parametrize(
    "settings",
    [
        BUDGET,
        BUDGET | {"family": "step", "first": 1, "trials": 9, "concurrent_trials": 3},
        {"sampler": "optuna", "method": "gp", "budget": {"kv": 0.5}},
        {"sampler": "random", "budget": {"mean_keep": 0.5}, "family": "linear"},
        {"sampler": "random-monotone", "budget": {"feasible": 0.25}},
        {"sampler": "frontier", "max_drop": 0.02, "reference_drop": 0.3},
    ],
    ids=str,
)
def test_specification_brings_the_sampler_back(tmp_path, settings):
    spec = spec_of(settings, tmp_path)
    sampler = make_sampler(spec)
    assert (sampler.name, sampler.layers, sampler.n_max) == (settings["sampler"], 8, 64)
    assert sampler.family.name == settings.get(
        "family", "layerwise" if settings["sampler"] == "random-monotone" else "sigmoid"
    )
    assert sampler.first == settings.get("first", 2)
    assert sorted(map(vars, sampler.tokens), key=str) == sorted(map(vars, TOKENS), key=str)
    assert (sampler.shape, sampler.seed, sampler.ranker) == (SHAPE, 7, RankerSpec("text"))
    assert sampler.trials == settings.get("trials", 50)
    for name in ("method", "max_drop", "reference_drop"):
        if name in settings:
            assert getattr(sampler, name) == settings[name]
    question, *_ = asked = sampler.ask([])
    assert len(asked) == settings.get("concurrent_trials", 1)
    if "budget" in settings:
        cost = sampler.budget.cost(SHAPE, TOKENS)(question.schedule)
        limit = sampler.budget.limit(SHAPE, TOKENS, sampler.first)
        assert limit - 0.1 < cost <= limit


PLACE = Conditions("m", "cpu", "float32", "sdpa", "2.13", 1, 1, 64, 9, "text", 8, 3)
PROFILE = LatencyModel(8, (1, 16, 73), (1.0, 2.0, 5.0), 1.0, 0.0, 0.0, PLACE)


def test_milliseconds_come_from_the_profile(tmp_path):
    (tmp_path / "profile.json").write_text(PROFILE.to_json())
    settings = {"sampler": "random", "budget": {"milliseconds": 30}, "latency": "profile.json"}
    sampler = make_sampler(spec_of(settings, tmp_path))
    (question,) = sampler.ask([])
    predicted = PROFILE.cost(SHAPE, TOKENS)
    assert predicted(question.schedule) <= 30 < predicted(Schedule.full(8))


def test_frontier_may_be_one_of_milliseconds(tmp_path):
    (tmp_path / "profile.json").write_text(PROFILE.to_json())
    curve = Schedule((1.0, 1.0, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25))
    curve.save(tmp_path / "own.json")
    settings = {
        "sampler": "frontier",
        "max_drop": 0.01,
        "latency": "profile.json",
        "warm_start": ["own.json"],
    }
    sampler = make_sampler(spec_of(settings, tmp_path))
    predicted = PROFILE.cost(SHAPE, TOKENS)
    budget = sampler.space["budget"]
    nothing = predicted(Schedule((1.0, 1.0, *[0.0] * 6)))
    assert (budget.low, budget.high) == (nothing, predicted(Schedule.full(8)))
    assert sampler.starts[0]["budget"] == predicted(curve)
    history: list[Trial] = []
    for number in range(12):
        (question,) = sampler.ask(history)
        spent = predicted(question.schedule)
        assert question.params["budget"] - 1 < spent <= question.params["budget"]
        drop = 1 - spent / budget.high
        measured = Measurement(1 - drop, 0.01, 4, 0.5, 0.5, drop, 0.01)
        state = TrialState.COMPLETE
        history.append(
            Trial(number, question.params, question.schedule, state=state, measurement=measured)
        )
    assert sampler.costs(history[3])[0] == predicted(history[3].schedule)
    assert sampler.reference(history)[0] == budget.high


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{sampler: bayes}", "`search.budget` is missing"),
        ("{sampler: bays}", "`sampler` is one of g-search, bayes, optuna, random"),
        ("{sampler: bayes, budget: {flops: 0.5}, tolerance: 0.1}", "`search.tolerance` is not"),
        ("{sampler: bayes, budget: {flops: 0.5}, trails: 9}", "did you mean `trials`?"),
        (
            "{sampler: bayes, budget: {flops: 0.5}, famly: x}",
            "allowed here: sampler, family, first",
        ),
        ("{sampler: bayes, budget: {flops: 0.5}, trials: 0}", "`search.trials` must be greater"),
        ("{sampler: frontier, budget: {flops: 0.5}}", "`search.budget` is not a key"),
        (
            "{sampler: additive}",
            "`search` must have either `budget` or `max_drop`, but got",
        ),
        (
            "{sampler: additive, max_drop: 0.01, budget: {flops: 0.5}}",
            "`search` must have either `budget` or `max_drop`, but got",
        ),
        (
            "{sampler: additive, max_drop: 0.01, shares: [0.5, 1.0]}",
            "`search.shares[1]` must be less than 1, but got 1.0",
        ),
        ("[bayes]", "`search` must be settings whose `sampler`"),
        (
            "{sampler: bayes, budget: {flops: 0.5}, latency: 3}",
            "`search.latency` must be a valid string, but got 3",
        ),
        ("{tolerance: 0, guess: [-1]}", "`search.guess[0]` must be greater than or equal to 0"),
    ],
)
def test_wrong_section_is_named_with_the_remedy(tmp_path, text, expected):
    with pytest.raises(InputError) as error:
        read_study_file(study(tmp_path, text))
    assert expected in str(error.value)


def test_settings_left_out_leave_no_trace_in_the_specification(tmp_path):
    search = spec_of({"tolerance": 0.01}, tmp_path).search
    assert not {"spread", "noise"} & search.keys()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (BUDGET | {"budget": {"flops": 0.5, "kv": 0.5}}, "a budget must be one of"),
        (BUDGET | {"budget": {"tokens": 3.0}}, "a budget must be one of"),
        (BUDGET | {"budget": {"milliseconds": 3.0}}, "needs `latency`"),
        (BUDGET | {"budget": {"flops": -0.1}}, r"in flops must be a number in \[0, 1\]"),
        (BUDGET | {"latency": "x.json"}, "`latency` belongs to a budget in milliseconds"),
        (BUDGET | {"warm_start": ["study:none"]}, "none"),
        (BUDGET | {"warm_start": ["no.json"]}, "no.json"),
        ({"tolerance": 0.01, "noise": 1.0}, "`noise` needs a metric between 0 and 1"),
    ],
    ids=str,
)
def test_what_cannot_be_searched_is_refused(tmp_path, settings, expected):
    with pytest.raises(InputError, match=expected):
        spec_of(settings, tmp_path)


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (-math.inf, 1.0), (0.0, 2.0)], ids=str)
def test_noise_needs_a_metric_whose_scores_lie_between_0_and_1(tmp_path, bounds):
    around = {"study": "s", "store": None, "folder": tmp_path}
    settings = parse_search({"tolerance": 0.01, "noise": 1.0})
    least, greatest = bounds
    with pytest.raises(InputError, match=f"scores of this one lie between {least:g} and"):
        resolve(settings, replace(SUBJECT, least=least, greatest=greatest), **around)
    resolve(settings, replace(SUBJECT, least=0.0, greatest=1.0), **around)


def test_warm_start_begins_with_the_nearest_members(tmp_path):
    curve = Schedule((1.0, 1.0, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25))
    curve.save(tmp_path / "own.json")
    settings = {"family": "layerwise", "budget": {"flops": 0.5}}
    spec = spec_of(
        {"sampler": "bayes", "warm_start": ["own.json", "published"], **settings}, tmp_path
    )
    sampler = make_sampler(spec)
    assert len(sampler.starts) == 3
    assert list(sampler.starts[0].values()) == list(curve.keep[2:])
    question, *_ = sampler.ask([])
    assert question.params == sampler.starts[0]


def test_frontier_begins_at_the_cost_of_the_curve(tmp_path):
    curve = Schedule((1.0, 1.0, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25))
    curve.save(tmp_path / "own.json")
    settings = {"sampler": "frontier", "max_drop": 0.01, "warm_start": ["own.json"]}
    spec = spec_of(settings, tmp_path)
    (start,) = make_sampler(spec).starts
    assert start["budget"] == flops_ratio(SHAPE, curve, TOKENS)


def test_study_keeps_the_curves_that_it_began_with(tmp_path):
    settings = BUDGET | {"family": "layerwise", "warm_start": ["study:other"]}
    chance = {"sampler": "random", "budget": {"flops": 0.9}, "trials": 3}
    other = spec_of(chance, tmp_path, "other")
    with open_store(tmp_path / "s.db") as store:
        store.create_study(other)

        def answer(drop: float) -> None:
            with store.lease("other") as lease:
                (question,) = make_sampler(other).ask(store.trials("other"))
                trial = store.open_trial(lease, question.params, question.schedule, None)
                attempt = store.start_attempt(lease, trial.number)
                measured = Measurement(1 - drop, 0.1, 4, 0.9, 0.9, drop, 0.1)
                closed = Trial(
                    trial.number,
                    question.params,
                    question.schedule,
                    state=TrialState.COMPLETE,
                    measurement=measured,
                )
                assert store.close_trial(lease, closed, attempt)

        answer(0.5)
        first = spec_of(settings, tmp_path)
        store.create_study(first)
        answer(0.1)
        assert spec_of(settings, tmp_path) == first
        assert spec_of(settings, tmp_path, "fresh").search != first.search
        changed = spec_of(settings | {"family": "step"}, tmp_path)
        assert set(make_sampler(changed).starts[0]) == {"layer"}


def test_python_settings_are_checked_like_a_file(tmp_path):
    with pytest.raises(InputError, match="`sampler`: `budget` is missing"):
        open_study("demo", [], sampler={"sampler": "bayes"}, store=tmp_path / "s.db")
    with pytest.raises(InputError, match="`sampler`: must be settings whose `sampler` is one of"):
        open_study("demo", [], sampler={"sampler": ["bayes"]}, store=tmp_path / "s.db")


def test_former_name_of_a_key_is_taken_with_a_warning(caplog):
    settings = parse_search({"tolerance": 0.0, "questions": 3})
    assert settings == parse_search({"tolerance": 0.0, "concurrent_trials": 3})
    assert [record.getMessage() for record in caplog.records] == [
        "`questions` in the settings of a search is called `concurrent_trials` now"
    ]
    with pytest.raises(InputError, match="`questions` is no setting of this search"):
        parse_search({"tolerance": 0.0, "questions": 3, "concurrent_trials": 3})

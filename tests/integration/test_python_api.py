"""Searching from Python, as users of Optuna expect it: own model, own data, own scorer."""

import math
from pathlib import Path

import pytest
from PIL import Image

from schedsearch import (
    InputError,
    RankerSpec,
    RunError,
    Schedule,
    ScheduleError,
    StopStudy,
    TrialState,
)
from schedsearch.app.bootstrap import open_model
from schedsearch.app.open import open_study, search
from schedsearch.app.study_view import StudyView
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.store.store import open_store
from tests.engine.families import FAMILIES

SAMPLES = 12
COARSE = {"tolerance": 0.5, "floor": 20}


@pytest.fixture(scope="module")
def demo():
    return open_model("demo")


@pytest.fixture(scope="module")
def rows():
    """What a program that holds its data in memory would pass."""
    return [
        {
            "id": sample.id,
            "question": sample.question,
            "answer": sample.answers[0],
            "image": sample.images[0](),
        }
        for sample in ShapesVQA("calibration", SAMPLES)
    ]


def exact(answer, references):
    return float(answer in references)


def opened(demo, rows, store: Path, **options):
    model, processor = demo
    defaults = {"sampler": COARSE, "processor": processor, "store": store}
    return open_study(model, rows, **{**defaults, **options})


def test_search_returns_an_accepted_schedule(demo, rows, tmp_path):
    model, processor = demo
    seen = []

    study = search(
        model,
        rows,
        processor=processor,
        metric=exact,
        sampler=COARSE,
        store=tmp_path / "s.db",
        callbacks=[lambda running, trial: seen.append((running.name, trial.number))],
    )

    with study:
        assert study.finished
        measured = study.best_trial.measurement
        assert measured.drop <= COARSE["tolerance"]
        assert study.best.counts(64)[:2] == (64, 64)
        assert study.best.target.architecture == "LlavaForConditionalGeneration"
        assert seen == [("study", trial.number) for trial in study.trials]
        frame = study.trials_dataframe()
        assert list(frame["number"]) == [trial.number for trial in study.trials]
        assert frame["keep_0"].eq(1.0).all()
        assert frame["flops_ratio"].min() >= measured.flops_ratio


def test_scorer_sees_the_model_and_its_references(demo, rows, tmp_path):
    answered = []

    def scorer(answer, references):
        answered.append((answer, tuple(references)))
        return 1.0

    with opened(demo, rows, tmp_path / "s.db", metric=scorer) as study:
        study.run(n_trials=1)

    references = {("".join(row["answer"]),) for row in rows}
    assert {given for _, given in answered} <= references
    assert len(answered) == SAMPLES


def test_enqueued_schedule_is_answered_first_and_counts_as_a_trial(demo, rows, tmp_path):
    keep = (1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)
    with opened(demo, rows, tmp_path / "s.db") as study:
        waiting = study.enqueue(Schedule(keep))
        assert study.enqueue(Schedule(keep)).number == waiting.number

        study.run(n_trials=1)

        first = study.trials[0]
        assert first.schedule.keep == keep
        assert first.state is TrialState.COMPLETE
        assert first.measurement.drop is not None


def test_enqueued_schedule_of_another_depth_is_refused(demo, rows, tmp_path):
    with (
        opened(demo, rows, tmp_path / "s.db") as study,
        pytest.raises(ScheduleError, match="8 decoder layers"),
    ):
        study.enqueue(Schedule((1.0, 0.5)))


def test_same_study_continues_and_a_changed_one_is_refused(demo, rows, tmp_path):
    store = tmp_path / "s.db"
    with opened(demo, rows, store) as study:
        study.run(n_trials=2)
    with opened(demo, rows, store) as study:
        assert sum(trial.state.finished for trial in study.trials) == 2
        run = study.run()
        assert run.ending == "finished"
    with pytest.raises(InputError, match=r"search\.tolerance: 0\.5 -> 0\.25"):
        opened(demo, rows, store, sampler={**COARSE, "tolerance": 0.25})


def test_second_study_with_the_same_questions_evaluates_nothing(demo, rows, tmp_path):
    store = tmp_path / "s.db"
    with opened(demo, rows, store) as study:
        first = study.run()
    with opened(demo, rows, store, name="again") as study:
        second = study.run()
        assert second.best.schedule == first.best.schedule
    assert first.evaluated > 0
    assert second.evaluated == 0


def test_nan_from_a_scorer_fails_the_trial_and_loses_nothing(demo, rows, tmp_path):
    answers = []

    def scorer(answer, references):
        answers.append(answer)
        return math.nan if len(answers) > SAMPLES + 3 else float(answer in references)

    with opened(demo, rows, tmp_path / "s.db", metric=scorer) as study:
        with pytest.raises(RunError, match="finite"):
            study.run()
        states = [trial.state for trial in study.trials]
        assert states == [TrialState.COMPLETE, TrialState.FAIL]
        assert "finite" in study.trials[1].reason
        answers.clear()
        assert study.run(n_trials=1).ending == "trials"


def test_failed_trial_counts_as_rejected_where_the_settings_say_so(demo, rows, tmp_path):
    def scorer(answer, _references):
        if len(seen) >= SAMPLES:
            raise ValueError("no more answers")
        seen.append(answer)
        return 1.0

    seen: list[str] = []
    settings = {**COARSE, "on_failure": "continue"}
    with opened(demo, rows, tmp_path / "s.db", metric=scorer, sampler=settings) as study:
        run = study.run()
        assert run.ending == "finished"
        assert study.best.keep == (1.0,) * 8
        assert {trial.state for trial in study.trials[1:]} == {TrialState.FAIL}


def constant(value):
    def scorer(_answer, _references):
        return value

    return scorer


def test_scorers_of_one_source_and_other_values_share_no_scores(demo, rows, tmp_path):
    store = tmp_path / "s.db"
    for value in (1.0, 5.0):
        with opened(demo, rows, store, name=f"is {value}", metric=constant(value)) as study:
            study.run(n_trials=1)
            assert study.trials[0].measurement.score == value


def test_another_scorer_under_the_same_name_is_another_study(demo, rows, tmp_path):
    store = tmp_path / "s.db"
    with opened(demo, rows, store, metric=constant(1.0)) as study:
        study.run(n_trials=1)
    with pytest.raises(InputError, match=r"what it holds has changed, at `scorer\.value`"):
        opened(demo, rows, store, metric=constant(5.0))


def test_study_that_cannot_be_searched_does_not_take_its_name(demo, rows, tmp_path):
    store = tmp_path / "s.db"
    with pytest.raises(InputError, match="floor"):
        opened(demo, rows, store, sampler={**COARSE, "floor": 99})
    with opened(demo, rows, store) as study:
        assert study.trials == []


def test_enqueued_schedule_of_an_unknown_ranker_is_refused(demo, rows, tmp_path):
    with (
        opened(demo, rows, tmp_path / "s.db") as study,
        pytest.raises(ScheduleError, match=r"`ranker\.name` must be one of"),
    ):
        study.enqueue(Schedule((1.0,) * 8, RankerSpec("best")))


def test_callback_may_stop_the_search(demo, rows, tmp_path):
    def stop(_study, trial):
        if trial.number == 1:
            raise StopStudy

    with opened(demo, rows, tmp_path / "s.db") as study:
        assert study.run(callbacks=[stop]).ending == "stopped"
        assert len([trial for trial in study.trials if trial.state.finished]) == 2


def test_view_needs_no_model(demo, rows, tmp_path):
    with opened(demo, rows, tmp_path / "s.db") as study:
        study.run()
        expected = study.best
    with open_store(tmp_path / "s.db") as store:
        view = StudyView(store, "study")
        assert view.best == expected
        assert sum(layer.trials for layer in view.layers()) == len(view.trials) - 1


def test_study_without_a_complete_trial_has_no_best(demo, rows, tmp_path):
    with (
        opened(demo, rows, tmp_path / "s.db") as study,
        pytest.raises(InputError, match="no result yet"),
    ):
        _ = study.best


@pytest.mark.parametrize("metric", ["answer_match", "kl_divergence", "last_state_cosine"])
def test_a_search_needs_no_answers(demo, rows, tmp_path, metric):
    model, processor = demo
    bare = [{key: row[key] for key in ("id", "question", "image")} for row in rows]
    options = {"metric": metric, "processor": processor, "sampler": COARSE}

    with search(model, bare, store=tmp_path / "s.db", n_trials=4, **options) as study:
        first, *others = [trial.measurement for trial in study.trials if trial.measurement]
        assert first.score == study.subject.greatest
        assert others
        assert all(one.drop >= 0 for one in others)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"processor": None}, "needs its `processor`"),
        ({"sampler": None}, "`sampler`: `tolerance` is missing; add the greatest drop"),
        ({"sampler": {"floor": 3}}, "`sampler`: `tolerance` is missing"),
        ({"sampler": {"tolerence": 0.1}}, "did you mean `tolerance`"),
        ({"sampler": {"tolerance": -0.1}}, "`tolerance` must be"),
        ({"sampler": "g-search"}, "`sampler` must be settings"),
        ({"metric": "accuracy"}, "`metric` must be one of"),
        ({"ranker": RankerSpec("best")}, "`ranker.name` must be one of"),
    ],
)
def test_unusable_option_is_named(demo, rows, tmp_path, options, expected):
    with pytest.raises(InputError, match=expected):
        opened(demo, rows, tmp_path / "s.db", **options)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("q ?", "row 0: a row must be a mapping"),
        ({"question": "q ?", "answer": "a"}, "row 0: `image` is missing"),
        (
            {"question": "q ?", "image": Image.new("RGB", (8, 8))},
            "'0' of samples has no answers, but exact_match compares with them",
        ),
        ({"answer": "a", "image": "x.png"}, "row 0: `question` must be"),
        ({"question": "q ?", "answer": "a", "image": 3}, "row 0: `image` must be"),
    ],
)
def test_unusable_row_is_named(demo, tmp_path, row, expected):
    with pytest.raises(InputError, match=expected):
        opened(demo, [row], tmp_path / "s.db")


def test_a_search_from_a_layer_that_nothing_can_rank_is_refused_before_it_begins(tmp_path):
    """Gemma 3's first layer sees a window only."""
    model = FAMILIES["gemma3"].build("sdpa")
    data = ShapesVQA("calibration", SAMPLES)
    given = {"processor": object(), "store": tmp_path / "s.db"}

    with pytest.raises(InputError, match="`first` must be at least 2, but got 1: no layer of Gem"):
        open_study(model, data, sampler={"tolerance": 0.1, "first": 1}, **given)
    model.get_decoder().config.layer_types = ["sliding_attention"] * 5 + ["full_attention"]
    with pytest.raises(InputError, match="`ranker` must be without it.*diverse"):
        open_study(model, data, sampler={"tolerance": 0.1, "first": 2}, **given)

"""What the full model says is computed once, kept within a bound, and counted."""

from typing import Any

import pytest
import torch

from schedsearch.core.sample import Grid
from schedsearch.core.trial import Work
from schedsearch.errors import DataError, RunError
from schedsearch.evaluation.data.in_memory import MemorySet
from schedsearch.evaluation.downsample import Downsampler
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import ComparedMetric, make_metric
from schedsearch.evaluation.work import full_work_of
from tests.engine.embedded import IDS, QUESTIONS, REDUCED, Listed, embedded, full, task
from tests.engine.prefixes import GROUPED, SEARCH, SOME, evaluator, model_of
from tests.engine.prefixes import task as tiny_task
from tests.engine.tiny import LAYERS, N_VISION

NAMES = ["answer_match", "kl_divergence", "last_state_cosine"]
EVERYTHING = (N_VISION,) * LAYERS
REDUCED_COUNTS = (64, 64, 20, 20, 20, 20)


def spent(made: Evaluator, asked: Any) -> Work:
    before = made.work
    made.evaluate(asked)
    return made.work - before


@pytest.mark.parametrize("name", NAMES)
def test_a_search_gets_the_same_scores_whatever_is_kept(name: str) -> None:
    plain, reusing = evaluator(metric=name, max_prefix_bytes=0), evaluator(metric=name)
    forgetting = evaluator(metric=name, max_reference_bytes=0)
    values = []
    for step in SEARCH:
        asked = tiny_task(step.counts, step.shared)
        expected = plain.evaluate(asked)

        assert reusing.evaluate(asked) == expected, step
        if step in SEARCH[1:6:2]:
            assert forgetting.evaluate(asked) == expected, step
        values += [score.score for score in expected]

    again = evaluator(metric=name)
    for step in SEARCH[1:4]:  # the full model is asked before any task asks it
        asked = tiny_task(step.counts, step.shared)
        assert again.evaluate(asked) == plain.evaluate(asked)
    assert plain.prefix_bytes == 0 < reusing.prefix_bytes
    assert len(set(values)) > (1 if name == "answer_match" else len(values) / 2)


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_reused_as_where_answers_are_forced(name: str) -> None:
    made = evaluator(metric=name)
    for step in SEARCH:
        asked = tiny_task(step.counts, step.shared)
        generation = LAYERS if step is SEARCH[0] and name == "answer_match" else 0

        work = spent(made, asked)

        assert work.layer_forwards == len(SOME) * (LAYERS - step.first + generation), step


@pytest.mark.parametrize("name", NAMES)
def test_the_full_model_is_asked_once_and_its_work_is_counted(name: str) -> None:
    made = evaluator(metric=name, max_prefix_bytes=0)
    prompts = made.full_work(SOME)
    reduced = tiny_task(REDUCED_COUNTS)

    first, second = spent(made, reduced), spent(made, reduced)
    rows = [row for one in SOME for row in made._rows_of(one)]
    asking = sum((full_work_of(made._shape, [row]) for row in rows), Work())
    expected = second + asking
    if name == "answer_match":
        assert any(row.answer for row in rows)
        expected += prompts

    assert first == expected
    assert spent(made, tiny_task(EVERYTHING)) == asking
    assert second.layer_forwards == asking.layer_forwards == LAYERS * len(SOME)


@pytest.mark.parametrize("name", NAMES)
def test_keeping_everything_is_what_others_are_compared_with(name: str) -> None:
    made = evaluator(metric=name, max_prefix_bytes=0)
    made.evaluate(tiny_task(EVERYTHING))

    assert spent(made, tiny_task(REDUCED_COUNTS)).layer_forwards == LAYERS * len(SOME)


def test_full_work_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = evaluator(metric="answer_match")
    monkeypatch.setattr(made.model, "forward", None)
    monkeypatch.setattr(made.model, "generate", None)

    assert made.full_work() == evaluator(metric="kl_divergence").full_work()


def test_what_is_kept_stays_within_its_bound_and_the_rest_is_computed_again() -> None:
    vocabulary = 4 * model_of().lm_head.out_features
    made = evaluator(metric="kl_divergence", max_prefix_bytes=0, max_reference_bytes=4 * vocabulary)
    free = evaluator(metric="kl_divergence", max_prefix_bytes=0)
    asked = tiny_task(REDUCED_COUNTS)

    assert made.evaluate(asked) == free.evaluate(asked) == made.evaluate(asked)
    assert made._full is not None and free._full is not None
    assert (made._full.bytes, free._full.bytes) == (4 * vocabulary, len(SOME) * vocabulary)
    again = spent(made, asked).layer_forwards / LAYERS
    assert again == len(SOME) + len(SOME) - 4


def test_a_batch_that_does_not_fit_is_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tiny_task(REDUCED_COUNTS)
    expected = evaluator(metric="kl_divergence", batch_size=1).evaluate(asked)
    model = model_of()
    forward, ran = model.forward, []

    def limited(*args: Any, **kwargs: Any) -> Any:
        if len(kwargs["input_ids"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        ran.append(1)
        return forward(*args, **kwargs)

    monkeypatch.setattr(model, "forward", limited)
    made = evaluator(metric="kl_divergence")

    assert made.evaluate(asked) == expected
    assert len(ran) == 2 * len(SOME)


def test_samples_are_compared_with_their_own_full_images() -> None:
    model, processor = embedded()
    own = Evaluator(model, processor, QUESTIONS, make_metric("kl_divergence"))
    downsampler = Downsampler(model, processor)
    smaller = downsampler.processor(Grid(5, 5))
    metric = make_metric("kl_divergence")
    made = Evaluator(model, smaller, QUESTIONS, metric, against=own)
    asked = task(full(), IDS[:6])

    with downsampler.interpolating():
        found = [score.score for score in made.evaluate(asked)]
        itself = Evaluator(model, smaller, QUESTIONS, metric).evaluate(asked)

    def logits(one: Evaluator, sample_id: str) -> torch.Tensor:
        (row,) = one._prompts_of(sample_id)
        with torch.inference_mode():
            return model(**one._encoder.inputs([row])).logits[0, -1:].clone()

    expected = []
    for sample_id in IDS[:6]:
        with downsampler.interpolating():
            seen = logits(made, sample_id)
        assert isinstance(metric, ComparedMetric)
        expected.append(metric.score(logits(own, sample_id), seen))
    assert found == pytest.approx(expected, abs=1e-4)
    assert max(found) < 0.0
    assert {score.score for score in itself} == {0.0}


@pytest.mark.parametrize("name", NAMES)
def test_samples_without_answers_are_scored(name: str) -> None:
    rows = [
        {"id": one.id, "question": one.question, "image": one.images[0]()}  # type: ignore[operator]
        for one in list(QUESTIONS)[:6]
    ]
    labelled = Evaluator(*embedded(), QUESTIONS, make_metric(name))
    made = Evaluator(*embedded(), MemorySet(rows), make_metric(name))

    assert made.evaluate(task(REDUCED, IDS[:6])) == labelled.evaluate(task(REDUCED, IDS[:6]))


@pytest.mark.parametrize("name", ["exact_match", "log_likelihood", "vqa_accuracy"])
def test_other_metrics_say_that_they_need_answers(name: str) -> None:
    rows = [{"question": "?", "image": one.images[0]()} for one in list(QUESTIONS)[:2]]  # type: ignore[operator]

    with pytest.raises(DataError, match=f"'0' of samples has no answers.*{name} compares with"):
        Evaluator(*embedded(), MemorySet(rows), make_metric(name))


@pytest.mark.parametrize("name", NAMES)
def test_outputs_that_are_not_finite_are_an_error_that_names_the_sample(name: str) -> None:
    model = model_of.__wrapped__(GROUPED)
    model.model.language_model.norm.weight.data[3] = float("nan")

    for counts in (EVERYTHING, REDUCED_COUNTS):
        with pytest.raises(RunError, match=rf"{name} of sample '{SOME[2]}' must be finite"):
            evaluator(model, name).evaluate(tiny_task(counts, ids=SOME[2:3]))


def test_the_reduced_model_alone_may_fail_to_be_finite() -> None:
    model = model_of.__wrapped__(GROUPED)

    def overflow(_module: Any, _args: Any, states: torch.Tensor) -> torch.Tensor:
        return states * float("inf") if 1 < states.shape[1] < N_VISION else states

    model.model.language_model.layers[-1].register_forward_hook(overflow)
    made = evaluator(model, "answer_match")
    made.evaluate(tiny_task(EVERYTHING, ids=SOME[:2]))

    with pytest.raises(RunError, match=rf"answer_match of sample '{SOME[0]}' must be finite"):
        made.evaluate(tiny_task(REDUCED_COUNTS, ids=SOME[:2]))


class Broken(ComparedMetric):
    """A metric as users write them."""

    name = "broken"
    compares = "tokens"

    def score(self, full: torch.Tensor, reduced: torch.Tensor) -> float:
        """Nothing."""
        raise KeyError(f"{len(full)} {len(reduced)}")


def test_faults_of_a_users_metric_are_errors_that_name_the_sample() -> None:
    one = next(iter(QUESTIONS))
    made = Evaluator(*embedded(), Listed(one), Broken())

    with pytest.raises(RunError, match=rf"broken failed on sample '{one.id}': KeyError\('1 1'\)"):
        made.evaluate(task(full(), (one.id,)))

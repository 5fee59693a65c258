"""Scores of the evaluator against generation, an eager reference, and single samples."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from schedsearch.core.sample import Sample
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import SampleScore, Task
from schedsearch.evaluation.data.images import open_image
from schedsearch.evaluation.data.jsonl import JsonlSet
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import make_metric
from schedsearch.reduction.reduction import Reduction, reduce
from schedsearch.testing.reference import masked_forward
from tests.engine.embedded import (
    IDS,
    QUESTIONS,
    REDUCED,
    Listed,
    embedded,
    full,
    prompt_of,
    task,
)
from tests.pace import some

SCHEDULES = [full(), REDUCED]


def evaluator(metric: str = "exact_match", **options: Any) -> Evaluator:
    return Evaluator(*embedded(), QUESTIONS, make_metric(metric), **options)


def answer_ids(sample: Sample) -> list[int]:
    _, processor = embedded()
    ids: list[int] = processor.tokenizer(sample.answers[0], add_special_tokens=False).input_ids
    return [*ids, processor.tokenizer.eos_token_id]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=["full", "reduced"])
def test_teacher_forced_exact_match_is_what_greedy_decoding_gives(schedule: Schedule) -> None:
    model, _ = embedded()
    expected = []
    with torch.inference_mode(), reduce(model, schedule):
        for sample in QUESTIONS:
            inputs, answer = prompt_of(sample), answer_ids(sample)
            output = model.generate(**inputs, do_sample=False, max_new_tokens=len(answer))
            said = output[0, inputs["input_ids"].shape[1] :].tolist()
            expected.append(float(said == answer))

    scores = evaluator().evaluate(task(schedule))

    assert [score.score for score in scores] == expected
    assert any(expected), "greedy decoding must give some references"
    assert schedule == full() or not all(expected), "and under a hard schedule miss some"


@pytest.mark.parametrize("schedule", SCHEDULES, ids=["full", "reduced"])
def test_log_likelihood_is_that_of_an_eager_model_that_masks_what_is_dropped(
    schedule: Schedule,
) -> None:
    eager, _ = embedded("eager")
    samples = list(QUESTIONS)[:6]
    expected = []
    for sample in samples:
        inputs, answer = prompt_of(sample), answer_ids(sample)
        width = inputs["input_ids"].shape[1]
        ids = torch.cat([inputs["input_ids"], torch.tensor([answer[:-1]])], dim=1)
        whole = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.inference_mode():
            logits, _ = masked_forward(eager, whole, schedule.keep, rows=[width - 1])
        chosen = logits[width - 1 :].double().log_softmax(-1)[range(len(answer)), answer]
        expected.append(chosen.sum().item())

    found = evaluator("log_likelihood").evaluate(task(schedule, IDS[:6]))

    # Sums of a few float32 log-probabilities from two attention kernels.
    assert [score.score for score in found] == pytest.approx(expected, abs=2e-4, rel=1e-4)


@pytest.mark.parametrize("metric", ["exact_match", "log_likelihood", "vqa_accuracy"])
@pytest.mark.parametrize("ranker", some(["last", "text", "random", "uniform"], ["last", "random"]))
def test_scores_do_not_depend_on_the_batch(metric: str, ranker: str) -> None:
    asked = task(REDUCED, IDS[:10], ranker)

    together = evaluator(metric).evaluate(asked)
    alone = evaluator(metric, batch_size=1).evaluate(asked)

    assert [score.prediction for score in together] == [score.prediction for score in alone]
    # Differently shaped matrix products round differently in float32.
    expected = pytest.approx([score.score for score in alone], abs=1e-4)
    assert [score.score for score in together] == expected


def test_generated_answers_are_scored_and_returned() -> None:
    scores = evaluator("vqa_accuracy").evaluate(task(full()))
    forced = evaluator("exact_match").evaluate(task(full()))

    answers = {sample.id: sample.answers[0] for sample in QUESTIONS}
    assert [score.score for score in scores] == [score.score for score in forced]
    for score in scores:
        assert (score.prediction == answers[score.sample_id]) is (score.score == 1.0)


def test_the_checkpoints_own_generation_settings_do_not_change_greedy_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, _ = embedded()
    before = evaluator("vqa_accuracy").evaluate(task(full(), IDS[:8]))
    for name, value in [("repetition_penalty", 0.01), ("do_sample", True), ("num_beams", 3)]:
        monkeypatch.setattr(model.generation_config, name, value)

    assert evaluator("vqa_accuracy").evaluate(task(full(), IDS[:8])) == before


def a_hit_and_a_miss() -> tuple[Sample, Sample]:
    scores = evaluator().evaluate(task(REDUCED))
    samples = {sample.id: sample for sample in QUESTIONS}
    hit = next(samples[score.sample_id] for score in scores if score.score == 1)
    miss = next(samples[score.sample_id] for score in scores if score.score == 0)
    return hit, miss


def test_any_of_several_references_counts() -> None:
    hit, miss = a_hit_and_a_miss()
    model, processor = embedded()
    samples = Listed(
        Sample("both", hit.question, ("red", *hit.answers, "blue", "red"), hit.images),
        Sample("none", miss.question, miss.answers * 2, miss.images),
    )
    made = Evaluator(model, processor, samples, make_metric("exact_match"))

    scores = made.evaluate(Task(REDUCED, "calibration", ("none", "both")))

    assert scores == [SampleScore("none", 0.0), SampleScore("both", 1.0)]


def test_images_from_files_score_like_the_drawn_ones(tmp_path: Path) -> None:
    samples = list(QUESTIONS)[:6]
    lines = []
    for number, sample in enumerate(samples):
        open_image(sample.images[0]).save(tmp_path / f"{number}.png")
        fields = {"id": sample.id, "question": sample.question, "answer": sample.answers[0]}
        lines.append(json.dumps({**fields, "image": f"{number}.png"}))
    (tmp_path / "set.jsonl").write_text("\n".join(lines))
    files = JsonlSet(tmp_path / "set.jsonl")

    found = Evaluator(*embedded(), files, make_metric("log_likelihood"))

    drawn = evaluator("log_likelihood").evaluate(task(REDUCED, IDS[:6]))
    assert found.evaluate(task(REDUCED, IDS[:6])) == drawn


def test_probabilities_of_several_end_tokens_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = embedded()
    end = model.generation_config.eos_token_id

    def probabilities(ends: int | list[int]) -> list[float]:
        monkeypatch.setattr(model.generation_config, "eos_token_id", ends)
        scores = evaluator("log_likelihood").evaluate(task(REDUCED, IDS[:8]))
        return [math.exp(score.score) for score in scores]

    either, one, other = probabilities([7, end]), probabilities(7), probabilities(end)

    assert either == pytest.approx([a + b for a, b in zip(one, other, strict=True)], rel=1e-5)
    assert min(one) > 0


def test_random_order_is_seeded_by_the_content_of_a_sample() -> None:
    model, processor = embedded()
    one, two = [sample for sample in QUESTIONS if sample.kind == "where"][:2]
    asked = replace(two, id="b", question=one.question, answers=one.answers)
    twins = Listed(one, replace(one, id="twin"), asked)
    made = Evaluator(model, processor, twins, make_metric("log_likelihood"))
    # All three prompts have one length, so they run in one batch.
    with patch.object(Reduction, "prompt", autospec=True, side_effect=Reduction.prompt) as prompt:
        scores = made.evaluate(task(REDUCED, (one.id, "twin", "b"), "random"))

    (keys,) = [call.kwargs["keys"] for call in prompt.call_args_list]
    assert keys[0] == keys[1] != keys[2]
    assert scores[0].score == scores[1].score


def test_order_is_that_of_the_task_and_progress_counts_samples() -> None:
    ids = IDS[20:4:-1]
    seen: list[tuple[int, int]] = []

    scores = evaluator(batch_size=3).evaluate(
        task(REDUCED, ids), lambda done, total: seen.append((done, total))
    )

    assert [score.sample_id for score in scores] == list(ids)
    assert [total for _, total in seen] == [16] * len(seen)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert (seen[-1][0], len(seen) > 5) == (16, True)


def test_token_counts_are_those_of_the_prompts() -> None:
    counts = evaluator().sample_tokens(IDS[:4])

    widths = [prompt_of(sample)["input_ids"].shape[1] for sample in list(QUESTIONS)[:4]]
    assert [(one.n_vision, one.n_vision + one.n_text) for one in counts] == [
        (64, width) for width in widths
    ]
    assert len(evaluator().sample_tokens()) == len(IDS)


def test_prefill_inputs_are_prompts_of_one_length_that_the_model_takes() -> None:
    inputs = evaluator(batch_size=5).prefill_inputs(IDS)

    with torch.inference_mode():
        logits = embedded()[0](**inputs).logits
    assert logits.shape[:2] == inputs["input_ids"].shape
    assert len(inputs["input_ids"]) == 5


def test_the_full_schedule_keeps_everything() -> None:
    assert evaluator().full_schedule == full()

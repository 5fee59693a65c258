"""Metrics that compare with the full model, against both models run by hand."""

import math
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch

from schedsearch.core.sample import Sample
from schedsearch.core.schedule import Schedule
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import ComparedMetric, Metric, make_metric
from schedsearch.evaluation.metrics.answer_match import AnswerMatch
from schedsearch.evaluation.metrics.kl_divergence import KlDivergence
from schedsearch.evaluation.metrics.last_state_cosine import LastStateCosine
from schedsearch.reduction.reduction import reduce
from schedsearch.testing.reference import appended, masked_forward, masking
from tests.engine.embedded import IDS, QUESTIONS, REDUCED, Listed, embedded, full, prompt_of, task
from tests.engine.prefixes import evaluator as tiny_evaluator
from tests.engine.prefixes import model_of
from tests.engine.prefixes import task as tiny_task
from tests.engine.tiny import CONFIGURATIONS, KEEP, N_VISION, TinyLlava
from tests.pace import some

NAMES = ["answer_match", "kl_divergence", "last_state_cosine"]
COUNTS = Schedule(KEEP).counts(N_VISION)
MILD = (64, 64, 64, 64, 58, 54)
OTHERS = ("wrong", "altogether")
ENDS = [2, 9, 14, 23, 31, 40, 47, 52, 66]


def evaluator(metric: str | Metric, **options: Any) -> Evaluator:
    chosen = make_metric(metric) if isinstance(metric, str) else metric
    return Evaluator(*embedded(), QUESTIONS, chosen, **options)


def values(made: Evaluator, asked: Any) -> list[float]:
    return [score.score for score in made.evaluate(asked)]


def said(model: Any, inputs: dict[str, torch.Tensor], ends: list[int], longest: int) -> list[int]:
    """Greedy answer by generation, up to its end, with one token for all ends."""
    model.generation_config.eos_token_id = ends
    output = model.generate(**inputs, do_sample=False, max_new_tokens=longest)
    tokens: list[int] = output[0, inputs["input_ids"].shape[1] :].tolist()
    stop = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
    return [*tokens[:stop], -1] if stop < len(tokens) else tokens


@pytest.mark.parametrize("longest", some([1, 8], [8]))
def test_answer_match_is_what_generating_twice_gives(longest: int) -> None:
    model, processor = embedded()
    ends = [processor.tokenizer.eos_token_id]
    with torch.inference_mode():
        prompts = [prompt_of(sample) for sample in list(QUESTIONS)[:24]]
        expected = [said(model, prompt, ends, longest) for prompt in prompts]
        with reduce(model, REDUCED):
            reduced = [said(model, prompt, ends, longest) for prompt in prompts]
    model.generation_config.eos_token_id = ends[0]

    found = values(evaluator(AnswerMatch(longest)), task(REDUCED, IDS[:24]))

    assert found == [float(a == b) for a, b in zip(expected, reduced, strict=True)]
    assert 0 < sum(found) < len(found)


@pytest.mark.parametrize(
    ("tiny", "ends"),
    [(CONFIGURATIONS[0], ENDS), (CONFIGURATIONS[2], [2]), (CONFIGURATIONS[3], ENDS)],
    ids=["MHA", "GQA, endless", "eager GQA"],
)
def test_answer_match_with_any_heads_and_several_end_tokens(
    tiny: TinyLlava, ends: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = model_of(tiny), tiny_task(MILD, ids=IDS[:16])
    monkeypatch.setattr(model.generation_config, "eos_token_id", ends)
    made = tiny_evaluator(model, "answer_match", batch_size=8)
    prompts = [made._encoder.inputs([row]) for one in IDS[:16] for row in made._prompts_of(one)]
    with torch.inference_mode():
        expected = [said(model, prompt, ends, 8) for prompt in prompts]
        with reduce(model, asked.schedule):
            reduced = [said(model, prompt, ends, 8) for prompt in prompts]

    found = values(made, asked)

    assert found == [float(a == b) for a, b in zip(expected, reduced, strict=True)]
    assert 0 < sum(found) < len(found)
    lengths = {len(one) for one in expected}
    assert lengths == {8} if ends == [2] else min(lengths) < 8


def test_another_end_token_ends_the_same_answer() -> None:
    metric = AnswerMatch(2)
    model, _ = embedded()
    made = evaluator(metric)
    end = model.generation_config.eos_token_id
    # Whatever the model says ends its answer: all answers are empty, hence equal.
    model.generation_config.eos_token_id = list(range(80))
    try:
        assert set(values(evaluator(metric), task(REDUCED, IDS[:12]))) == {1.0}
    finally:
        model.generation_config.eos_token_id = end
    assert set(values(made, task(REDUCED, IDS[:12]))) == {0.0, 1.0}


def by_hand(model: Any, sample: Sample, ranker: str, answer: list[int]) -> tuple[float, float]:
    """KL and cosine from the eager model, whole and with masks, in plain arithmetic."""
    prompt = prompt_of(sample)
    width = prompt["input_ids"].shape[1]
    inputs = appended(prompt, answer)
    vision = (prompt["input_ids"][0] == model.config.image_token_id).nonzero().max().item()
    rows = [width - 1] if ranker == "last" else list(range(int(vision) + 1, width))
    with torch.inference_mode():
        whole = model(**inputs, use_cache=False, output_hidden_states=True)
        masked, _ = masked_forward(model, inputs, REDUCED.keep, rows)
        with masking(model, inputs["input_ids"][0][:width], REDUCED.keep, rows):
            states = model.model(**inputs, use_cache=False).last_hidden_state[0]
    divergences = []
    for expected, found in zip(whole.logits[0, width - 1 :], masked[width - 1 :], strict=True):
        p, q = (
            [math.exp(value) for value in (one - one.max()).tolist()] for one in (expected, found)
        )
        pairs = [(a / sum(p), b / sum(q)) for a, b in zip(p, q, strict=True)]
        divergences.append(math.fsum(a * math.log(a / b) for a, b in pairs))
    a, b = whole.hidden_states[-1][0, width - 1].tolist(), states[width - 1].tolist()
    cosine = math.fsum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)
    return -math.fsum(divergences) / len(divergences), cosine


@pytest.mark.parametrize("ranker", ["last", "text"])
def test_kl_and_cosine_are_those_of_an_eager_model_that_masks_what_is_dropped(ranker: str) -> None:
    eager, _ = embedded("eager")
    expected = [by_hand(eager, sample, ranker, []) for sample in list(QUESTIONS)[:8]]
    asked = task(REDUCED, IDS[:8], ranker)

    divergences = values(evaluator("kl_divergence"), asked)
    cosines = values(evaluator("last_state_cosine"), asked)

    # float32 logits from two attention kernels.
    assert divergences == pytest.approx([one[0] for one in expected], rel=1e-3, abs=1e-5)
    assert cosines == pytest.approx([one[1] for one in expected], abs=1e-5)
    assert min(divergences) < -0.005 and min(cosines) < 0.999


def test_kl_over_an_answer_is_the_mean_over_its_tokens() -> None:
    eager, _ = embedded("eager")
    model, processor = embedded()
    end = processor.tokenizer.eos_token_id
    expected = []
    for sample in list(QUESTIONS)[:8]:
        answer = said(model, prompt_of(sample), [end], 3)[:-1]
        expected.append(by_hand(eager, sample, "last", answer)[0])
    model.generation_config.eos_token_id = end

    found = values(evaluator(KlDivergence(3)), task(REDUCED, IDS[:8]))

    assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert found != pytest.approx(values(evaluator("kl_divergence"), task(REDUCED, IDS[:8])))


@pytest.mark.parametrize(
    ("name", "dtype"),
    some(
        product(NAMES, [torch.float32, torch.bfloat16]),
        [*zip(NAMES, [torch.bfloat16, torch.float32, torch.bfloat16], strict=True)],
    ),
)
def test_keeping_everything_equals_the_full_model_exactly(name: str, dtype: torch.dtype) -> None:
    made = tiny_evaluator(model_of(dtype=dtype), name, batch_size=4)
    everything = tiny_task((N_VISION,) * len(COUNTS), 2)
    nearly = replace(everything, schedule=Schedule((1.0, 1.0, 0.9999, 0.9999, 0.9999, 0.9999)))
    made.evaluate(tiny_task(COUNTS, 2, ids=IDS[1:8]))  # in other batches

    for asked in (everything, everything, nearly):
        assert set(values(made, asked)) == {made.metric.greatest}


@pytest.mark.parametrize(
    ("name", "ranker"),
    some(
        product(NAMES, ["last", "random"]),
        [*zip(NAMES, ["last", "random", "last"], strict=True)],
    ),
)
def test_scores_do_not_depend_on_the_batch(name: str, ranker: str) -> None:
    asked = task(REDUCED, IDS[:6], ranker)

    together, alone = values(evaluator(name), asked), values(evaluator(name, batch_size=1), asked)

    # Differently shaped matrix products round differently in float32.
    assert together == pytest.approx(alone, abs=1e-4)
    assert name != "answer_match" or together == alone


@pytest.mark.parametrize(
    ("name", "answers"),
    some(product(NAMES, [(), OTHERS]), [*zip(NAMES, [OTHERS, (), OTHERS], strict=True)]),
)
def test_answers_are_never_read(name: str, answers: tuple[str, ...]) -> None:
    changed = Listed(*(replace(sample, answers=answers) for sample in QUESTIONS))
    made = Evaluator(*embedded(), changed, make_metric(name))
    asked = task(REDUCED, IDS[:5], "text")

    assert made.evaluate(asked) == evaluator(name).evaluate(asked)
    assert made.full_work() == evaluator(name).full_work()


class Distance(ComparedMetric):
    """A metric as users write them."""

    name = "distance"
    compares = "states"

    def score(self, full: torch.Tensor, reduced: torch.Tensor) -> float:
        """Minus the distance of the states."""
        return -(full - reduced).norm().item()


def test_a_users_metric_gets_both_models_states() -> None:
    found = values(evaluator(Distance()), task(REDUCED, IDS[:12]))

    assert len(set(found)) == 12
    assert max(found) < 0
    assert set(values(evaluator(Distance()), task(full(), IDS[:12]))) == {0.0}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", NAMES[1:])
def test_rounding_never_lifts_a_score_above_the_greatest(name: str, seed: int) -> None:
    metric = make_metric(name)
    assert isinstance(metric, ComparedMetric)
    generator = torch.Generator().manual_seed(seed)
    for scale in (1e-3, 1.0, 30.0, 1e4):
        one = torch.randn(1, 500, generator=generator) * scale
        other = one * (1 + 1e-7 * torch.randn(1, 500, generator=generator))
        assert metric.score(one, one.clone()) == metric.greatest
        assert metric.greatest - 1e-2 < metric.score(one, other) <= metric.greatest


def test_the_cosine_of_parallel_states_is_not_above_one() -> None:
    metric = LastStateCosine()
    generator = torch.Generator().manual_seed(0)
    for factor in range(3, 60):
        state = torch.randn(1, 40, generator=generator, dtype=torch.float64)
        assert 1 - 1e-12 < metric.score(state, state * factor) <= 1


def test_kl_resolves_distributions_that_hardly_differ() -> None:
    logits = torch.tensor([[0.0, 0.0]])
    near = torch.tensor([[2e-5, -2e-5]])

    # KL of an even coin from one with log-odds 2h is h * h / 2 up to fourth order.
    assert KlDivergence().score(logits, near) == pytest.approx(-2e-10, rel=1e-6)


def test_kl_weighs_by_the_full_model() -> None:
    full_model, reduced = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log()

    expected = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert KlDivergence().score(full_model, reduced) == pytest.approx(-expected, rel=1e-6)

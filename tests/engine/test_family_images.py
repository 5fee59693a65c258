"""From image files to scores: every family's own PIL image processor, prompts and answers.

Video processors need torchvision, so videos are tested as tokens in test_families.py.
"""

from functools import cache
from typing import Any

import numpy
import pytest
import torch
import transformers
from packaging.version import Version
from PIL import Image

from schedsearch.core.sample import Sample
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Task
from schedsearch.evaluation.attention.statistics import attention_statistics
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import make_metric
from schedsearch.models.adapters import adapter_for
from schedsearch.testing.reference import appended, masked_forward, ranking_rows
from tests.engine.embedded import Listed
from tests.engine.families import FAMILIES, IMAGE
from tests.engine.processors import PROCESSORS, WORDS

SIZES = {
    "wide": [(40, 20)],
    "wide too": [(40, 20)],
    "high": [(20, 40)],
    "two": [(40, 20), (24, 24)],
}
ANSWERS = {"wide": "two dogs", "wide too": "a cup", "high": "one", "two": "red dogs"}
IDS = tuple(SIZES)


def picture(seed: int, width: int, height: int) -> Image.Image:
    pixels = numpy.random.default_rng(seed).integers(0, 256, (height, width, 3), numpy.uint8)
    return Image.fromarray(pixels)


def sample(name: str) -> Sample:
    drawn = [picture(len(name) + n, *size) for n, size in enumerate(SIZES[name])]
    sources = tuple((lambda image=image: image) for image in drawn)
    return Sample(name, "what is in the picture ?", (ANSWERS[name],), sources)


@cache
def parts(name: str, attention: str = "sdpa") -> tuple[Any, Any]:
    model = FAMILIES[name].build(attention)
    model.generation_config.eos_token_id = 2
    if name in ("idefics3", "smolvlm") and Version(transformers.__version__) < Version("5.23"):
        pytest.skip("the PIL image processor wants torchvision in this release")
    return model, PROCESSORS[name]()


def evaluator(name: str, **options: Any) -> Evaluator:
    samples = Listed(*map(sample, IDS))
    return Evaluator(*parts(name), samples, make_metric("log_likelihood"), **options)


def schedules(model: Any) -> list[Schedule]:
    """A few steps of a search, from the first layer that can drop."""
    adapter = adapter_for(model)
    layers = adapter.shape(model).layers
    first = next(n for n in range(layers) if adapter.ranking_layer(model, n) is not None)
    falls = [[0.25], [0.5], [0.5, 0.25], [0.5, 0.4]]
    keeps = [[1.0] * first + fall + fall[-1:] * layers for fall in falls]
    return [Schedule(tuple(keep[:layers])) for keep in keeps]


def prompt_of(processor: Any, one: Sample) -> dict[str, Any]:
    """One prompt by the processor alone."""
    content = [{"type": "image"}] * len(one.images) + [{"type": "text", "text": one.question}]
    message = {"role": "user", "content": content}
    text = processor.apply_chat_template([message], add_generation_prompt=True)
    images = [source() for source in one.images]
    return dict(processor(text=[text], images=images, return_tensors="pt"))


def reference(name: str, sample_id: str, schedule: Schedule) -> float:
    """Log-likelihood by the masked model, on what the processor makes of the sample."""
    model, processor = parts(name, "eager")
    one = sample(sample_id)
    prompt = prompt_of(processor, one)
    answer = [5 + WORDS.index(word) for word in one.answers[0].split()]
    length = prompt["input_ids"].shape[1]
    rows = ranking_rows(prompt, "last", (IMAGE,))
    logits, _ = masked_forward(model, appended(prompt, answer), schedule.keep, rows)
    predictions = logits[length - 1 :].log_softmax(-1)
    return float(sum(row[token] for row, token in zip(predictions, [*answer, 2], strict=True)))


# InternVL's processor in transformers 5.17 sums a tensor by numpy.
@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")
@pytest.mark.parametrize("name", PROCESSORS)
def test_scores_of_images_equal_the_masked_model_with_and_without_reuse(name: str) -> None:
    plain, reusing = evaluator(name, max_prefix_bytes=0), evaluator(name, batch_size=2)
    for schedule in schedules(parts(name)[0]):
        drop = next(layer for layer, keep in enumerate(schedule.keep) if keep < 1)
        asked = Task(schedule, "calibration", IDS, shared=drop)
        expected, found = plain.evaluate(asked), reusing.evaluate(asked)

        assert found == expected
    effects = []
    for one in found:
        masked = reference(name, one.sample_id, schedule)
        assert one.score == pytest.approx(masked, abs=5e-4)  # of about 15 nats
        unreduced = reference(name, one.sample_id, Schedule.full(schedule.layers))
        effects.append(abs(masked - unreduced))
    assert max(effects) > 0.1, "dropping tokens must change scores"
    assert reusing.work.layer_forwards < plain.work.layer_forwards


def test_every_family_has_a_processor() -> None:
    assert PROCESSORS.keys() == FAMILIES.keys()


def test_a_batch_of_equal_rows_is_one_forward() -> None:
    model, _ = parts("qwen2_5_vl")
    calls = []
    handle = model.register_forward_hook(
        lambda _m, _a, output: calls.append(tuple(output.logits.shape[:1]))
    )
    try:
        evaluator("qwen2_5_vl", batch_size=4).evaluate(
            Task(schedules(model)[0], "calibration", ("wide", "wide too"))
        )
    finally:
        handle.remove()
    assert calls == [(2,)]


def test_statistics_of_sliding_layers_are_those_of_eager_attention() -> None:
    model, processor = parts("gemma3")
    samples = [sample(name) for name in IDS]

    found = attention_statistics(model, processor, Listed(*samples))

    masses = []
    for one in samples:
        inputs = prompt_of(processor, one)
        attentions = parts("gemma3", "eager")[0](**inputs, output_attentions=True).attentions
        rows = torch.stack([layer[0].mean(0)[-1] for layer in attentions])
        masses.append(rows[:, inputs["input_ids"][0] == IMAGE].sum(1))
    expected = torch.stack(masses).mean(0).tolist()
    assert [mass.value for mass in found.mass] == pytest.approx(expected, abs=1e-5)
    assert min(expected[::2]) < 0.5 * max(expected[1::2])  # windows see less of the image

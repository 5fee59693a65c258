"""The checkpoint that ships with the package, used as a user would use it, without a network."""

import pytest
import torch
from transformers import AutoProcessor, LlavaForConditionalGeneration, pipeline

from schedsearch.demo import checkpoint_path
from schedsearch.demo.evaluate import accuracy
from schedsearch.demo.shapesvqa import ShapesVQA


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def model():
    return LlavaForConditionalGeneration.from_pretrained(checkpoint_path(), dtype=torch.float32)


def message(sample):
    content = [
        {"type": "image", "image": sample.images[0]()},
        {"type": "text", "text": sample.question},
    ]
    return [{"role": "user", "content": content}]


def test_it_fits_in_the_package():
    size = sum(file.stat().st_size for file in checkpoint_path().iterdir())

    assert size <= 10_000_000


def test_it_answers_held_out_questions(model):
    """At a true accuracy of .90, 120 questions fall below .80 with probability .001."""
    assert accuracy(model, list(ShapesVQA("held-out", 120))).overall.share >= 0.80


def test_it_needs_the_image(model):
    samples = list(ShapesVQA("held-out", 240))

    assert accuracy(model, samples, vision="blank").overall.share < 0.4
    assert accuracy(model, samples, withdrawn_from=0).overall.share < 0.4


def test_generation_answers_and_stops(model):
    processor = AutoProcessor.from_pretrained(checkpoint_path())
    samples = list(ShapesVQA("held-out", 36))
    prompts = [
        processor.apply_chat_template(message(sample), add_generation_prompt=True)
        for sample in samples
    ]
    images = [sample.images[0]() for sample in samples]
    inputs = processor(images=images, text=prompts, padding=True, return_tensors="pt")

    generated = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    texts = processor.batch_decode(
        generated[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )

    assert all(len(text.split()) == 1 for text in texts)
    right = sum(
        text.strip() == sample.answers[0] for text, sample in zip(texts, samples, strict=True)
    )
    assert right >= 27


def test_the_pipeline_answers():
    answer = pipeline("image-text-to-text", model=str(checkpoint_path()), dtype=torch.float32)
    samples = list(ShapesVQA("held-out", 12))

    texts = [
        answer(text=message(sample), max_new_tokens=4, return_full_text=False)[0]["generated_text"]
        for sample in samples
    ]

    right = sum(
        text.strip() == sample.answers[0] for text, sample in zip(texts, samples, strict=True)
    )
    assert right >= 8

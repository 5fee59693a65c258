"""The reduction works below the interface most people use, on the embedded model."""

from importlib.resources import files
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, pipeline

from schedsearch import Schedule, reduce

CHECKPOINT = str(files("schedsearch.demo") / "checkpoint")
QUESTIONS = ["what color is the circle ?", "is there a red square ?", "how many stars are there ?"]


@pytest.fixture(scope="module")
def model() -> Any:
    loaded = AutoModelForImageTextToText.from_pretrained(CHECKPOINT, dtype=torch.float32)
    return loaded.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def processor() -> Any:
    return AutoProcessor.from_pretrained(CHECKPOINT)


def conversations() -> list[Any]:
    found = []
    for number, text in enumerate(QUESTIONS):
        noise = torch.randint(
            0, 256, (64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(number)
        )
        image = {"type": "image", "image": Image.fromarray(noise.numpy())}
        content = [image, {"type": "text", "text": text}]
        found.append([{"role": "user", "content": content}])
    return found


def test_pipeline_output_equals_generate_under_the_same_schedule(
    model: Any, processor: Any
) -> None:
    layers = model.config.text_config.num_hidden_layers
    schedule = Schedule((1.0, 1.0) + (0.1,) * (layers - 2))
    answer = pipeline("image-text-to-text", model=model, processor=processor)
    settings = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}

    with reduce(model, schedule) as reduction:
        found = answer(text=conversations(), generate_kwargs=settings, return_full_text=False)
        kept = reduction.kept
        expected = []
        for conversation in conversations():
            inputs = processor.apply_chat_template(
                conversation,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
            tokens = model.generate(**inputs, **settings)[:, inputs["input_ids"].shape[1] :]
            expected.append(processor.batch_decode(tokens, skip_special_tokens=True)[0])

    assert [one[0]["generated_text"].strip() for one in found] == expected
    assert len(set(expected)) > 1, "different questions should have different answers"
    assert set(kept) == set(range(2, layers))

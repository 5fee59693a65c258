"""Which part of an image a vision token stands for, as adapters say, is what the model makes of it.

The layers of the vision tower are made to do nothing, so that a token depends on its own pixels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from schedsearch.core.sample import Sample
from schedsearch.evaluation.encoding import Encoder, Row
from schedsearch.models.adapters import adapter_for
from tests.engine.families import FAMILIES
from tests.engine.processors import PROCESSORS
from tests.engine.test_tower_ranker import REFUSED, embeddings
from tests.pace import some

SERVED = [name for name in FAMILIES if name not in REFUSED]
FAST = ("llava", "internvl_qwen2", "qwen2_5_vl", "idefics3", "mistral3")


@contextmanager
def idle_tower(model: Any) -> Iterator[None]:
    """Every layer of the vision tower returns what it is given."""
    tower = adapter_for(model).tower(model)

    def idle(_module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        given = args[0] if args else kwargs["hidden_states"]
        return (given, *output[1:]) if isinstance(output, tuple) else given

    (layers,) = (
        one
        for one in tower.module.modules()
        if isinstance(one, nn.ModuleList)
        and any(tower.attention in layer.children() for layer in one)
    )
    # Before the hook by which transformers notes hidden states.
    handles = [
        layer.register_forward_hook(idle, prepend=True, with_kwargs=True) for layer in layers
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def drawn(seed: int, width: int, height: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(model: Any, processor: Any, *images: np.ndarray) -> tuple[Any, dict[str, Any]]:
    pictures = tuple(lambda one=one: Image.fromarray(one) for one in images)
    sample = Sample("one", "what is in the picture ?", ("red",), pictures)
    encoder = Encoder(model, processor)
    prompt = encoder.encode(sample)
    return prompt, encoder.inputs([Row(sample, prompt)])


def vision_states(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    states = embeddings(model, inputs)[0]
    return states[adapter_for(model).vision_mask(model, inputs["input_ids"])[0]]


def part(size: int, cells: int, at: int) -> slice:
    return slice(size * at // cells, size * (at + 1) // cells)


@pytest.mark.parametrize("name", some(SERVED, FAST))
def test_a_token_changes_with_the_pixels_of_its_cell_and_no_other(name: str) -> None:
    model, processor = FAMILIES[name].build("sdpa"), PROCESSORS[name]()
    images = [drawn(1, 32, 16), drawn(2, 16, 24)]  # of sizes that no processor has to round
    prompt, inputs = encoded(model, processor, *images)
    layout = adapter_for(model).layout(model, inputs)
    assert layout is not None
    assert sum(one.grid.tokens for one in layout) == prompt.n_vision
    whole = [one.pixels is None for one in layout]
    assert whole == [name.startswith("qwen")] * len(layout)

    with idle_tower(model):
        plain, first = vision_states(model, inputs), 0
        for number, (grid, pixels) in enumerate(layout):
            row, column = grid.rows - 1, (number + 1) % grid.columns
            if pixels is not None:  # a view of what the model is given
                height, width = pixels.shape[1:]
                cell = pixels[:, part(height, grid.rows, row), part(width, grid.columns, column)]
                before = cell.clone()
                cell.neg_().add_(0.3)
                changed = vision_states(model, inputs)
                cell.copy_(before)
            else:
                image = images[number].copy()
                height, width = image.shape[:2]
                rows, columns = part(height, grid.rows, row), part(width, grid.columns, column)
                image[rows, columns] = 255 - image[rows, columns]
                others = [image if at == number else one for at, one in enumerate(images)]
                changed = vision_states(model, encoded(model, processor, *others)[1])
            found = (changed != plain).any(-1).nonzero().flatten().tolist()
            assert found == [first + row * grid.columns + column]
            first += grid.tokens


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_families_whose_tokens_lie_in_no_grid_say_so(name: str) -> None:
    model, processor = FAMILIES[name].build("sdpa"), PROCESSORS[name]()
    _, inputs = encoded(model, processor, drawn(1, 32, 16))
    assert adapter_for(model).layout(model, inputs) is None


def test_videos_are_in_no_picture() -> None:
    model = FAMILIES["qwen2_vl"].build("sdpa")
    for name, inputs in FAMILIES["qwen2_vl"].samples(model).items():
        known = adapter_for(model).layout(model, inputs) is not None
        assert known == ("videos []" in name)

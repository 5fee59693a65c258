"""Reduced layers without padding run causal attention without a mask: what flash kernels want."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from schedsearch import RankerSpec, Schedule, reduce
from tests.engine.tiny import CONFIGURATIONS, IMAGE_TOKEN, KEEP, LAYERS, pad, question, shared

COUNTS = (64, 64, 32, 32, 16, 7)


@dataclass
class Call:
    """One call of the attention function and of the kernel under it."""

    layer: int
    queries: int
    keys: int
    mask: Any
    position_ids: Any
    kernel_mask: Any = None
    kernel_is_causal: bool | None = None


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Calls of sdpa in decoder layers, in order."""
    seen: list[Call] = []
    attend = ALL_ATTENTION_FUNCTIONS["sdpa"]
    kernel = torch.nn.functional.scaled_dot_product_attention

    def spy(module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
        if type(module.config).__name__ == "LlamaConfig":
            positions = kwargs.get("position_ids")
            seen.append(Call(module.layer_idx, query.shape[2], key.shape[2], mask, positions))
        return attend(module, query, key, value, mask, **kwargs)

    def kernel_spy(*args: Any, **kwargs: Any) -> Any:
        if seen and seen[-1].kernel_is_causal is None:
            seen[-1].kernel_mask = kwargs["attn_mask"]
            seen[-1].kernel_is_causal = kwargs["is_causal"]
        return kernel(*args, **kwargs)

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "sdpa", spy)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", kernel_spy)
    return seen


@pytest.mark.parametrize("ranker", ["last", "random"])
@pytest.mark.parametrize("tiny", CONFIGURATIONS[::2], ids=str)
@pytest.mark.parametrize("rows", [1, 2])
def test_an_unpadded_prefill_is_causal_without_mask_or_position_ids(
    calls: list[Call], tiny: Any, rows: int, ranker: str
) -> None:
    model = shared(tiny)
    batch = pad([question(51, behind=12), question(52, behind=12)][:rows], "left")

    with reduce(model, Schedule(KEEP, RankerSpec(ranker))):
        model(**batch)

    assert [call.layer for call in calls] == list(range(LAYERS))
    for call, count in zip(calls, COUNTS, strict=True):
        assert (call.queries, call.keys) == (count + 17, count + 17)
        assert call.mask is None and call.kernel_mask is None
        assert call.kernel_is_causal is True
        assert (call.position_ids is None) == (count < 64)


def test_decoding_without_padding_has_no_mask(calls: list[Call]) -> None:
    model = shared()

    with reduce(model, Schedule(KEEP)):
        model.generate(**question(51, behind=12), max_new_tokens=3, do_sample=False)

    decoding = calls[LAYERS:]
    assert [call.layer for call in decoding] == 2 * list(range(LAYERS))
    for number, call in enumerate(decoding):
        step, layer = divmod(number, LAYERS)
        assert (call.queries, call.keys) == (1, COUNTS[layer] + 17 + step + 1)
        assert call.kernel_mask is None and call.kernel_is_causal is False


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_batch_has_masks_that_hide_exactly_padding_and_future(
    calls: list[Call], side: str
) -> None:
    model = shared()
    batch = pad([question(53, behind=6), question(54, behind=12, images=2)], side)

    with reduce(model, Schedule(KEEP)) as reduction:
        model(**batch)
        kept = reduction.kept

    for call in calls[2:]:
        columns = kept[call.layer]
        real = columns >= 0
        visible = real[:, None, :] & (columns[:, None, :] <= columns[:, :, None])
        assert torch.equal(call.kernel_mask[:, 0][real], visible[real])
        assert call.kernel_mask.any(-1).all(), "a row that sees nothing gives NaN"


def test_a_batch_of_unequal_images_without_padding_gets_masks_of_its_own(
    calls: list[Call],
) -> None:
    """One image and more text, or two images: the same length, but not after the drops."""
    model = shared()
    batch = pad([question(55, behind=12 + 67), question(56, behind=12, images=2)], "left")
    assert batch["attention_mask"].all()

    with reduce(model, Schedule(KEEP)) as reduction:
        together = model(**batch).logits[:, -1]
        assert [call.kernel_mask is None for call in calls] == [True, True, *[False] * 4]
        assert (reduction.kept[2] == -1).any()
        image = batch["input_ids"] == IMAGE_TOKEN
        assert image.sum(1).tolist() == [64, 128]
        alone = [
            model(**question(55, behind=12 + 67)).logits[0, -1],
            model(**question(56, behind=12, images=2)).logits[0, -1],
        ]

    assert (together - torch.stack(alone)).abs().max() < 2e-4

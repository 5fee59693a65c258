"""Smaller images: the largest grid within a budget, and a model that is as before afterwards."""

import copy

import pytest
import torch
from PIL import Image
from transformers import LlavaConfig, LlavaForConditionalGeneration, PixtralVisionConfig

from schedsearch.core.flops import DecoderShape, SampleTokens, prefill_flops
from schedsearch.core.sample import Grid
from schedsearch.errors import InputError, UnsupportedError
from schedsearch.evaluation.downsample import Downsampler, prompt_ratios
from schedsearch.evaluation.encoding import Encoder
from schedsearch.models.adapters import adapter_for
from tests.engine.embedded import QUESTIONS, embedded, prompt_of

SIDE = 8
TOKENS = [SampleTokens(64, 9), SampleTokens(64, 15), SampleTokens(128, 12)]
GRIDS = [Grid(rows, side) for side in range(1, SIDE + 1) for rows in (side - 1, side) if rows]


@pytest.fixture
def downsampler():
    return Downsampler(*embedded())


def pictured(processor, image):
    return processor(text=["<image>"], images=[image], return_tensors="pt")


def cost(shape: DecoderShape, tokens: int) -> float:
    """Decoder FLOPs of all prompts when an image has `tokens` of 64 tokens, over full ones."""

    def total(share: int) -> int:
        prompts = [(one.n_vision * share // 64, one.n_text) for one in TOKENS]
        return sum(prefill_flops(shape, [n] * shape.layers, text) for n, text in prompts)

    return total(tokens) / total(64)


@pytest.mark.parametrize("budget", [0.2, 0.5, 0.6, 0.61, 0.99, 1.0])
def test_grid_is_the_largest_within_the_budget(downsampler, budget):
    shape = adapter_for(embedded()[0]).shape(embedded()[0])

    grid = downsampler.grid_within(budget, TOKENS)

    assert cost(shape, grid.tokens) <= budget
    assert all(cost(shape, other.tokens) > budget for other in GRIDS if other.tokens > grid.tokens)


def test_budget_is_met_exactly_where_a_grid_costs_just_that(downsampler):
    shape = adapter_for(embedded()[0]).shape(embedded()[0])
    for grid in GRIDS:
        assert downsampler.grid_within(cost(shape, grid.tokens), TOKENS) == grid


def test_budget_below_a_single_patch_names_its_cost(downsampler):
    shape = adapter_for(embedded()[0]).shape(embedded()[0])
    least = cost(shape, 1)

    with pytest.raises(InputError, match=f"at least {least:.4f}"):
        downsampler.grid_within(least * 0.99, TOKENS)


def test_ratios_are_those_of_whole_prompts():
    shape = adapter_for(embedded()[0]).shape(embedded()[0])
    fewer = [SampleTokens(one.n_vision // 64 * 30, one.n_text) for one in TOKENS]

    flops, kv = prompt_ratios(shape, fewer, TOKENS)

    assert flops == cost(shape, 30)
    assert kv == (30 + 9 + 30 + 15 + 60 + 12) / (64 + 9 + 64 + 15 + 128 + 12)


@pytest.mark.parametrize("grid", [Grid(4, 5), Grid(6, 6), Grid(1, 1)])
def test_prompts_have_a_token_per_patch_and_all_their_text(downsampler, grid):
    model, processor = embedded()
    small = Encoder(model, downsampler.processor(grid))
    whole = Encoder(model, processor)

    for sample in list(QUESTIONS)[:6]:
        found, full = small.encode(sample).counts, whole.encode(sample).counts
        assert (found.n_vision, full.n_vision) == (grid.tokens, 64)
        assert found.n_text == full.n_text


def test_smaller_image_shows_the_whole_picture(downsampler):
    _, processor = embedded()
    image = Image.new("RGB", (64, 64), "black")
    image.paste("white", (0, 0, 32, 16))  # a quarter of the height, half of the width

    pixels = pictured(downsampler.processor(Grid(4, 6)), image).pixel_values

    assert pixels.shape == (1, 3, 32, 48)
    bright = pixels[0, 0] > 0
    expected = torch.zeros(32, 48, dtype=torch.bool)
    expected[:8, :24] = True
    assert torch.equal(bright, expected)


def test_processor_that_was_given_stays_as_it_is(downsampler):
    _, processor = embedded()
    image = Image.new("RGB", (64, 64), "red")
    before = processor.to_json_string(), pictured(processor, image).pixel_values

    pictured(copy.deepcopy(downsampler.processor(Grid(3, 4))), image)

    assert processor.to_json_string() == before[0]
    assert torch.equal(pictured(processor, image).pixel_values, before[1])


def test_tower_interpolates_as_its_own_code_does(downsampler):
    model, _ = embedded()
    tower = model.model.vision_tower
    pixels = torch.randn(2, 3, 40, 48, generator=torch.Generator().manual_seed(0))

    with torch.inference_mode():
        with downsampler.interpolating():
            found = tower(pixels).last_hidden_state
        expected = tower(pixels, interpolate_pos_encoding=True).last_hidden_state

    assert found.shape == (2, 1 + 5 * 6, 128)
    assert torch.equal(found, expected)


def test_model_is_as_before_afterwards_also_after_an_error(downsampler):
    model, _ = embedded()
    tower = model.model.vision_tower
    hooks = len(tower._forward_pre_hooks)
    inputs = prompt_of(next(iter(QUESTIONS)))
    small = torch.zeros(1, 3, 32, 32)

    with torch.inference_mode():
        before = model(**inputs).logits
        with pytest.raises(ZeroDivisionError), downsampler.interpolating():
            tower(small)
            raise ZeroDivisionError
        with pytest.raises(ValueError, match="doesn't match model"):
            tower(small)
        assert torch.equal(model(**inputs).logits, before)

    assert len(tower._forward_pre_hooks) == hooks


def test_full_images_are_answered_as_without_it(downsampler):
    model, processor = embedded()
    sample = next(iter(QUESTIONS))
    image = sample.images[0]()
    whole, resized = (
        pictured(one, image).pixel_values for one in (processor, downsampler.processor(Grid(8, 8)))
    )
    inputs = prompt_of(sample)

    with torch.inference_mode():
        expected = model(**inputs).logits
        with downsampler.interpolating():
            found = model(**inputs).logits

    assert torch.equal(found, expected)
    torch.testing.assert_close(resized, whole, rtol=0, atol=1e-5)  # float32 sums of weights


def test_tower_without_interpolation_is_refused():
    vision = PixtralVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        image_size=32,
        patch_size=8,
    )
    text = embedded()[0].config.text_config
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text))

    with pytest.raises(UnsupportedError, match="no vision tower that interpolates.* CLIP tower"):
        Downsampler(model, embedded()[1])


def test_processor_that_counts_otherwise_is_refused():
    model, processor = embedded()
    other = copy.copy(processor)
    other.patch_size = 16

    with pytest.raises(UnsupportedError, match="one token per patch of 8 pixels"):
        Downsampler(model, other)


def test_tokens_that_are_no_patches_are_refused(downsampler):
    with pytest.raises(UnsupportedError, match="one token for each of 64 patches"):
        downsampler.grid_within(0.5, [SampleTokens(65, 9)])

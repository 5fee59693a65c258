from dataclasses import replace

import pytest
import torch

from schedsearch.demo.batches import answer_logits, collate, question_row
from schedsearch.demo.model import PATCH, build_model, grow, patch_states, vision_tokens
from schedsearch.demo.recipe import DEEP, Recipe
from schedsearch.demo.shapesvqa import study_sheet
from schedsearch.demo.stages import new_learner

SAME_SIZE = 64


@pytest.fixture(scope="module")
def source():
    return build_model(1, hidden=32, layers=3).eval()


def batch(size):
    scene, questions = study_sheet("train", 5, 0, 3, [1.0] * 14, hops=4)
    from schedsearch.demo.scene import render

    return collate([question_row(questions, size=size)], [render(scene, 5, size)])


@pytest.mark.parametrize("layers", [3, 4, 5, 8])
@torch.no_grad()
def test_a_model_that_has_grown_deeper_computes_the_same(source, layers):
    grown = build_model(2, hidden=32, layers=layers).eval()
    before = answer_logits(grown, batch(SAME_SIZE))
    grow(grown, source)

    wanted = answer_logits(source, batch(SAME_SIZE))
    found = answer_logits(grown, batch(SAME_SIZE))
    assert not torch.allclose(before, wanted, atol=0.1)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@torch.no_grad()
def test_every_new_layer_can_learn(source):
    grown = build_model(2, hidden=32, layers=5).eval()
    grow(grown, source)
    with torch.enable_grad():
        answer_logits(grown, batch(SAME_SIZE)).logsumexp(-1).sum().backward()
    for layer in grown.model.language_model.layers:
        assert layer.self_attn.o_proj.weight.grad.abs().max() > 0
        assert layer.mlp.down_proj.weight.grad.abs().max() > 0


@torch.no_grad()
def test_positions_of_patches_are_interpolated(source):
    grown = build_model(2, hidden=32, layers=3, size=96).eval()
    grow(grown, source)
    name = "embeddings.position_embedding.weight"
    small = source.model.vision_tower.get_parameter(name)
    large = grown.model.vision_tower.get_parameter(name)
    assert len(large) == 1 + vision_tokens(96)
    torch.testing.assert_close(large[0], small[0])
    middle = large[1:].view(12, 12, -1).mean((0, 1))
    torch.testing.assert_close(middle, small[1:].mean(0), atol=0.05, rtol=0)


def test_deep_recipe_grows_from_the_embedded_model_and_continues_its_language():
    learner = new_learner(replace(DEEP, tower_images=4))
    assert learner.source is not None
    tower, align, _, _ = learner.stages()
    with torch.no_grad():
        pixels = torch.zeros(1, 3, 96, 96)
        assert patch_states(learner.model, pixels).shape[1] == vision_tokens(96)
        align.begin(learner)
        # The words it starts with are already close to those of the embedded model.
        assert align.loss(learner, 0, 1) < 0.5
        assert tower.loss(learner, 0, 1).isfinite()


def test_recipes_name_their_data():
    assert Recipe().data("validation", 3).size == SAME_SIZE
    deep = DEEP.data("validation", 42)
    assert (deep.size, deep.hops) == (96, 4)
    assert vision_tokens(deep.size) == 144 and 96 % PATCH == 0
    assert {sample.kind for sample in deep} >= {"rel3_color", "rel3_thing"}
    assert len(DEEP.weights(0.0)) == 14 and len(Recipe().weights(0.0)) == 12

"""Tower attention on vision tokens equals eager attention on the patches that become them.

Which patches become a token is found by disturbing them one at a time after the layer.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from schedsearch import RankerSpec, Schedule, UnsupportedError, reduce
from schedsearch.models.adapters import adapter_for
from schedsearch.reduction import tower_attention
from schedsearch.reduction.rankers.tower import TowerRanker
from schedsearch.testing.reference import padded
from tests.engine.families import FAMILIES, UNPROVEN
from tests.engine.prefixes import SOME, evaluator, model_of, task
from tests.engine.tiny import LAYERS, TinyLlava, build, question, shared

BY_CLASS = {"llava", "internvl_qwen2", "internvl_llama"}
REFUSED = {"llava_next", "llava_onevision"}
SERVED = [name for name in FAMILIES if name not in REFUSED]
TOWER = RankerSpec("tower")


class Entered(Exception):
    """Layer 0 was reached."""


def embeddings(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """`(batch, sequence, hidden)` that enter layer 0."""
    found = []

    def stop(_module: Any, args: Any, kwargs: Any) -> None:
        found.append(args[0] if args else kwargs["hidden_states"])
        raise Entered

    layer = model.get_decoder().layers[0]
    handle = layer.register_forward_pre_hook(stop, with_kwargs=True)
    with pytest.raises(Entered):
        model(**batch)
    handle.remove()
    return found[0]


@contextmanager
def disturbing(layer: Any, chosen: int) -> Iterator[None]:
    """Add noise to one of the rows that leave a layer, counted over all its calls."""
    seen = 0

    def disturb(_module: Any, _args: Any, output: Any) -> Any:
        nonlocal seen
        states = (output[0] if isinstance(output, tuple) else output).clone().contiguous()
        rows = states.view(-1, states.shape[-1])
        if seen <= chosen < seen + len(rows):
            rows[chosen - seen] += torch.linspace(-3, 3, rows.shape[1])
        seen += len(rows)
        return (states, *output[1:]) if isinstance(output, tuple) else states

    # Before the hook by which transformers notes hidden states.
    handle = layer.register_forward_hook(disturb, prepend=True)
    try:
        yield
    finally:
        handle.remove()


def eager_attention(model: Any, module: Any, batch: dict[str, Any], by_class: bool) -> list[float]:
    """Attention received by each row that the tower's layer sees, over all its calls."""
    source = sys.modules[type(module).__module__]
    eager, weights = source.eager_attention_forward, []

    def spy(owner: Any, *args: Any, **kwargs: Any) -> Any:
        output = eager(owner, *args, **kwargs)
        if owner is module:
            weights.append(output[1].mean(1))
        return output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "eager_attention_forward", spy)
        embeddings(model, batch)
    if by_class:
        received = [one[:, 0] for one in weights]
    else:  # rows of other images see nothing of a patch
        received = [one.sum(1) / (one > 0).sum(1) for one in weights]
    return torch.cat([one.flatten() for one in received]).tolist()


def reference(name: str, names: list[str]) -> tuple[dict[str, Any], torch.Tensor]:
    """A batch, and what its tokens should get, `(batch, sequence)`."""
    model = FAMILIES[name].build("eager")
    every = FAMILIES[name].samples(model)
    batch = padded([dict(every[one]) for one in names], "left")
    module = adapter_for(model).tower(model).attention
    layer = next(
        owner
        for owner in adapter_for(model).tower(model).module.modules()
        if any(child is module for child in owner.children())
    )
    patches = eager_attention(model, module, batch, name in BY_CLASS)
    plain = embeddings(model, batch)
    found: dict[tuple[int, int], list[float]] = {}
    for patch, attention in enumerate(patches):
        with disturbing(layer, patch):
            changed = (embeddings(model, batch) != plain).any(-1)
        for row, column in changed.nonzero().tolist():
            found.setdefault((row, column), []).append(attention)
    expected = torch.zeros(batch["input_ids"].shape)
    for (row, column), attention in found.items():
        expected[row, column] = sum(attention) / len(attention)
    return batch, expected


@pytest.mark.parametrize("name", SERVED)
def test_scores_equal_eager_attention(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tower_attention, "_CHUNK", 7)
    model = FAMILIES[name].build("sdpa")
    names = list(FAMILIES[name].samples(model))
    # Only the first image of Qwen-VL's is wide enough that its order of windows is not its inverse.
    some = names[:1] + names[-1:] if "qwen" in name else names[1:]
    batch, expected = reference(name, some)
    seen = []
    order = TowerRanker.order
    monkeypatch.setattr(
        TowerRanker, "order", lambda self, *args: seen.append(order(self, *args)) or seen[-1]
    )

    with reduce(model, Schedule((0.5,) * model.config.text_config.num_hidden_layers, TOWER)) as r:
        model(**batch)
        kept = r.kept[0]

    vision = adapter_for(model).vision_mask(model, batch["input_ids"])
    assert torch.equal(expected > 0, vision)
    assert (seen[0].exp() - expected).abs().max() < 1e-6
    for row in range(len(kept)):
        stays = torch.zeros_like(vision[row])
        stays[kept[row][kept[row] >= 0]] = True
        stays &= vision[row]
        assert stays.sum() == -(-vision[row].sum() // 2)
        dropped = expected[row, vision[row] & ~stays]
        assert expected[row, stays].min() > dropped.max() - 1e-6


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_beams_are_ranked_like_their_sample(name: str) -> None:
    """Generation encodes the images once, before it copies the rows."""
    model = FAMILIES[name].build("sdpa")
    samples = [dict(one) for one in FAMILIES[name].samples(model).values()]
    if name == "llava":  # transformers 5.17 mixes up the images of beams
        samples = [samples[0], samples[2]]
    batch = padded(samples, "left")
    schedule = Schedule((0.5, 0.4, 0.3, 0.3, 0.2), TOWER)

    with reduce(model, schedule) as reduction:
        model(**batch)
        expected = dict(reduction.kept)
        model.generate(**batch, num_beams=3, max_new_tokens=2, do_sample=False)
        for layer, columns in reduction.kept.items():
            assert torch.equal(columns, expected[layer].repeat_interleave(3, 0))


@pytest.mark.parametrize("name", sorted(REFUSED | set(UNPROVEN)))
@pytest.mark.filterwarnings("ignore:.*generic one")
def test_towers_without_a_clear_mapping_are_refused(name: str) -> None:
    model = {**FAMILIES, **UNPROVEN}[name].build("sdpa")
    architecture = type(model).__name__

    with pytest.raises(UnsupportedError, match=f"tower does not serve {architecture}.*diverse"):
        with reduce(model, Schedule.full(5, TOWER)):
            pass


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("vision_feature_select_strategy", "full", "takes the full features"),
        ("vision_feature_layer", [-1, -2], r"come from layers \[-1, -2\]"),
        ("vision_feature_layer", 0, "come from layers 0"),
    ],
)
def test_features_that_are_not_one_per_patch_are_refused(
    setting: str, value: Any, message: str
) -> None:
    model = build(TinyLlava())
    setattr(model.config, setting, value)

    with pytest.raises(UnsupportedError, match=f"{message}.*use the ranker diverse"):
        with reduce(model, Schedule.full(LAYERS, TOWER)):
            pass


def test_features_from_elsewhere_cannot_be_ranked() -> None:
    model, sample = shared(), question(98)
    features = model.model.get_image_features(sample.pop("pixel_values"), return_dict=True)

    with reduce(model, Schedule((0.5,) * LAYERS, TOWER)):
        with pytest.raises(UnsupportedError, match="64 vision tokens, but the vision tower ran"):
            model(**sample, mm_encoder_outputs={"image": features})
        assert model(**question(99, images=0)).logits.isfinite().all()


def test_the_tower_is_as_before_behind_the_context() -> None:
    model, sample = shared(), question(98)
    module = model.model.vision_tower.get_submodule("encoder.layers.0.self_attn")
    before, expected = module.config, model(**sample).logits

    with reduce(model, Schedule((0.5,) * LAYERS, TOWER)):
        model(**sample)
        assert module.config is not before

    assert module.config is before
    assert not model.model.vision_tower._forward_hooks
    assert torch.equal(model(**sample).logits, expected)


def test_a_batch_that_another_ranker_has_prepared_runs_the_tower_once_more() -> None:
    plain, reusing = evaluator(model_of(), max_prefix_bytes=0), evaluator(model_of())
    counts, keep_all = (32, 32, 20, 20, 20, 20), (64,) * LAYERS
    starts = []
    for spec, some in [
        (RankerSpec("random"), counts),
        (TOWER, keep_all),
        (TOWER, counts),
        (TOWER, (32, 32, 10, 10, 10, 10)),
        (RankerSpec("random"), counts),
    ]:
        asked = task(some, 2, spec)
        before = reusing.work
        assert reusing.evaluate(asked) == plain.evaluate(asked)
        starts.append(LAYERS - (reusing.work - before).layer_forwards / len(SOME))

    assert starts == [0, 0, 0, 2, 0]

"""Prefix reuse: the same scores to the last bit, and only the work that is new."""

from collections import Counter
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from transformers.modeling_outputs import BaseModelOutputWithPast

from schedsearch.core.flops import layer_flops
from schedsearch.core.schedule import RankerSpec
from schedsearch.core.trial import Work
from schedsearch.evaluation.encoding import Encoder
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.models.adapters import adapter_for
from tests.engine.prefixes import SEARCH, SOME, evaluator, model_of, task
from tests.engine.tiny import CONFIGURATIONS, LAYERS, N_VISION, OPPOSITES
from tests.pace import some

RANKERS = [
    RankerSpec("text"),
    RankerSpec("local", (("window", 3), ("rows", "last"))),
    RankerSpec("random", (("seed", 5),)),
    RankerSpec("uniform"),
    RankerSpec("diverse"),
    RankerSpec("tower"),
]
KEEP_ALL = (N_VISION,) * LAYERS
DROP_2 = (64, 64, 20, 20, 20, 20)
DROP_3 = (64, 64, 64, 20, 10, 10)


def spent(made: Evaluator, asked: Any) -> tuple[Any, Work]:
    before = made.work
    return made.evaluate(asked), made.work - before


def forwards(made: Evaluator, asked: Any) -> float:
    """Layers run, per sample."""
    return spent(made, asked)[1].layer_forwards / len(asked.sample_ids)


def same_as_without(model: Any, ranker: RankerSpec) -> None:
    plain, reusing = evaluator(model, max_prefix_bytes=0), evaluator(model)
    values = []
    for step in SEARCH:
        asked = task(step.counts, step.shared, ranker)
        expected = plain.evaluate(asked)
        found, work = spent(reusing, asked)

        assert found == expected, step
        assert work.layer_forwards == len(SOME) * (LAYERS - step.first), step
        values += [score.score for score in found]
    assert plain.prefix_bytes == plain.peak_prefix_bytes == 0
    assert plain.work.layer_forwards == len(SEARCH) * len(SOME) * LAYERS
    assert len(set(values)) > len(values) / 2, "schedules must change scores"


@pytest.mark.parametrize("tiny", some(CONFIGURATIONS, OPPOSITES), ids=str)
def test_a_search_gets_the_scores_it_gets_without_reuse(tiny: Any) -> None:
    same_as_without(model_of(tiny), RankerSpec())


@pytest.mark.parametrize("tiny", some(OPPOSITES, OPPOSITES[1:]), ids=str)
def test_a_search_in_half_precision_gets_the_same_scores(tiny: Any) -> None:
    same_as_without(model_of(tiny, torch.bfloat16), RankerSpec())


EACH_WAY = [ranker for ranker in RANKERS if ranker.name in ("local", "random", "tower")]
"""Read the attention of a layer, of the tower, or none."""


@pytest.mark.parametrize("ranker", some(RANKERS, EACH_WAY), ids=lambda one: one.name)
def test_a_search_gets_the_same_scores_with_every_ranker(ranker: RankerSpec) -> None:
    same_as_without(model_of(), ranker)


def test_flops_are_those_of_the_layers_that_ran() -> None:
    made = evaluator()
    shape = adapter_for(made.model).shape(made.model)
    rows = [row for one in SOME for row in made._rows_of(one)]

    for step in SEARCH:
        _, work = spent(made, task(step.counts, step.shared))
        assert work.flops == sum(
            layer_flops(shape, count + row.width - N_VISION)
            for row in rows
            for count in step.counts[step.first :]
        )


@pytest.mark.parametrize("metric", ["exact_match", "vqa_accuracy"])
def test_a_full_pass_without_reuse_costs_the_full_work(metric: str) -> None:
    made = evaluator(metric=metric, max_prefix_bytes=0)

    _, work = spent(made, task(KEEP_ALL))

    assert work == made.full_work(SOME)
    assert work.layer_forwards == LAYERS * len(SOME)
    assert made.full_work().layer_forwards == LAYERS * 60


def test_the_vision_tower_and_the_encoder_see_each_sample_once() -> None:
    made, seen = evaluator(), Counter[str]()

    def look(_module: Any, args: Any, kwargs: Any) -> None:
        seen["tower"] += len(kwargs.get("pixel_values", *args))

    handle = made.model.model.vision_tower.register_forward_pre_hook(look, with_kwargs=True)
    inputs = Encoder.inputs
    try:
        with patch.object(Encoder, "inputs", autospec=True, side_effect=inputs) as assemble:
            for step in SEARCH:
                made.evaluate(task(step.counts, step.shared))
    finally:
        handle.remove()

    assert seen["tower"] == len(SOME)
    assert sum(len(call.args[1]) for call in assemble.call_args_list) == len(SOME)


def test_layers_before_the_start_do_not_run() -> None:
    made, seen = evaluator(batch_size=60), Counter[int]()
    layers = made.model.model.language_model.layers

    def look(module: Any, _args: Any, _output: Any) -> None:
        seen[module.layer_idx] += 1

    handles = [layer.self_attn.register_forward_hook(look) for layer in layers]
    try:
        for step in SEARCH:
            seen.clear()
            made.evaluate(task(step.counts, step.shared))
            assert sorted(seen) == list(range(step.first, LAYERS))
    finally:
        for handle in handles:
            handle.remove()


PAIRS = [
    (RankerSpec("last"), RankerSpec("text")),
    (RankerSpec("uniform"), RankerSpec("last")),
    (RankerSpec("random"), RankerSpec("random", (("seed", 1),))),
    (RankerSpec("local"), RankerSpec("local", (("window", 4),))),
]


@pytest.mark.parametrize(("one", "other"), some(PAIRS, PAIRS[1::2]), ids=lambda one: one.name)
def test_what_one_ranker_chose_or_observed_is_never_used_for_another(
    one: RankerSpec, other: RankerSpec
) -> None:
    made, plain = evaluator(), evaluator(max_prefix_bytes=0)
    for counts, shared in [(DROP_2, 2), (DROP_2, 4), (DROP_3, 3), (DROP_3, 5)]:
        for ranker in (one, other, one):
            asked = task(counts, shared, ranker)
            assert made.evaluate(asked) == plain.evaluate(asked)


def test_before_the_first_drop_rankers_may_share() -> None:
    made = evaluator()
    made.evaluate(task(KEEP_ALL, 3, RankerSpec("last")))

    assert forwards(made, task(DROP_3, 3, RankerSpec("text"))) == LAYERS  # lacks its attention
    assert forwards(made, task(DROP_3, 3, RankerSpec("last"))) == LAYERS  # and took its place
    assert forwards(made, task((64, 64, 64, 64, 9, 9), 3, RankerSpec("text"))) == LAYERS - 3
    made.evaluate(task(KEEP_ALL, 3, RankerSpec("last")))
    assert forwards(made, task(DROP_3, 3, RankerSpec("random"))) == LAYERS - 3


def test_dropping_all_needs_no_attention() -> None:
    made = evaluator()
    made.evaluate(task(KEEP_ALL, 3, RankerSpec("uniform")))

    assert forwards(made, task((64, 64, 64, 0, 0, 0), 3, RankerSpec("last"))) == LAYERS - 3


def test_schedules_agree_by_their_counts() -> None:
    made, plain = evaluator(), evaluator(max_prefix_bytes=0)
    first = task(DROP_2, 4)
    near = replace(first.schedule, keep=(1.0, 0.9999, 0.31, 0.305, 0.3, 0.1))
    assert near.counts(N_VISION)[:4] == DROP_2[:4]
    made.evaluate(first)

    found, work = spent(made, replace(first, schedule=near))

    assert found == plain.evaluate(replace(first, schedule=near))
    assert work.layer_forwards == len(SOME) * (LAYERS - 4)


def test_other_batches_start_anew_and_the_old_ones_stay() -> None:
    made, plain = evaluator(), evaluator(max_prefix_bytes=0)
    made.evaluate(task(DROP_2, 2))
    for ids in (SOME[:5], (SOME[1], SOME[0], *SOME[2:]), SOME):
        for counts in (DROP_2, (64, 64, 30, 30, 30, 30)):
            asked = task(counts, 2, ids=ids)
            assert made.evaluate(asked) == plain.evaluate(asked)

    assert forwards(made, task(DROP_2, 2)) == LAYERS - 2


def test_two_evaluators_on_one_model_do_not_disturb_each_other() -> None:
    plain = evaluator(max_prefix_bytes=0)
    made = [evaluator(), evaluator(metric="exact_match"), evaluator(batch_size=1)]
    alone = [plain, evaluator(metric="exact_match", max_prefix_bytes=0)]
    alone.append(evaluator(batch_size=1, max_prefix_bytes=0))

    for step in SEARCH[:9]:
        asked = task(step.counts, step.shared)
        found = [one.evaluate(asked) for one in made]
        assert found == [one.evaluate(asked) for one in alone]


def test_generated_answers_keep_nothing() -> None:
    made = evaluator(metric="vqa_accuracy")
    scores = [made.evaluate(task(DROP_2, 2)) for _ in range(2)]

    assert scores[0] == scores[1]
    assert made.prefix_bytes == 0
    assert made.work.layer_forwards == 2 * LAYERS * len(SOME)


def break_layers(monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
    """Layers that return tuples, as older decoders have them."""
    decoder = model.model.language_model

    def unpack(*, inputs_embeds: torch.Tensor, **_: Any) -> Any:
        states, positions = inputs_embeds, torch.arange(inputs_embeds.shape[1])[None]
        rotary = decoder.rotary_emb(states, position_ids=positions)
        for layer in decoder.layers:
            (states,) = layer(states, attention_mask=None, position_embeddings=rotary)
        return BaseModelOutputWithPast(last_hidden_state=decoder.norm(states))

    def pack(layer: Any) -> None:
        forward = layer.forward
        monkeypatch.setattr(layer, "forward", lambda *a, **k: (forward(*a, **k),), raising=False)

    for layer in decoder.layers:
        pack(layer)
    monkeypatch.setattr(decoder, "forward", unpack, raising=False)


def break_trunk(monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
    """A trunk that does something to the decoder's states."""

    def scaled(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        output.last_hidden_state = output.last_hidden_state * 0.5
        return output

    forward = model.model.forward
    monkeypatch.setattr(model.model, "forward", scaled, raising=False)


def break_decoder_call(monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
    """A decoder call that passes something unknown, which may hold anything."""
    decoder = model.model.language_model
    forward = decoder.forward

    def opaque(*args: Any, **kwargs: Any) -> Any:
        assert kwargs.pop("secret")
        return forward(*args, **kwargs)

    def insert(_module: Any, args: Any, kwargs: Any) -> Any:
        kwargs["secret"] = object()
        return args, kwargs

    monkeypatch.setattr(decoder, "forward", opaque, raising=False)
    decoder.register_forward_pre_hook(insert, with_kwargs=True)


@pytest.mark.parametrize("breaks", [break_layers, break_trunk, break_decoder_call])
def test_a_model_that_cannot_be_replayed_runs_in_full(
    monkeypatch: pytest.MonkeyPatch, breaks: Any
) -> None:
    model = model_of.__wrapped__()
    breaks(monkeypatch, model)
    made, plain = evaluator(model), evaluator(model, max_prefix_bytes=0)

    for step in SEARCH[:4]:
        asked = task(step.counts, step.shared)
        assert made.evaluate(asked) == plain.evaluate(asked)

    assert made.prefix_bytes == 0
    assert made.work == plain.work

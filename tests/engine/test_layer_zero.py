"""Rankers without attention of the decoder drop before layer 0, and everything goes on as usual."""

import copy
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from schedsearch import RankerSpec, Schedule, UnsupportedError, reduce
from schedsearch.core.flops import kv_bytes
from schedsearch.models.adapters import adapter_for
from schedsearch.testing.reference import Kept, appended, masked_forward, masking
from tests.engine.prefixes import SOME, evaluator, model_of, task
from tests.engine.stepping import Stepper
from tests.engine.tiny import (
    CONFIGURATIONS,
    IMAGE_TOKEN,
    LAYERS,
    TOLERANCE,
    TinyLlava,
    eager_twin,
    pad,
    question,
    shared,
)

KEEP = (0.5, 0.5, 0.3, 0.3, 0.3, 0.1)
EVEN = (0.5,) * LAYERS
RANKERS = ["diverse", "tower", "random", "uniform"]
ONE, TWO = question(95, behind=14), question(96, behind=9, images=2)


def kept_alone(sample: dict[str, Any], schedule: Schedule) -> Kept:
    """Vision columns of one unpadded sample by drop layer."""
    model, ids = shared(), sample["input_ids"][0].tolist()
    with reduce(model, schedule) as reduction:
        model(**sample)
        columns = {layer: kept[0].tolist() for layer, kept in reduction.kept.items()}
    return {layer: [c for c in kept if ids[c] == IMAGE_TOKEN] for layer, kept in columns.items()}


def masked(sample: dict[str, Any], tokens: list[int], schedule: Schedule) -> torch.Tensor:
    kept, twin = kept_alone(sample, schedule), eager_twin(TinyLlava())
    logits, _ = masked_forward(twin, appended(sample, tokens), schedule.keep, [], kept)
    return logits


@pytest.mark.parametrize("ranker", RANKERS)
def test_turns_of_a_padded_batch_equal_the_masked_model(ranker: str) -> None:
    model, schedule, samples = shared(), Schedule(KEEP, RankerSpec(ranker)), [ONE, TWO]
    turns = [[61, 62, 63], [64], [65, 66]]

    with reduce(model, schedule):
        stepper = Stepper(model, pad(samples, "left"))
        steps = [stepper.feed(torch.tensor([turn, turn])) for turn in turns]

    for row, sample in enumerate(samples):
        expected = masked(sample, [token for turn in turns for token in turn], schedule)
        assert (torch.cat(steps, dim=1)[row] - expected[-6:]).abs().max() < TOLERANCE


def test_positions_go_on_behind_the_unpruned_prompt_where_nobody_gives_them() -> None:
    model, schedule = shared(), Schedule(KEEP, RankerSpec("diverse"))

    with reduce(model, schedule):
        cache = model(**ONE).past_key_values
        seen = cache.get_seq_length()
        steps = [
            model(input_ids=torch.tensor([turn]), past_key_values=cache).logits
            for turn in ([61, 62], [63])
        ]

    assert seen == ONE["input_ids"].shape[1]
    expected = masked(ONE, [61, 62, 63], schedule)
    assert (torch.cat(steps, dim=1)[0] - expected[-3:]).abs().max() < TOLERANCE


@pytest.mark.parametrize("tiny", CONFIGURATIONS, ids=str)
def test_beam_search_equals_beam_search_on_the_masked_model(tiny: TinyLlava) -> None:
    schedule = Schedule(KEEP, RankerSpec("diverse"))
    settings = {"num_beams": 4, "max_new_tokens": 6, "do_sample": False}
    twin = eager_twin(tiny)
    with masking(twin, ONE["input_ids"][0], KEEP, [], kept_alone(ONE, schedule)):
        expected = twin.generate(**ONE, **settings, use_cache=False)

    with reduce(shared(tiny), schedule):
        found = shared(tiny).generate(**ONE, **settings)

    assert torch.equal(found, expected)
    assert not torch.equal(twin.generate(**ONE, **settings), expected)


def test_prompt_lookup_decoding_gives_the_greedy_tokens() -> None:
    model, schedule = shared(), Schedule(KEEP, RankerSpec("diverse"))
    sample = appended(ONE, ONE["input_ids"][0, -12:-8].tolist())

    with reduce(model, schedule):
        expected = model.generate(**sample, max_new_tokens=30, do_sample=False)
        found = model.generate(
            **sample, max_new_tokens=30, do_sample=False, prompt_lookup_num_tokens=4
        )

    assert torch.equal(found, expected)


@pytest.mark.parametrize("ranker", RANKERS)
def test_forced_answers_equal_prefill_and_decoding(ranker: str) -> None:
    model, schedule, answer = shared(), Schedule(KEEP, RankerSpec(ranker)), [61, 62, 63]

    with reduce(model, schedule) as reduction:
        decoded = Stepper(model, TWO).feed(torch.tensor([answer]))
        reduction.prompt([TWO["input_ids"].shape[1]])
        forced = model(**appended(TWO, answer)).logits[:, -3:]

    assert (forced - decoded).abs().max() < TOLERANCE


@pytest.mark.parametrize("keep", [KEEP, EVEN, (0.0,) * LAYERS], ids=["falling", "even", "none"])
def test_cache_bytes_equal_the_formula(keep: tuple[float, ...]) -> None:
    model, schedule = shared(), Schedule(keep, RankerSpec("diverse"))

    with reduce(model, schedule):
        cache = model(**ONE).past_key_values

    n_vision = 64
    n_text = ONE["input_ids"].shape[1] - n_vision
    expected = kv_bytes(adapter_for(model).shape(model), schedule.counts(n_vision), n_text, 4)
    tensors = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
    assert sum(tensor.untyped_storage().nbytes() for tensor in tensors) == expected


def test_text_cropped_off_the_cache_is_forgotten() -> None:
    model, schedule = shared(), Schedule(KEEP, RankerSpec("diverse"))

    with reduce(model, schedule):
        cache = model(**ONE).past_key_values
        model(input_ids=torch.tensor([[61, 62, 63]]), past_key_values=cache)
        cache.crop(-2)
        step = model(input_ids=torch.tensor([[64]]), past_key_values=cache).logits[0]

    assert (step - masked(ONE, [61, 64], schedule)[-1:]).abs().max() < TOLERANCE


@pytest.mark.parametrize("keep", [KEEP, EVEN], ids=["falling", "even"])
def test_an_emptied_cache_serves_another_prompt(keep: tuple[float, ...]) -> None:
    model, turn = shared(), torch.tensor([[7, 8]])
    text = question(97, images=0)

    with reduce(model, Schedule(keep, RankerSpec("diverse"))):
        cache = model(**ONE).past_key_values
        for sample in (text, TWO, ONE):
            cache.crop(-cache.get_seq_length())
            model(**sample, past_key_values=cache)
            found = model(input_ids=turn, past_key_values=cache).logits
            fresh = model(**sample).past_key_values
            assert torch.equal(found, model(input_ids=turn, past_key_values=fresh).logits)


@pytest.mark.parametrize("copied", [True, False], ids=["a copy", "itself"])
def test_a_cache_of_another_reduction_is_refused(copied: bool) -> None:
    """Even where all its layers are of one length, so that it looks unreduced."""
    model, schedule = shared(), Schedule(EVEN, RankerSpec("diverse"))
    with reduce(model, schedule):
        cache = model(**ONE).past_key_values
        other = copy.deepcopy(cache) if copied else cache

    with reduce(model, schedule), pytest.raises(UnsupportedError, match="`with` block that filled"):
        model(input_ids=torch.tensor([[7]]), past_key_values=other)


def test_tensors_of_a_reduced_cache_without_its_record_are_told_by_the_mask() -> None:
    model, schedule = shared(), Schedule(EVEN, RankerSpec("diverse"))
    with reduce(model, schedule):
        cache = model(**ONE).past_key_values
        bare = DynamicCache([(layer.keys, layer.values) for layer in cache.layers])
        mask = torch.ones(1, ONE["input_ids"].shape[1] + 1, dtype=torch.long)
        with pytest.raises(UnsupportedError, match="rows and mask of this call"):
            model(input_ids=torch.tensor([[7]]), attention_mask=mask, past_key_values=bare)


SEARCH = [
    # Vision tokens per layer, layers shared with what follows, first layer to run.
    ((64, 64, 64, 64, 64, 64), 0, 0),
    ((32, 32, 32, 32, 32, 32), 0, 0),
    ((40, 40, 40, 40, 40, 40), 1, 0),
    ((40, 20, 20, 20, 20, 20), 1, 1),
    ((40, 30, 30, 30, 30, 30), 2, 1),
    ((40, 30, 10, 10, 10, 10), 2, 2),
    ((40, 30, 20, 20, 20, 5), 5, 2),
    ((40, 30, 20, 20, 20, 0), 5, 5),
    ((20, 20, 20, 20, 20, 20), 0, 0),
]


@pytest.mark.parametrize("ranker", RANKERS)
def test_a_search_from_layer_0_gets_the_scores_it_gets_without_reuse(ranker: str) -> None:
    plain, reusing = evaluator(model_of(), max_prefix_bytes=0), evaluator(model_of())
    values = []
    for counts, shared_layers, first in SEARCH:
        asked = task(counts, shared_layers, RankerSpec(ranker))
        before = reusing.work
        found = reusing.evaluate(asked)

        assert found == plain.evaluate(asked), counts
        work = reusing.work - before
        assert work.layer_forwards == len(SOME) * (LAYERS - first), counts
        values += [score.score for score in found]
    assert len(set(values)) > len(values) / 2, "schedules must change scores"

"""A reduced KV cache goes on serving: further turns, crops, another prompt in the same object."""

import copy
import pickle
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from schedsearch import RankerSpec, Schedule, UnsupportedError, reduce
from schedsearch.testing.reference import appended, masked_forward, ranking_rows
from tests.engine.stepping import Stepper
from tests.engine.tiny import (
    CONFIGURATIONS,
    IMAGE_TOKEN,
    KEEP,
    TOLERANCE,
    TinyLlava,
    eager_twin,
    pad,
    question,
    shared,
)

SCHEDULE = Schedule(KEEP)
SAMPLES = [question(31, behind=5), question(32, behind=12, images=2), question(33, images=0)]
ANSWERS = [[61, 62, 63], [71, 72, 73], [81, 82, 83]]
SECOND = [[21, 22], [23, 24, 25, 26, 27], [28, 29, 30]]
THIRD = [40, 41]


def second_turn(pad_side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Second questions of different lengths, padded, and their mask."""
    width = max(map(len, SECOND))
    tokens = torch.zeros(len(SECOND), width, dtype=torch.long)
    valid = torch.zeros_like(tokens)
    for row, question_ids in enumerate(SECOND):
        place = slice(width - len(question_ids), None)
        if pad_side == "right":
            place = slice(0, len(question_ids))
        tokens[row, place] = torch.tensor(question_ids)
        valid[row, place] = 1
    return tokens, valid


@pytest.mark.parametrize("ranker", ["last", "text"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("tiny", CONFIGURATIONS, ids=str)
def test_turns_on_a_reduced_cache_equal_the_masked_model(
    tiny: TinyLlava, side: str, ranker: str
) -> None:
    model, twin = shared(tiny), eager_twin(tiny)
    tokens, valid = second_turn(side)

    with reduce(model, Schedule(KEEP, RankerSpec(ranker))):
        stepper = Stepper(model, pad(SAMPLES, side))
        stepper.feed(torch.tensor(ANSWERS))
        second = stepper.feed(tokens, valid)
        third = torch.cat([stepper.feed(torch.full((3, 1), token)) for token in THIRD], dim=1)

    assert torch.isfinite(second).all()
    for row, sample in enumerate(SAMPLES):
        conversation = appended(sample, ANSWERS[row] + SECOND[row] + THIRD)
        rows = ranking_rows(sample, ranker, (IMAGE_TOKEN,))
        masked, _ = masked_forward(twin, conversation, KEEP, rows)
        found = torch.cat([second[row][valid[row].bool()], third[row]])
        assert (found - masked[-len(found) :]).abs().max() < TOLERANCE


@pytest.mark.parametrize("tiny", CONFIGURATIONS, ids=str)
def test_generate_continues_a_conversation(tiny: TinyLlava) -> None:
    model, sample = shared(tiny), SAMPLES[0]
    settings = {"do_sample": False, "return_dict_in_generate": True, "output_logits": True}

    with reduce(model, SCHEDULE):
        first = model.generate(**sample, **settings, max_new_tokens=4)
        whole = torch.cat([first.sequences, torch.tensor([SECOND[1]])], dim=1)
        second = model.generate(
            input_ids=whole,
            attention_mask=torch.ones_like(whole),
            past_key_values=first.past_key_values,
            **settings,
            max_new_tokens=3,
        )

    conversation = {**sample, "input_ids": second.sequences[:, :-1]}
    conversation["attention_mask"] = torch.ones_like(conversation["input_ids"])
    rows = ranking_rows(sample, "last", (IMAGE_TOKEN,))
    masked, _ = masked_forward(eager_twin(tiny), conversation, KEEP, rows)
    assert (torch.cat(second.logits) - masked[-3:]).abs().max() < TOLERANCE


def test_a_second_turn_with_new_images_is_refused() -> None:
    model, sample = shared(), SAMPLES[0]

    with reduce(model, SCHEDULE):
        first = model.generate(**sample, max_new_tokens=3, return_dict_in_generate=True)
        cache = first.past_key_values
        with pytest.raises(UnsupportedError, match=r"new images .*first prompt"):
            model(**{**sample, "attention_mask": None}, past_key_values=cache)
        whole = torch.cat([first.sequences, sample["input_ids"]], dim=1)
        turn = {**sample, "input_ids": whole, "attention_mask": torch.ones_like(whole)}
        with pytest.raises(UnsupportedError, match=r"new images .*first prompt"):
            model.generate(**turn, past_key_values=cache, max_new_tokens=3)


def test_text_cropped_off_a_reduced_cache_is_forgotten() -> None:
    tiny, sample = TinyLlava(), SAMPLES[1]
    model = shared(tiny)

    with reduce(model, SCHEDULE):
        stepper = Stepper(model, sample)
        stepper.feed(torch.tensor([[61, 62]]))
        stepper.cache.crop(-5)  # both tokens and three of the prompt
        stepper.mask = stepper.mask[:, :-5]
        found = stepper.feed(torch.tensor([[63]])), stepper.feed(torch.tensor([[64, 65, 66, 67]]))

    shortened = {**sample, "input_ids": sample["input_ids"][:, :-3]}
    conversation = appended(shortened, [63, 64, 65, 66, 67])
    rows = ranking_rows(sample, "last", (IMAGE_TOKEN,))
    _, kept = masked_forward(eager_twin(tiny), sample, KEEP, rows)
    masked, _ = masked_forward(eager_twin(tiny), conversation, KEEP, [], given=kept)
    assert (torch.cat(found, dim=1)[0] - masked[-5:]).abs().max() < TOLERANCE


def test_padding_in_place_of_cropped_text_stays_hidden() -> None:
    tiny, samples = TinyLlava(), SAMPLES[:2]
    model, twin = shared(tiny), eager_twin(tiny)
    tokens, valid = torch.tensor([[0, 0, 61], [62, 63, 64]]), torch.tensor([[0, 0, 1], [1, 1, 1]])

    with reduce(model, SCHEDULE):
        stepper = Stepper(model, pad(samples, "left"))
        stepper.cache.crop(-3)
        stepper.mask = stepper.mask[:, :-3]
        stepper.feed(tokens, valid)
        found = stepper.feed(torch.tensor([[65, 66], [65, 66]]))

    for row, sample in enumerate(samples):
        shortened = {**sample, "input_ids": sample["input_ids"][:, :-3]}
        conversation = appended(shortened, [*tokens[row][valid[row].bool()].tolist(), 65, 66])
        _, kept = masked_forward(twin, sample, KEEP, ranking_rows(sample, "last", (IMAGE_TOKEN,)))
        masked, _ = masked_forward(twin, conversation, KEEP, [], given=kept)
        assert (found[row] - masked[-2:]).abs().max() < TOLERANCE


def crop_into_vision(cache: Any) -> Any:
    cache.crop(-14)
    return cache


def crop_one_layer(cache: Any) -> Any:
    cache.layers[4].crop(-1)
    return cache


def change_the_rows_of_layers(cache: Any) -> Any:
    for layer in cache.layers:
        layer.batch_repeat_interleave(2)
    return cache


def copy_the_tensors(cache: Any) -> Any:
    return DynamicCache([(layer.keys, layer.values) for layer in cache.layers])


@pytest.mark.parametrize("change", [crop_into_vision, crop_one_layer, copy_the_tensors])
def test_a_cache_that_is_not_as_the_reduction_left_it_is_refused(change: Any) -> None:
    model, sample = shared(), SAMPLES[1]

    with reduce(model, SCHEDULE):
        cache = change(model(**sample).past_key_values)
        with pytest.raises(UnsupportedError, match="does not hold what this reduction"):
            model(input_ids=torch.tensor([[7, 8]]), past_key_values=cache)


def test_rows_that_a_cache_was_not_told_of_are_refused() -> None:
    model, sample = shared(), SAMPLES[1]

    with reduce(model, SCHEDULE):
        cache = change_the_rows_of_layers(model(**sample).past_key_values)
        with pytest.raises(UnsupportedError, match="rearrange it by its own methods"):
            model(input_ids=torch.tensor([[7, 8], [7, 8]]), past_key_values=cache)


def test_rows_that_move_behind_the_back_of_a_cache_are_refused() -> None:
    model, batch = shared(), pad(SAMPLES[:2], "left")

    with reduce(model, SCHEDULE):
        cache = model(**batch).past_key_values
        for layer in cache.layers:
            layer.reorder_cache(torch.tensor([1, 0]))
        with pytest.raises(UnsupportedError, match="rearrange it by its own methods"):
            model(input_ids=torch.tensor([[7], [8]]), past_key_values=cache)


def test_copies_of_a_cache_outlive_pickling_and_go_on_as_it_does() -> None:
    model, sample, turn = shared(), SAMPLES[1], torch.tensor([[7, 8, 9]])

    with reduce(model, SCHEDULE):
        cache = model(**sample).past_key_values
        copies = [copy.copy(cache), copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))]  # noqa: S301
        logits = [model(input_ids=turn, past_key_values=one).logits for one in copies[1:]]
        expected = model(input_ids=turn, past_key_values=cache).logits

    assert all(isinstance(one, DynamicCache) for one in copies)
    assert all(torch.equal(one, expected) for one in logits)


@pytest.mark.parametrize("keep", [(1.0,) * 6, (0.5,) * 6], ids=["full layer 0", "reduced layer 0"])
def test_an_emptied_cache_is_what_it_was_before(keep: tuple[float, ...]) -> None:
    """It may be filled again outside, where nothing counts columns that are not there."""
    model, sample = shared(), SAMPLES[1]
    cache = DynamicCache(config=model.config)
    for empty in (lambda: cache.reset(), lambda: cache.crop(-cache.get_seq_length())):
        with reduce(model, Schedule(keep, RankerSpec("diverse"))):
            model(**sample, past_key_values=cache)
        empty()
        assert type(cache) is DynamicCache
        model(**sample, past_key_values=cache)
        assert cache.get_seq_length() == sample["input_ids"].shape[1]
        cache.reset()


@pytest.mark.parametrize("keep", [KEEP, (1.0, 1.0, 0.5, 0.25, 0.1, 0.0)], ids=["same", "other"])
def test_a_cache_filled_under_another_reduction_is_refused(keep: tuple[float, ...]) -> None:
    model = shared()
    with reduce(model, SCHEDULE):
        cache = model(**SAMPLES[0]).past_key_values

    with reduce(model, Schedule(keep)), pytest.raises(UnsupportedError, match="`with` block"):
        model(input_ids=torch.tensor([[7]]), past_key_values=cache)


def test_a_cache_filled_without_reduction_continues_unreduced() -> None:
    model = shared()
    turn = {"input_ids": torch.tensor([[7, 8, 9]])}
    expected = model(**turn, past_key_values=model(**SAMPLES[0]).past_key_values).logits
    cache = model(**SAMPLES[0]).past_key_values

    with reduce(model, SCHEDULE):
        found = model(**turn, past_key_values=cache).logits

    assert torch.equal(found, expected)


def test_an_emptied_cache_serves_another_prompt() -> None:
    model, (image, other, text) = shared(), SAMPLES
    turn = torch.tensor([[7, 8, 9]])

    with reduce(model, SCHEDULE):
        cache = model(**image).past_key_values
        for sample in (text, other, image):
            cache.crop(-cache.get_seq_length())
            found = [model(**sample, past_key_values=cache).logits]
            found.append(model(input_ids=turn, past_key_values=cache).logits)

            fresh = model(**sample)
            assert torch.equal(found[0], fresh.logits)
            turn_logits = model(input_ids=turn, past_key_values=fresh.past_key_values).logits
            assert torch.equal(found[1], turn_logits)

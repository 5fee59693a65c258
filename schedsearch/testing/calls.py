"""Checks of the contract suite on calls that nest, fail, carry labels or rearrange their caches."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.errors import UnsupportedError
from schedsearch.reduction.reduction import reduce
from schedsearch.testing.reference import Inputs, appended, padded
from schedsearch.testing.subject import (
    STEPS,
    Breakdown,
    Change,
    Subject,
    assert_close,
    breaking,
    by_hand,
    forced,
)

IGNORED = -100


class CallsContract:
    """A part of `AdapterContract`, which says how to use it."""

    def test_a_model_that_assists_itself_gives_the_greedy_logits(self, subject: Subject) -> None:
        """Speculative decoding runs `generate` of the same model inside `generate`."""
        settings: dict[str, Any] = {"suppress_tokens": list(subject.vision_tokens)}
        settings |= {"do_sample": False, "max_new_tokens": STEPS}
        settings |= {"return_dict_in_generate": True, "output_logits": True}
        for name, sample in subject.samples.items():
            with reduce(subject.model, Schedule(subject.falling)):
                greedy = subject.model.generate(**sample, **settings)
                found = subject.model.generate(**sample, **settings, assistant_model=subject.model)
            assert torch.equal(found.sequences, greedy.sequences), name
            for step, (one, other) in enumerate(zip(found.logits, greedy.logits, strict=True)):
                assert_close(one, other, f"{name}: step {step}")

    def test_a_prompt_inside_another_disturbs_neither(self, subject: Subject) -> None:
        """A hook runs the model in the middle of a layer, in the prefill and while decoding."""
        (name, outer), (other, inner) = list(subject.samples.items())[:2]
        layers = subject.adapter.layers(subject.model)
        with reduce(subject.model, Schedule(subject.falling)):
            expected, inside = forced(subject, outer), forced(subject, inner)
            for call in (1, 3):
                with _interrupting(layers[-1], call, lambda: forced(subject, inner)) as seen:
                    found = forced(subject, outer)
                assert_close(found, expected, f"{name}: outer")
                assert_close(seen[0], inside, f"{other}: inner")

    def test_labels_tell_where_prompts_end(self, subject: Subject) -> None:
        """Loss and logits are those of prompts whose lengths were given, padding on either side."""
        model, whole, lengths, labels = subject.model, *_with_labels(subject, "right")
        shifted = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
        with reduce(model, Schedule(subject.falling)) as reduction:
            reduction.prompt(lengths=lengths)
            expected = model(**whole, labels=labels)
            kept = reduction.kept
            model(**whole)
            assert any(not torch.equal(reduction.kept[n], kept[n]) for n in kept), "answers rank"
            for given in ({"labels": labels}, {"labels": labels, "shift_labels": shifted}):
                found = model(**whole, **given)
                assert_close(found.logits, expected.logits, f"{' and '.join(given)}")
                assert_close(found.loss, expected.loss, "loss")
                assert all(torch.equal(reduction.kept[n], kept[n]) for n in kept)

    def test_labels_that_tell_nothing_are_refused(self, subject: Subject) -> None:
        """Where every token is to be predicted nobody knows which of them are the question."""
        model, sample = subject.model, next(iter(subject.samples.values()))
        everything = sample["input_ids"].clone()
        labels = everything.masked_fill(_behind_vision(subject, sample), IGNORED)
        with reduce(model, Schedule(subject.falling)) as reduction:
            with pytest.raises(UnsupportedError, match=r"`labels`.*Reduction\.prompt"):
                model(**sample, labels=labels)
            reduction.prompt(lengths=[labels.shape[1]])
            told = model(**sample, labels=labels).logits
            assert torch.equal(told, model(**sample).logits)
        with reduce(model, Schedule((1.0,) * subject.layers)):
            model(**sample, labels=everything)

    @pytest.mark.parametrize("ranker", ["last", "random"])
    def test_labels_that_a_removed_token_would_predict_are_refused(
        self, subject: Subject, ranker: str
    ) -> None:
        """Whoever ranks, and whether or not it is known where the prompt ends."""
        model, sample = subject.model, next(iter(subject.samples.values()))
        labels = torch.full_like(sample["input_ids"], IGNORED)
        column = int(subject.adapter.vision_mask(model, sample["input_ids"])[0].nonzero()[-1]) + 1
        labels[0, column] = sample["input_ids"][0, column]
        schedule = Schedule(subject.falling, RankerSpec(ranker))
        with reduce(model, schedule) as reduction:
            with pytest.raises(UnsupportedError, match="`labels`.*vision token"):
                model(**sample, labels=labels)
            reduction.prompt(lengths=[labels.shape[1]])
            with pytest.raises(UnsupportedError, match="predicted by the vision token before it"):
                model(**sample, labels=labels)

    def test_a_description_dies_with_its_call(self, subject: Subject) -> None:
        """Also where the call fails before it reaches the decoder, or is refused."""
        model, adapter = subject.model, subject.adapter
        sample = next(iter(subject.samples.values()))
        shorter = [sample["input_ids"].shape[1] - 1]
        with reduce(model, Schedule(subject.falling)) as reduction:
            expected = model(**sample).logits
            kept = reduction.kept
            reduction.prompt(lengths=shorter)
            model(**sample)
            assert any(not torch.equal(reduction.kept[n], kept[n]) for n in kept), "no effect"

            def embeddings() -> None:
                with breaking(model.get_input_embeddings(), 1), pytest.raises(Breakdown):
                    model(**sample)

            def static_cache() -> None:
                with pytest.raises(UnsupportedError):
                    model.generate(**sample, cache_implementation="static")

            def decoder_alone() -> None:
                width = adapter.shape(model).hidden_size
                with pytest.raises(UnsupportedError):
                    adapter.decoder(model)(inputs_embeds=torch.zeros(1, 1, width))

            for fail in (embeddings, static_cache, decoder_alone):
                reduction.prompt(lengths=shorter)
                fail()
                assert torch.equal(model(**sample).logits, expected), fail.__name__

    def test_packed_prompts_are_refused(self, subject: Subject) -> None:
        """Several prompts in one row are no prompt that could be ranked."""
        model, sample = subject.model, next(iter(subject.samples.values()))
        width = sample["input_ids"].shape[1]
        half = width - 3
        positions = torch.cat([torch.arange(half), torch.arange(width - half)])[None]
        borders = torch.tensor([0, half, width], dtype=torch.int32)
        unmasked = {name: value for name, value in sample.items() if name != "attention_mask"}
        numbers = torch.ones_like(sample["input_ids"])
        numbers[:, half:] = 2
        packed: list[dict[str, Any]] = [
            {**unmasked, "position_ids": positions},
            {**sample, "position_ids": positions},
            {**unmasked, "position_ids": positions, "use_cache": False},
            {**unmasked, "cu_seq_lens_q": borders, "cu_seq_lens_k": borders},
            {**unmasked, "seq_idx": (numbers - 1).int()},
            {**unmasked, "attention_mask": numbers},
        ]
        if hasattr(subject.adapter.trunk(model), "rope_deltas"):
            packed += [{**sample, "position_ids": positions[None].expand(3, -1, -1)}]
        with reduce(model, Schedule(subject.falling)):
            for inputs in packed:
                with pytest.raises(UnsupportedError, match="several prompts.*one prompt in each"):
                    model(**inputs)

    @pytest.mark.parametrize("name", ["reorder", "repeat", "select", "copy", "copy and select"])
    def test_a_rearranged_cache_takes_along_what_is_known_of_its_rows(
        self, subject: Subject, name: str
    ) -> None:
        """Rows that are moved, repeated, left out or copied go on as they were."""
        batch, names = subject.batch(), list(subject.samples)
        change, rows = _rearranged(name, len(names))
        with reduce(subject.model, Schedule(subject.falling)):
            steps = by_hand(subject, batch, (1, 4, STEPS - 5), change, rows)
        for row, origin in enumerate(rows):
            masked = subject.expected(names[origin], subject.falling).logits[-STEPS - 1 :]
            assert_close(steps[row], masked, f"{name}: {names[origin]} in row {row}")


def _behind_vision(subject: Subject, sample: Inputs) -> torch.Tensor:
    """The vision tokens of a sample, and what stands right after one."""
    vision = subject.adapter.vision_mask(subject.model, sample["input_ids"])
    return vision | torch.nn.functional.pad(vision[:, :-1], (1, 0))


def _with_labels(subject: Subject, side: str) -> tuple[Inputs, list[int], torch.Tensor]:
    """All samples with an answer after each, their prompts' lengths, and labels at the answers."""
    answer = subject.answer[:STEPS]
    batch = padded([appended(one, answer) for one in subject.samples.values()], side)
    lengths = [one["input_ids"].shape[1] for one in subject.samples.values()]
    labels = torch.full_like(batch["input_ids"], IGNORED)
    for row, length in enumerate(lengths):
        labels[row, length : length + STEPS] = torch.tensor(answer)
    return batch, lengths, labels


def _rearranged(name: str, n: int) -> tuple[Change, list[int]]:
    """What is done to a cache of `n` rows, and which of them it holds then."""
    turned = [*range(1, n), 0]

    def reorder(cache: Any) -> Any:
        cache.reorder_cache(torch.tensor(turned))
        return cache

    def repeat(cache: Any) -> Any:
        cache.batch_repeat_interleave(2)
        return cache

    def select(cache: Any) -> Any:
        cache.batch_select_indices(torch.tensor([1]))
        return cache

    def copy_and_select(cache: Any) -> Any:
        other = copy.deepcopy(cache)
        reorder(cache)  # what happens to the original is nothing to the copy
        return select(other)

    changes: dict[str, tuple[Change, list[int]]] = {
        "reorder": (reorder, turned),
        "repeat": (repeat, [row for row in range(n) for _ in range(2)]),
        "select": (select, [1]),
        "copy": (copy.deepcopy, list(range(n))),
        "copy and select": (copy_and_select, [1]),
    }
    return changes[name]


@contextmanager
def _interrupting(
    module: Any, call: int, work: Callable[[], torch.Tensor]
) -> Iterator[list[torch.Tensor]]:
    """Do `work` in the middle of a model, when the module is called for the `call`-th time."""
    calls, results = 0, []

    def hook(_module: Any, _args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            results.append(work())

    handle = module.register_forward_pre_hook(hook)
    try:
        yield results
    finally:
        handle.remove()

"""Contract suite for adapters: run it on a small random model before you trust an adapter.

In a test module, with pytest:

    class TestMyModel(AdapterContract):
        build = staticmethod(build_my_tiny_model)
        samples = staticmethod(some_prompts)
        vision_tokens = (151655,)

Nothing of a trained model matters to a wrong position or mask, so small random ones find them; but
where removing tokens hardly moves the logits nothing would be found, and the suite says so.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from schedsearch.core.flops import kv_bytes, layer_flops, ranking_flops
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.evaluation.prefix.prefixes import Prefixes
from schedsearch.models.adapters import adapter_for
from schedsearch.reduction.reduction import Reduction, reduce
from schedsearch.testing.calls import CallsContract
from schedsearch.testing.reference import Inputs, appended, masked_forward, padded
from schedsearch.testing.subject import (
    EFFECT,
    STEPS,
    Breakdown,
    Subject,
    assert_close,
    breaking,
    by_hand,
    check_against_masked,
    forced,
    kept_vision,
    prefix_tasks,
    randomise,
    state,
)

__all__ = ["AdapterContract", "randomise"]

Samples = Mapping[str, Mapping[str, torch.Tensor]]


class AdapterContract(CallsContract):
    """What holds for every model that an adapter serves, for each attention implementation.

    Samples are prompts of one unpadded row that differ in length and number of vision tokens, one
    of them with several images; `build` and `samples` are called once.

    Attributes:
        vision_tokens: Placeholder ids in `input_ids`.
        attentions: Attention implementations to test.
    """

    vision_tokens: ClassVar[tuple[int, ...]]
    attentions: ClassVar[tuple[str, ...]] = ("sdpa", "eager")
    _subjects: ClassVar[dict[tuple[type, str], Subject]] = {}

    @staticmethod
    def build(attention: str) -> Any:
        """A small model in evaluation mode with this attention implementation."""
        raise NotImplementedError

    @staticmethod
    def samples(model: Any) -> Samples:
        """Prompts by name."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Run each check under each attention implementation."""
        if "subject" in metafunc.fixturenames:
            metafunc.parametrize("subject", self.attentions, indirect=True)

    @pytest.fixture
    def subject(self, request: Any) -> Subject:
        """Model, reference and samples; made once for each class and implementation."""
        key = type(self), request.param
        if key not in self._subjects:
            self._subjects[key] = self._make(request.param)
        return self._subjects[key]

    def _make(self, attention: str) -> Subject:
        model, twin = (self.build(one).requires_grad_(False) for one in (attention, "eager"))
        twin.load_state_dict(model.state_dict())
        samples = {name: dict(one) for name, one in self.samples(model).items()}
        ids = next(iter(samples.values()))["input_ids"][0].tolist()
        text = [token for token in ids if token not in self.vision_tokens]
        answer = (text * (STEPS + 1))[: STEPS + 1]
        model(**next(iter(samples.values())))  # transformers leaves marks of its own
        found = Subject(model, twin, adapter_for(model), samples, self.vision_tokens, answer)
        counts = [found.n_vision(name) for name in samples]
        assert len(set(counts)) > 1, f"samples must differ in vision tokens, but all have {counts}"
        assert any(map(self._has_gap, samples.values())), "one sample must have several images"
        return found

    def _has_gap(self, sample: Inputs) -> bool:
        vision = [token in self.vision_tokens for token in sample["input_ids"][0].tolist()]
        return sum(b and not a for a, b in zip([False, *vision], vision, strict=False)) > 1

    def test_adapter_finds_the_vision_tokens(self, subject: Subject) -> None:
        """Mask and counts are what the placeholders say."""
        for name, sample in subject.samples.items():
            mask = subject.adapter.vision_mask(subject.model, sample["input_ids"])
            ids = sample["input_ids"][0].tolist()
            assert mask[0].tolist() == [token in self.vision_tokens for token in ids], name
            assert 0 < subject.n_vision(name) == int(mask.sum()), name

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
    def test_keep_all_changes_no_bit(self, subject: Subject, dtype: torch.dtype) -> None:
        """Nothing removed, and everything ranked and gathered but nothing removed."""
        subject = subject.cast(dtype)
        model, batch = subject.model, subject.batch()
        valid = batch["attention_mask"].bool()
        expected, steps = model(**batch).logits, forced(subject, batch)
        for keep in ((1.0,) * subject.layers, subject.keep(0.9999)):
            with reduce(model, Schedule(keep)) as reduction:
                assert torch.equal(model(**batch).logits[valid], expected[valid])
                assert len(reduction.kept) == sum(ratio < 1 for ratio in keep)
                assert torch.equal(forced(subject, batch), steps)

    @pytest.mark.parametrize("ranker", ["last", "text"])
    def test_one_sample_equals_the_masked_model(self, subject: Subject, ranker: str) -> None:
        """Kept sets, prompt logits and decode steps."""
        for name, sample in subject.samples.items():
            check_against_masked(subject, sample, [name], subject.falling, ranker)

    def test_a_ranker_without_attention_may_drop_from_layer_1(self, subject: Subject) -> None:
        """Whatever kind of attention the first layers have."""
        keep = (1.0, *[0.5] * (subject.layers - 1))
        name, sample = next(iter(subject.samples.items()))
        with reduce(subject.model, Schedule(keep, RankerSpec("random"))) as reduction:
            steps = forced(subject, sample)
            kept = kept_vision(subject, reduction.kept, sample, 0, [1])
        whole, tokens = appended(sample, subject.answer[:STEPS]), self.vision_tokens
        masked, _ = masked_forward(subject.twin, whole, keep, [], kept, tokens)
        assert_close(steps[0], masked[-STEPS - 1 :], name)

    def test_an_early_ranker_may_drop_from_layer_0(self, subject: Subject) -> None:
        """Kept sets of each sample alone, decode steps, a further turn, and the cache's length."""
        keep = (0.6, *[0.3] * (subject.layers - 1))
        schedule, batch = Schedule(keep, RankerSpec("diverse")), subject.batch()
        tokens, width = self.vision_tokens, batch["input_ids"].shape[1]
        with reduce(subject.model, schedule) as reduction:
            cache = subject.model(**batch, use_cache=True).past_key_values
            together, columns = reduction.kept, cache.get_seq_length()
            steps = forced(subject, batch)
            turn = by_hand(subject, batch, chunks=(1, 4, STEPS - 5))
        assert columns == width
        assert cache.layers[0].get_seq_length() == together[0].shape[1] < width
        for row, (name, sample) in enumerate(subject.samples.items()):
            with reduce(subject.model, schedule) as reduction:
                subject.model(**sample)
                kept = kept_vision(subject, reduction.kept, sample, 0, [0, 1])
            assert kept_vision(subject, together, batch, row, [0, 1]) == kept, name
            assert list(map(len, kept.values())) == [*schedule.counts(subject.n_vision(name))[:2]]
            whole = appended(sample, subject.answer[:STEPS])
            masked, _ = masked_forward(subject.twin, whole, keep, [], kept, tokens)
            full, _ = masked_forward(subject.twin, whole, (1.0,) * subject.layers, [])
            assert (full - masked)[-STEPS - 1 :].abs().max() > EFFECT, name
            assert_close(steps[row], masked[-STEPS - 1 :], name)
            assert_close(turn[row], masked[-STEPS - 1 :], f"{name}: a further turn")

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_padded_batch_equals_its_samples_alone(self, subject: Subject, side: str) -> None:
        """Each row keeps its share of its own vision tokens, wherever its padding stands."""
        batch = subject.batch(side)
        check_against_masked(subject, batch, list(subject.samples), subject.falling, side=side)

    def test_rows_of_one_length_keep_their_own_counts(self, subject: Subject) -> None:
        """Without padding in the prompts, cuts alone make rows of different lengths."""
        rows, keep = subject.one_length(), subject.falling
        with reduce(subject.model, Schedule(keep)) as reduction:
            logits = subject.model(**padded(rows, "left")).logits
            kept = reduction.kept
        for row, sample in enumerate(rows):
            last = [logits.shape[1] - 1]
            tokens = self.vision_tokens
            masked, own = masked_forward(subject.twin, sample, keep, last, vision_tokens=tokens)
            assert kept_vision(subject, kept, padded(rows, "left"), row, own) == own, row
            assert_close(logits[row, -1], masked[-1], f"row {row}")

    @pytest.mark.parametrize("ratios", [(0.5, 0.0), (0.0,), (1e-4,), (0.7, 1e-4, 0.0)], ids=str)
    def test_down_to_one_token_and_none(self, subject: Subject, ratios: tuple[float, ...]) -> None:
        """Schedules that end with one token for each sample, or with zero."""
        keep = subject.keep(*ratios)
        check_against_masked(subject, subject.batch(), list(subject.samples), keep)
        if ratios == (1e-4,):
            for name in subject.samples:
                assert {len(kept) for kept in subject.expected(name, keep).kept.values()} == {1}

    def test_a_further_turn_equals_the_masked_model(self, subject: Subject) -> None:
        """Several rows at once on a reduced cache see their own past and nothing ahead."""
        batch, names = subject.batch(), list(subject.samples)
        with reduce(subject.model, Schedule(subject.falling)):
            steps = by_hand(subject, batch, chunks=(1, 4, STEPS - 5))
        for row, name in enumerate(names):
            masked = subject.expected(name, subject.falling).logits[-STEPS - 1 :]
            assert_close(steps[row], masked, f"{name}: a further turn")

    def test_answers_never_rank(self, subject: Subject) -> None:
        """Teacher forcing gives the kept sets of the prompt, and the logits of decoding."""
        names = list(subject.samples)
        forced_rows = [appended(one, subject.answer[:STEPS]) for one in subject.samples.values()]
        batch = padded(forced_rows, "right")
        lengths = [one["input_ids"].shape[1] for one in subject.samples.values()]
        with reduce(subject.model, Schedule(subject.falling)) as reduction:
            reduction.prompt(lengths=lengths)
            logits = subject.model(**batch).logits
            kept = reduction.kept
        for row, name in enumerate(names):
            masked = subject.expected(name, subject.falling)
            assert kept_vision(subject, kept, batch, row, masked.kept) == masked.kept, name
            end = lengths[row] + STEPS
            found = logits[row, lengths[row] - 1 : end]
            assert_close(found, masked.logits[-STEPS - 1 :], f"{name}: forced answer")

    def test_cache_bytes_equal_the_formula(self, subject: Subject) -> None:
        """Removed tokens leave the KV cache of every layer after the cut."""
        shape = subject.adapter.shape(subject.model)
        windows = subject.adapter.windows(subject.model)
        for name, sample in subject.samples.items():
            schedule = Schedule(subject.falling)
            with reduce(subject.model, schedule):
                cache = subject.model(**sample, use_cache=True).past_key_values
            n_vision = subject.n_vision(name)
            n_text = sample["input_ids"].shape[1] - n_vision
            counts = [
                count if window is None else min(count, window - 1 - n_text)
                for count, window in zip(schedule.counts(n_vision), windows, strict=True)
            ]
            width = subject.model.dtype.itemsize
            tensors = [t for layer in cache.layers for t in (layer.keys, layer.values)]
            assert sum(t.nbytes for t in tensors) == kv_bytes(shape, counts, n_text, width), name
            for layer, window in zip(cache.layers, windows, strict=True):
                if window is None:  # what slides stays a view until the next token
                    assert layer.keys.untyped_storage().nbytes() == layer.keys.nbytes, name

    def test_counted_flops_equal_the_formula(self, subject: Subject) -> None:
        """Layer by layer; under sdpa on a CPU the counter sees no attention."""
        model, shape = subject.twin, subject.adapter.shape(subject.model)
        schedule = Schedule(subject.falling)
        name, sample = next(iter(subject.samples.items()))
        with reduce(model, schedule), FlopCounterMode(display=False) as counter:
            model(**sample)
        by_module = counter.get_flop_counts()
        paths = {id(module): path for path, module in model.named_modules()}
        n_vision = subject.n_vision(name)
        n_text = sample["input_ids"].shape[1] - n_vision
        counts = schedule.counts(n_vision)
        ranked = {
            subject.adapter.ranking_layer(model, cut) for cut in schedule.cut_layers(n_vision)
        }
        for layer, module in enumerate(subject.adapter.layers(model)):
            counted = by_module[f"{type(model).__name__}.{paths[id(module)]}"]
            tokens = counts[layer] + n_text
            ranking = ranking_flops(shape, tokens) if layer in ranked else 0
            assert sum(counted.values()) == layer_flops(shape, tokens) + ranking, layer

    def test_two_schedules_in_a_row_do_not_mix(self, subject: Subject) -> None:
        """A reduction leaves nothing behind for the next."""
        batch, names = subject.batch(), list(subject.samples)
        for keep in (subject.falling, subject.keep(0.3), subject.falling):
            check_against_masked(subject, batch, names, keep)

    def test_nothing_stays_on_the_model(self, subject: Subject) -> None:
        """Neither hooks nor configs nor other outputs, after the context and after exceptions."""
        model, adapter = subject.model, subject.adapter
        batch, schedule = subject.batch(), Schedule(subject.falling)
        expected, before = model(**batch).logits, state(model)
        with reduce(model, schedule):
            reduced = model(**batch).logits
            assert state(model) != before
        assert state(model) == before
        assert torch.equal(model(**batch).logits, expected)
        assert not torch.equal(reduced, expected)

        last = adapter.layers(model)[-1]
        places = {
            "prefill": (last, 1),
            "decoding": (last, 3),
            "ranking layer": (adapter.attention(model, subject.first - 1), 1),
            "norm": (adapter.decoder(model).get_submodule("norm"), 1),
        }
        for place, (module, call) in places.items():
            with pytest.raises(Breakdown), reduce(model, schedule), breaking(module, call):
                forced(subject, batch)
            assert state(model) == before, place
        assert torch.equal(model(**batch).logits, expected)

    def test_prefix_reuse_changes_no_bit(self, subject: Subject) -> None:
        """Scoring that goes on from states of earlier schedules equals scoring from scratch."""
        name, sample = next(iter(subject.samples.items()))
        n_vision, length = subject.n_vision(name), sample["input_ids"].shape[1]
        inputs = appended(sample, subject.answer[:3])
        del inputs["attention_mask"]
        prefixes = Prefixes(subject.model, 1 << 28, scan=1)
        starts = []
        for keep, shared in prefix_tasks(subject):
            schedule = Schedule(keep, RankerSpec("last"))
            with reduce(subject.model, schedule) as reduction:
                given = self._described(reduction, inputs, length)
                expected = self._logits(subject, given)
            with (
                reduce(subject.model, schedule) as reduction,
                prefixes.preparing(reduction, shared),
            ):
                found, first = prefixes.run(
                    reduction,
                    (name,),
                    schedule.counts(n_vision),
                    shared,
                    partial(self._described, reduction, inputs, length),
                    partial(self._logits, subject),
                )
            assert torch.equal(found, expected), f"{keep} from layer {first}"
            starts.append(first)
        assert len(set(starts)) > 2, f"runs started at layers {starts}: prefixes are not reused"

    @staticmethod
    def _described(reduction: Reduction, inputs: Inputs, length: int) -> Inputs:
        reduction.prompt(lengths=[length])
        return inputs

    @staticmethod
    def _logits(subject: Subject, given: Mapping[str, torch.Tensor]) -> torch.Tensor:
        logits: torch.Tensor = subject.model(**given, use_cache=False).logits
        return logits

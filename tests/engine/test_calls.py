"""What is known of one call is known of no other, however calls nest."""

import copy
from typing import Any

import pytest
import torch
from transformers import LogitsProcessor

from schedsearch import InputError, RankerSpec, Schedule, UnsupportedError, reduce
from schedsearch.models.adapters import adapter_for
from schedsearch.models.stage import Stage
from schedsearch.reduction.reduced_cache import PrefillRecord
from schedsearch.testing.reference import appended
from tests.engine.tiny import KEEP, TOLERANCE, TinyLlava, build, pad, question, shared

SCHEDULE = Schedule(KEEP)
SAMPLE, LONGER = question(81), question(82, behind=40)
SETTINGS = {"max_new_tokens": 4, "do_sample": False}
LOGITS = {**SETTINGS, "return_dict_in_generate": True, "output_logits": True}


class Asking(LogitsProcessor):
    """Asks the model another prompt between the steps of an answer, as guidance does."""

    def __init__(self, model: Any, prompt: Any) -> None:
        self._model, self._prompt = model, prompt
        self.logits: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        assert input_ids.shape[0] == scores.shape[0]
        self.logits.append(self._model(**self._prompt).logits[:, -1])
        return scores


@pytest.mark.parametrize("ranker", ["last", "text", "random", "tower"])
@pytest.mark.parametrize(
    "inner",
    [LONGER, question(83, behind=2), appended(SAMPLE, [61, 62, 63, 64, 65, 66, 67, 68])],
    ids=["longer", "shorter", "same and more"],
)
def test_a_forward_between_decode_steps_ranks_by_its_own_prompt(inner: Any, ranker: str) -> None:
    model = shared()
    asking = Asking(model, inner)

    with reduce(model, Schedule(KEEP, RankerSpec(ranker))):
        expected, alone = model.generate(**SAMPLE, **SETTINGS), model(**inner).logits[:, -1]
        found = model.generate(**SAMPLE, **SETTINGS, logits_processor=[asking])

    assert torch.equal(found, expected)
    assert len(asking.logits) == 4
    assert all((logits - alone).abs().max() < TOLERANCE for logits in asking.logits)


def test_a_description_is_that_of_the_prompt_and_not_of_who_assists() -> None:
    model = shared()

    with reduce(model, Schedule(KEEP, RankerSpec("random"))) as reduction:
        plain = model.generate(**SAMPLE, **LOGITS)
        reduction.prompt(keys=["another"])
        expected = model.generate(**SAMPLE, **LOGITS)
        reduction.prompt(keys=["another"])
        found = model.generate(**SAMPLE, **LOGITS, assistant_model=model)

    assert (expected.logits[0] - plain.logits[0]).abs().max() > 0.1
    assert torch.equal(found.sequences, expected.sequences)
    for one, other in zip(found.logits, expected.logits, strict=True):
        assert (one - other).abs().max() < TOLERANCE


def test_a_description_of_a_call_that_continues_a_cache_is_refused_and_gone() -> None:
    model, turn = shared(), torch.tensor([[7, 8]])

    with reduce(model, SCHEDULE) as reduction:
        cache = model(**SAMPLE).past_key_values
        expected = model(**SAMPLE).logits
        reduction.prompt(lengths=[5])
        with pytest.raises(InputError, match="continues a KV cache; describe the call that fills"):
            model(input_ids=turn, past_key_values=cache)
        assert torch.equal(model(**SAMPLE).logits, expected)


def test_labels_serve_prompts_without_images_and_rows_without_answers() -> None:
    """A question about an image with its answer, a text, and a question that nobody answers."""
    model, rows = shared(), [SAMPLE, question(84, images=0), LONGER]
    batch = pad(rows, "right")
    labels = torch.full_like(batch["input_ids"], -100)
    answered = SAMPLE["input_ids"].shape[1] - 3
    labels[0, answered : answered + 3] = batch["input_ids"][0, answered : answered + 3]
    labels[1] = batch["input_ids"][1].where(batch["attention_mask"][1].bool(), -100)
    lengths = [answered, *(row["input_ids"].shape[1] for row in rows[1:])]

    with reduce(model, SCHEDULE) as reduction:
        found = model(**batch, labels=labels)
        kept = reduction.kept
        reduction.prompt(lengths=lengths)
        expected = model(**batch, labels=labels)

    assert torch.equal(found.loss, expected.loss)
    assert all(torch.equal(kept[layer], columns) for layer, columns in reduction.kept.items())


def test_a_record_goes_to_the_device_of_the_next_tokens() -> None:
    stage = Stage(torch.tensor([[0, 2, 5]]), ragged=False)
    record = PrefillRecord("one", 1, 6, (None, stage, stage))

    moved = record.on(torch.device("meta"))

    assert record.on(torch.device("cpu")) is record
    assert moved.stages[0] is None and moved.stages[1] is moved.stages[2]
    assert moved.stages[1] is not None and moved.stages[1].positions.is_meta


@pytest.mark.parametrize("place", ["layers.0", "layers.1.self_attn", "layers.1.layer_norm2"])
def test_a_prompt_inside_the_vision_tower_disturbs_neither(place: str) -> None:
    """Before and after the layer whose attention ranks."""
    model = build(TinyLlava())
    tower = model.model.vision_tower
    module = getattr(tower, "vision_model", tower).encoder.get_submodule(place)
    busy = []

    with reduce(model, Schedule(KEEP, RankerSpec("tower"))):
        expected, alone = model(**SAMPLE).logits, model(**LONGER).logits

        def interrupt(_module: Any, _args: Any, _output: Any) -> None:
            if not busy:
                busy.append(model)
                busy.append(model(**LONGER).logits)

        module.register_forward_hook(interrupt)
        found = model(**SAMPLE).logits

    assert torch.equal(found, expected)
    assert torch.equal(busy[1], alone)


def test_features_of_another_image_are_not_ranked_by_those_of_an_earlier_one() -> None:
    """The tower does not run for them, so nothing is known of their order."""
    model = shared()
    features = {"image": model.get_image_features(LONGER["pixel_values"], return_dict=True)}
    given = {name: LONGER[name] for name in ("input_ids", "attention_mask")}
    asking = Asking(model, {**given, "mm_encoder_outputs": features})

    with (
        reduce(model, Schedule(KEEP, RankerSpec("tower"))),
        pytest.raises(UnsupportedError, match="vision tower ran for 0 of them"),
    ):
        model.generate(**SAMPLE, **SETTINGS, logits_processor=[asking])


def test_a_description_dies_with_a_call_that_its_own_hooks_end() -> None:
    model = build(TinyLlava())

    def refuse(_module: Any, _args: Any) -> None:
        raise RuntimeError("not today")

    with reduce(model, SCHEDULE) as reduction:
        expected = model(**SAMPLE).logits
        reduction.prompt(lengths=[SAMPLE["input_ids"].shape[1] - 3])
        handle = model.register_forward_pre_hook(refuse)
        with pytest.raises(RuntimeError, match="not today"):
            model(**SAMPLE)
        handle.remove()
        assert torch.equal(model(**SAMPLE).logits, expected)


def test_a_decoder_called_alone_in_the_middle_disturbs_nobody() -> None:
    model = build(TinyLlava())
    decoder, refused = model.get_decoder(), []

    def alone(_module: Any, _args: Any) -> None:
        with pytest.raises(UnsupportedError, match="decoder was called without"):
            decoder(inputs_embeds=torch.zeros(1, 3, 64))
        refused.append(1)

    with reduce(model, SCHEDULE):
        expected = model.generate(**SAMPLE, **SETTINGS)
        decoder.layers[4].mlp.register_forward_pre_hook(alone)
        found = model.generate(**SAMPLE, **SETTINGS)

    assert torch.equal(found, expected) and len(refused) == 4


@pytest.mark.parametrize("call", ["forward", "generate"])
def test_a_copy_of_a_reduced_model_is_refused(call: str) -> None:
    """It would run the original's hooks, or the original itself."""
    model = build(TinyLlava())

    with reduce(model, SCHEDULE):
        other = copy.deepcopy(model)
        with pytest.raises(UnsupportedError, match="copied while a reduction.*outside"):
            getattr(other, call)(**SAMPLE)


def test_a_cache_is_not_continued_behind_its_reduction() -> None:
    model = shared()
    with reduce(model, SCHEDULE):
        cache = model(**SAMPLE).past_key_values

    with pytest.raises(UnsupportedError, match="has ended.*`with` block"):
        model(input_ids=torch.tensor([[7, 8, 9]]), past_key_values=cache)


def test_positions_that_jump_are_one_prompt_where_keys_are_cached() -> None:
    """As the model itself reads them; without a cache it would see two."""
    model, width = shared(), SAMPLE["input_ids"].shape[1]
    positions = torch.arange(width)[None].clone()
    positions[:, 40:] += 5
    given = {name: SAMPLE[name] for name in ("input_ids", "pixel_values")}

    with reduce(model, SCHEDULE):
        found = model(**given, position_ids=positions).logits[:, -1]
        masked = model(**SAMPLE, position_ids=positions).logits[:, -1]
        with pytest.raises(UnsupportedError, match="several prompts"):
            model(**given, position_ids=positions, use_cache=False)

    assert (found - masked).abs().max() < TOLERANCE


def test_labels_that_tell_nothing_are_nothing_to_a_ranker_without_attention() -> None:
    """But for those after a vision token, which nobody predicts once it is dropped."""
    model, labels = shared(), SAMPLE["input_ids"].clone()
    vision = adapter_for(model).vision_mask(model, labels)
    labels[vision | torch.nn.functional.pad(vision[:, :-1], (1, 0))] = -100

    with reduce(model, Schedule(KEEP, RankerSpec("uniform"))):
        assert torch.equal(model(**SAMPLE, labels=labels).logits, model(**SAMPLE).logits)


@pytest.mark.parametrize("lengths", [torch.tensor(5), ["a"], [[5]]], ids=str)
def test_lengths_of_another_form_are_refused(lengths: Any) -> None:
    model = shared()

    with reduce(model, SCHEDULE) as reduction:
        reduction.prompt(lengths=lengths)
        with pytest.raises(InputError, match="`lengths` must"):
            model(**SAMPLE)


def test_a_mask_of_another_length_is_refused() -> None:
    model = shared()
    shorter = {**SAMPLE, "attention_mask": SAMPLE["attention_mask"][:, 5:]}

    with reduce(model, SCHEDULE), pytest.raises(UnsupportedError, match="one value for each token"):
        model(**shorter)

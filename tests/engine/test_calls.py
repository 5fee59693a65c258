"""What is known of one call is known of no other, however calls nest."""

from typing import Any

import pytest
import torch
from transformers import LogitsProcessor

from schedsearch import InputError, RankerSpec, Schedule, reduce
from schedsearch.engine.reduced_cache import PrefillRecord
from schedsearch.engine.selection import Stage
from tests.engine.tiny import KEEP, TOLERANCE, pad, question, shared

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
@pytest.mark.parametrize("inner", [LONGER, question(83, behind=2)], ids=["longer", "shorter"])
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

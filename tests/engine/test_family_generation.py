"""Other ways to generate work on reduced caches of every family: beams, look-ups, turns."""

from functools import cache
from typing import Any

import pytest
import torch

from schedsearch import Schedule, reduce
from schedsearch.testing import AdapterContract
from schedsearch.testing.reference import appended, masked_forward, masking, ranking_rows
from schedsearch.testing.subject import TOLERANCE, Subject
from tests.engine.families import FAMILIES

SETTINGS = {"do_sample": False, "return_dict_in_generate": True}


@cache
def subject(name: str) -> Subject:
    family = FAMILIES[name]
    members = {"build": staticmethod(family.build), "samples": staticmethod(family.samples)}
    made = type("Contract", (AdapterContract,), {**members, "vision_tokens": family.vision_tokens})
    return made()._make("sdpa")


def sample_of(made: Subject) -> tuple[Any, list[int], dict[str, Any]]:
    """A prompt, its ranking row, and settings under which no placeholder is generated."""
    sample = next(iter(made.samples.values()))
    rows = ranking_rows(sample, "last", made.vision_tokens)
    return sample, rows, {**SETTINGS, "suppress_tokens": list(range(145, 200))}


@pytest.mark.parametrize("name", FAMILIES)
def test_beam_search_equals_beam_search_on_the_masked_model(name: str) -> None:
    made = subject(name)
    sample, rows, settings = sample_of(made)
    settings |= {"num_beams": 3, "num_return_sequences": 3, "max_new_tokens": 4}
    settings["output_scores"] = True
    with masking(made.twin, sample["input_ids"][0], made.falling, rows):
        expected = made.twin.generate(**sample, **settings, use_cache=False)

    with reduce(made.model, Schedule(made.falling)):
        found = made.model.generate(**sample, **settings)

    assert torch.equal(found.sequences, expected.sequences)
    assert (found.sequences_scores - expected.sequences_scores).abs().max() < TOLERANCE


@pytest.mark.parametrize("name", FAMILIES)
def test_prompt_lookup_decoding_gives_the_greedy_tokens(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = subject(name)
    sample, _, settings = sample_of(made)
    repetitive = appended(sample, sample["input_ids"][0, [-4, -3, -2, -1, -4, -3]].tolist())
    crops = []
    with reduce(made.model, Schedule(made.falling)):
        expected = made.model.generate(**repetitive, **settings, max_new_tokens=16)
        kind = type(expected.past_key_values)
        crop = kind.crop
        monkeypatch.setattr(kind, "crop", lambda cache, n: (crops.append(n), crop(cache, n)))
        found = made.model.generate(
            **repetitive, **settings, max_new_tokens=16, prompt_lookup_num_tokens=4
        )

    assert torch.equal(found.sequences, expected.sequences)
    assert min(crops) < 0, "candidates should have been rejected"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_further_turn_by_generate_equals_the_masked_model(name: str) -> None:
    made = subject(name)
    sample, rows, settings = sample_of(made)
    width = sample["input_ids"].shape[1]

    with reduce(made.model, Schedule(made.falling)):
        first = made.model.generate(**sample, **settings, max_new_tokens=4)
        turn = appended(sample, [*first.sequences[0, width:].tolist(), 7, 8, 9, 10])
        found = made.model.generate(
            **{key: value for key, value in turn.items() if not key.startswith("pixel")},
            **settings,
            past_key_values=first.past_key_values,
            max_new_tokens=4,
            output_logits=True,
        )

    tokens = found.sequences[0, width + 8 :].tolist()
    whole = appended(turn, tokens[:-1])
    masked, _ = masked_forward(
        made.twin, whole, made.falling, rows, vision_tokens=made.vision_tokens
    )
    assert (torch.stack(found.logits, dim=1)[0] - masked[-4:]).abs().max() < TOLERANCE

"""Every way of generating that keeps a growing cache works on reduced layers."""

from typing import Any

import pytest
import torch

from schedsearch import RankerSpec, Schedule, reduce
from schedsearch.testing.reference import appended, masked_forward, masking
from tests.engine.stepping import Stepper
from tests.engine.tiny import (
    CONFIGURATIONS,
    IMAGE_TOKEN,
    KEEP,
    TOLERANCE,
    TinyLlava,
    build,
    eager_twin,
    pad,
    question,
    shared,
)

SCHEDULE = Schedule(KEEP)
SAMPLE = question(21)
LAST = [SAMPLE["input_ids"].shape[1] - 1]


def continued(sequences: torch.Tensor, batch: dict[str, Any]) -> list[list[int]]:
    tokens: list[list[int]] = sequences[:, batch["input_ids"].shape[1] :].tolist()
    return tokens


@pytest.mark.parametrize("tiny", CONFIGURATIONS, ids=str)
def test_beam_search_equals_beam_search_on_the_masked_model(tiny: TinyLlava) -> None:
    settings = {
        "num_beams": 4,
        "num_return_sequences": 4,
        "max_new_tokens": 6,
        "return_dict_in_generate": True,
        "output_scores": True,
        "do_sample": False,
    }
    twin = eager_twin(tiny)
    with masking(twin, SAMPLE["input_ids"][0], KEEP, LAST):
        expected = twin.generate(**SAMPLE, **settings, use_cache=False)
    unpruned = twin.generate(**SAMPLE, **settings)

    with reduce(shared(tiny), SCHEDULE):
        found = shared(tiny).generate(**SAMPLE, **settings)

    assert torch.equal(found.sequences, expected.sequences)
    assert (found.sequences_scores - expected.sequences_scores).abs().max() < TOLERANCE
    assert not torch.equal(unpruned.sequences, expected.sequences)


def test_beam_search_of_a_padded_batch_equals_single_samples() -> None:
    model, samples = shared(), [question(22, behind=5), question(23, behind=11, images=2)]
    settings = {"num_beams": 3, "max_new_tokens": 6, "do_sample": False}

    with reduce(model, SCHEDULE):
        batch = pad(samples, "left")
        together = continued(model.generate(**batch, **settings), batch)
        alone = [continued(model.generate(**one, **settings), one)[0] for one in samples]

    assert together == alone


def repetitive(seed: int) -> dict[str, Any]:
    """A prompt whose last tokens stand there before, so that a look-up has candidates at once."""
    sample = question(seed, behind=14)
    return appended(sample, sample["input_ids"][0, -12:-8].tolist())


@pytest.mark.parametrize("tiny", CONFIGURATIONS, ids=str)
def test_prompt_lookup_decoding_gives_the_greedy_tokens(
    tiny: TinyLlava, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sample = shared(tiny), repetitive(24)
    rejected = []
    with reduce(model, SCHEDULE) as reduction:
        expected = model.generate(**sample, max_new_tokens=40, do_sample=False)
        expected_kept = reduction.kept
        watch_crops(monkeypatch, rejected)
        found = model.generate(
            **sample, max_new_tokens=40, do_sample=False, prompt_lookup_num_tokens=4
        )
        kept = reduction.kept

    assert torch.equal(found, expected)
    assert rejected[0] < 0, "the prefill itself should have carried candidates"
    for layer, columns in expected_kept.items():
        assert torch.equal(kept[layer][:, : columns.shape[1]], columns)


def watch_crops(monkeypatch: pytest.MonkeyPatch, seen: list[int]) -> None:
    from transformers import DynamicCache

    crop = DynamicCache.crop

    def spy(cache: Any, tokens: int) -> None:
        seen.append(tokens)
        crop(cache, tokens)

    monkeypatch.setattr(DynamicCache, "crop", spy)


def test_accepted_candidates_of_a_prompt_lookup_equal_the_masked_model() -> None:
    """Feeds the greedy answer as if a look-up had found it, two right and one wrong token."""
    tiny = TinyLlava()
    model, twin = shared(tiny), eager_twin(tiny)

    with reduce(model, SCHEDULE) as reduction:
        greedy = continued(model.generate(**SAMPLE, max_new_tokens=8, do_sample=False), SAMPLE)[0]
        reduction.prompt([LAST[0] + 1])
        stepper = Stepper(model, appended(SAMPLE, [*greedy[:2], 7]))
        stepper.cache.crop(-1)
        stepper.mask = stepper.mask[:, :-1]
        first = stepper.feed(torch.tensor([greedy[2:4]]))[0]
        second = stepper.feed(torch.tensor([greedy[4:7]]))[0]

    masked, _ = masked_forward(twin, appended(SAMPLE, greedy[:7]), KEEP, LAST)
    assert (torch.cat([first, second]) - masked[-5:]).abs().max() < TOLERANCE


def test_sampling_repeats_with_its_seed_and_samples_from_the_masked_model() -> None:
    tiny = TinyLlava()
    model, twin = shared(tiny), eager_twin(tiny)
    settings = {
        "do_sample": True,
        "num_return_sequences": 3,
        "max_new_tokens": 5,
        "return_dict_in_generate": True,
        "output_logits": True,
        # Recomputation could not replay an image id without its image.
        "suppress_tokens": [IMAGE_TOKEN],
    }
    runs = []
    with reduce(model, SCHEDULE):
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            runs.append(model.generate(**SAMPLE, **settings))

    assert torch.equal(runs[0].sequences, runs[1].sequences)
    assert not torch.equal(runs[0].sequences, runs[2].sequences)
    logits = torch.stack(runs[0].logits, dim=1)
    for row, tokens in enumerate(continued(runs[0].sequences, SAMPLE)):
        masked, _ = masked_forward(twin, appended(SAMPLE, tokens[:-1]), KEEP, LAST)
        assert (logits[row] - masked[-5:]).abs().max() < TOLERANCE


@pytest.mark.parametrize("ranker", ["last", "text", "random", "uniform"])
def test_a_generated_image_id_is_not_taken_for_vision(ranker: str) -> None:
    twin_of_image_id = 77
    model = build(TinyLlava())
    embeddings = model.get_input_embeddings().weight.data
    embeddings[twin_of_image_id] = embeddings[IMAGE_TOKEN]

    found = {}
    with reduce(model, Schedule(KEEP, RankerSpec(ranker))):
        for token in (IMAGE_TOKEN, twin_of_image_id):
            stepper = Stepper(model, SAMPLE)
            steps = [stepper.feed(torch.tensor([[token]])) for _ in range(3)]
            turn = stepper.feed(torch.tensor([[8, token, token, 9]]))
            found[token] = torch.cat([*steps, turn], dim=1)
            lengths = [stepper.cache.get_seq_length(layer) for layer in range(len(KEEP))]
            assert lengths == [LAST[0] + 1 - 64 + n + 7 for n in (64, 64, 32, 32, 16, 7)]

    assert torch.equal(found[IMAGE_TOKEN], found[twin_of_image_id])


def test_beams_and_samples_of_one_prompt_share_its_random_key() -> None:
    model = shared()
    schedule = Schedule(KEEP, RankerSpec("random"))

    with reduce(model, schedule) as reduction:
        reduction.prompt(keys=["one", "two"])
        model.generate(**pad([SAMPLE, SAMPLE], "left"), num_beams=3, max_new_tokens=2)
        kept = reduction.kept[2]

    assert torch.equal(kept[:3], kept[:1].expand(3, -1))
    assert torch.equal(kept[3:], kept[3:4].expand(3, -1))
    assert not torch.equal(kept[0], kept[3])

"""What every ranker must do. A new ranker joins with its line in RANKERS."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from schedsearch import RankerSpec, Schedule, reduce
from schedsearch.core.schedule import kept_count
from schedsearch.models.prompt import Prompt, make_prompt
from schedsearch.reduction.rankers import RANKERS, make_ranker
from schedsearch.reduction.rankers.base import GivenRanker
from schedsearch.reduction.selection import keep_top
from tests.engine.tiny import IMAGE_TOKEN, KEEP, N_VISION, pad, question, shared

SAMPLES = [question(81, before=4, behind=6), question(82, before=9, behind=3, images=2)]
VISION = [N_VISION, 2 * N_VISION]
COUNTS = [0, 1, 5, 23, 63, 64]

each_ranker = pytest.mark.parametrize("name", RANKERS)
each_side = pytest.mark.parametrize("side", ["left", "right"])


@dataclass(frozen=True)
class Read:
    """What rankers may read of a batch, the same for a sample wherever it lies."""

    prompt: Prompt
    features: torch.Tensor
    tower: torch.Tensor
    attention: torch.Tensor

    @classmethod
    def of(cls, samples: list[dict[str, Any]], side: str = "left", even: bool = False) -> "Read":
        """Random features and attention of the samples; `even` ones tell no tokens apart."""
        batch = pad(samples, side)
        ids, mask = batch["input_ids"], batch["attention_mask"]
        rows = torch.zeros(*ids.shape, 18)
        for row, sample in enumerate(samples):
            width = sample["input_ids"].shape[1]
            generator = torch.Generator().manual_seed(width)
            own = torch.ones(width, 18) if even else torch.randn(width, 18, generator=generator)
            rows[row, mask[row].bool()] = own
        prompt = make_prompt(ids, ids == IMAGE_TOKEN, mask)
        return cls(prompt, rows[..., :16], rows[..., 16], rows[..., 17])

    def scores(
        self, name: str, counts: list[int], candidates: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What the ranker is asked before a drop, as the prefill asks it."""
        ranker = make_ranker(RankerSpec(name))
        tower = self.tower if ranker.reads_tower else None
        given = ranker.order(self.prompt, self.features, tower, max(counts))
        if given is None and ranker.reads_attention:
            given = self.attention
        alive = self.prompt.vision if candidates is None else candidates
        return ranker.scores(self.prompt, alive, torch.tensor(counts), given)

    def kept(self, name: str, counts: list[int]) -> list[list[int]]:
        """Which vision tokens of each sample stay, counted among its own."""
        scores = self.scores(name, counts)
        stays = keep_top(scores, self.prompt.vision, torch.tensor(counts))
        rows = zip(stays, self.prompt.vision, strict=True)
        return [row[vision].nonzero()[:, 0].tolist() for row, vision in rows]


def in_the_model(name: str, samples: list[dict[str, Any]], side: str = "left") -> list[list[Any]]:
    """Columns that enter each reduced layer of the tiny model, by sample and layer."""
    batch, model = pad(samples, side), shared()
    with reduce(model, Schedule(KEEP, RankerSpec(name))) as reduction:
        model(**batch)
        kept = list(reduction.kept.values())
    starts = batch["attention_mask"].argmax(1).tolist()
    return [
        [[column - start for column in layer[row].tolist() if column >= 0] for layer in kept]
        for row, start in enumerate(starts)
    ]


@each_ranker
@pytest.mark.parametrize("count", COUNTS)
def test_as_many_tokens_stay_as_the_ranker_is_told(name: str, count: int) -> None:
    one, two = Read.of(SAMPLES).kept(name, [count, 2 * count])
    assert (len(one), len(two)) == (count, 2 * count)


@each_ranker
def test_scores_of_candidates_are_finite_numbers(name: str) -> None:
    for read in (Read.of(SAMPLES), Read.of(SAMPLES, even=True)):
        some = read.prompt.vision & (torch.arange(read.prompt.shape[1]) % 3 > 0)
        for candidates in (read.prompt.vision, some):
            scores = read.scores(name, [9, 20], candidates)
            assert scores.shape == read.prompt.shape
            assert scores.dtype == torch.float32
            assert scores[candidates].isfinite().all()


@each_ranker
@pytest.mark.parametrize("count", COUNTS)
def test_of_equals_the_earlier_stays(name: str, count: int) -> None:
    counts = [count, 2 * count]
    read = Read.of(SAMPLES, even=True)
    scores = read.scores(name, counts)
    for row, stays in enumerate(read.kept(name, counts)):
        own = scores[row, read.prompt.vision[row]].tolist()
        expected = sorted(range(VISION[row]), key=lambda token: (-own[token], token))
        assert stays == sorted(expected[: counts[row]])
        if isinstance(make_ranker(RankerSpec(name)), GivenRanker):
            assert stays == list(range(counts[row]))


@each_ranker
@each_side
def test_batch_and_padding_do_not_matter(name: str, side: str) -> None:
    alone = [Read.of([one]).kept(name, [n // 5])[0] for one, n in zip(SAMPLES, VISION, strict=True)]
    assert Read.of(SAMPLES, side).kept(name, [n // 5 for n in VISION]) == alone
    assert Read.of(SAMPLES[::-1], side).kept(name, [n // 5 for n in VISION[::-1]]) == alone[::-1]


@each_ranker
def test_model_keeps_what_the_schedule_says_of_samples_alone_and_together(name: str) -> None:
    alone = [in_the_model(name, [sample])[0] for sample in SAMPLES]
    for row, sample in enumerate(SAMPLES):
        ids = sample["input_ids"][0]
        text = (ids != IMAGE_TOKEN).nonzero()[:, 0].tolist()
        above = list(range(len(ids)))
        for columns, ratio in zip(alone[row], KEEP[2:], strict=True):
            assert columns == sorted(set(columns))
            assert len(columns) == len(text) + kept_count(ratio, VISION[row])
            assert set(text) <= set(columns) <= set(above)
            above = columns
    for side in ("left", "right"):
        assert in_the_model(name, SAMPLES, side) == alone


PROGRAM = """
import json, sys
from tests.contract.test_rankers import by_every_ranker
json.dump(by_every_ranker(), sys.stdout)
"""


def by_every_ranker() -> dict[str, list[list[int]]]:
    """What each ranker keeps of the samples."""
    read = Read.of(SAMPLES)
    return {name: read.kept(name, [n // 5 for n in VISION]) for name in RANKERS}


def test_the_same_tokens_stay_at_every_call_and_in_every_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert json.loads(done.stdout) == by_every_ranker() == by_every_ranker()

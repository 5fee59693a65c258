"""The program that measures prefills: its true sizes, what ranking costs there, a small run."""

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from schedsearch.core.flops import DecoderShape, prefill_flops, ranking_flops
from schedsearch.models.adapters import adapter_for

BENCH = Path(__file__).parents[2] / "bench"
# What the model cards say, in billions.
PARAMETERS = {
    "llava-1.5-7b": 7.06,
    "llava-next-7b": 7.06,
    "internvl-8b": 8.08,
    "qwen2.5-vl-7b": 8.29,
}


@pytest.fixture(scope="module")
def program() -> Any:
    sys.path.insert(0, str(BENCH))
    try:
        return importlib.import_module("prefill")
    finally:
        sys.path.remove(str(BENCH))


@pytest.mark.parametrize("name", PARAMETERS)
def test_true_sizes_are_those_of_the_checkpoints(program: Any, name: str) -> None:
    case = program.TRUE_SIZE[name]
    model = program.build(case, "meta", torch.bfloat16)

    weights = list(model.parameters())
    assert round(sum(weight.numel() for weight in weights) / 1e9, 2) == PARAMETERS[name]
    assert {weight.dtype for weight in weights} == {torch.bfloat16}
    assert adapter_for(model).shape(model) == case.decoder


@pytest.mark.parametrize("name", PARAMETERS)
def test_ranking_costs_under_a_fiftieth_of_the_prefill(program: Any, name: str) -> None:
    """Even where every text token ranks, at every drop of the published curve."""
    case = program.TRUE_SIZE[name]
    text = case.prompt.n_text
    counts = case.published.counts(case.tokens)
    drops = [layer for layer in range(1, len(counts)) if counts[layer] < counts[layer - 1]]
    assert len(drops) > 8

    ranking = sum(
        ranking_flops(case.decoder, counts[layer - 1] + text, rows=text) for layer in drops
    )
    assert ranking < 0.02 * prefill_flops(case.decoder, counts, text)


@pytest.mark.parametrize("name", PARAMETERS)
def test_it_measures_every_schedule(
    program: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kv_heads = 2 if "llava" in name else 1
    narrow = DecoderShape(12, 32, 2, kv_heads, 16, 64, 1000)
    monkeypatch.setitem(program.SCALED, name, replace(program.SCALED[name], decoder=narrow))
    out = tmp_path / "results.json"

    program.main(
        ["--models", name, "--attention", "torch-flash", "--turns", "1"]
        + ["--new-tokens", "2", "--out", str(out)]
    )

    rows = json.loads(out.read_text())["rows"]
    assert [row["schedule"] for row in rows] == ["published", "50%", "25%"]
    for row in rows:
        for seconds in (row["full"], row["reduced"]):
            assert set(seconds) == {"prefill", "decoder", "first_token", "per_token"}
            assert all(len(runs) == 1 and min(runs) > 0 for runs in seconds.values())
            assert all(map(float.__lt__, seconds["decoder"], seconds["prefill"]))
        assert row["over_flops"]["decoder"] == row["speedup"]["decoder"] * row["flops_ratio"]
    assert [round(row["flops_ratio"], 2) for row in rows[1:3]] == [0.5, 0.25]

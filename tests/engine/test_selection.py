"""The tensor functions of selection against plain Python over lists."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.models.stage import Stage, gather_rows
from schedsearch.reduction.attention_tap import log_mean_attention
from schedsearch.reduction.selection import (
    causal_mask,
    gather_mask,
    keep_top,
    local_columns,
    stage_of,
)


@dataclass
class Marked:
    """Random rows of one width: candidates, scores with many ties, and counts."""

    candidates: list[list[bool]]
    scores: list[list[float]]
    counts: list[int]

    @property
    def stage(self) -> Stage:
        return stage_of(torch.tensor(self.candidates), tuple(map(sum, self.candidates)))

    @property
    def columns(self) -> list[list[int]]:
        return [[c for c, marked in enumerate(row) if marked] for row in self.candidates]


@st.composite
def marked_rows(draw: st.DrawFn) -> Marked:
    rows, width = draw(st.integers(1, 4)), draw(st.integers(1, 12))

    def lists(values: st.SearchStrategy) -> list[list]:
        return [draw(st.lists(values, min_size=width, max_size=width)) for _ in range(rows)]

    candidates = lists(st.booleans())
    candidates[0][draw(st.integers(0, width - 1))] = True  # some row keeps some token
    scores = lists(st.sampled_from([-1.0, 0.0, 0.25, 1e30]))
    return Marked(
        candidates, scores, draw(st.lists(st.integers(0, width), min_size=rows, max_size=rows))
    )


@given(marked_rows())
def test_keep_top_marks_the_best_candidates_and_breaks_ties_by_column(marked: Marked) -> None:
    found = keep_top(
        torch.tensor(marked.scores), torch.tensor(marked.candidates), torch.tensor(marked.counts)
    )

    for row, columns in enumerate(marked.columns):
        best = sorted(columns, key=lambda c: (-marked.scores[row][c], c))[: marked.counts[row]]
        assert found[row].nonzero()[:, 0].tolist() == sorted(best)


@given(marked_rows())
def test_stage_holds_marked_columns_in_order_padded_on_the_left(marked: Marked) -> None:
    size = max(map(len, marked.columns))

    stage = marked.stage

    expected = [[-1] * (size - len(row)) + row for row in marked.columns]
    assert stage.positions.tolist() == expected
    assert stage.ragged == any(-1 in row for row in expected)
    assert stage.alive.tolist() == [[c >= 0 for c in row] for row in expected]


@given(marked_rows())
def test_scatter_puts_values_back_where_they_came_from(marked: Marked) -> None:
    width = len(marked.candidates[0])
    values = torch.tensor(marked.scores)

    local = gather_rows(values[..., None], marked.stage.columns)[..., 0]
    found = marked.stage.scatter(local, width, 7.0)

    kept = torch.tensor(marked.candidates)
    assert torch.equal(found, values.where(kept, 7.0))
    assert torch.equal(marked.stage.scatter(marked.stage.alive, width, False), kept)


@given(marked_rows(), st.data())
def test_local_columns_find_wanted_columns_inside_a_stage(
    marked: Marked, data: st.DataObject
) -> None:
    size = max(map(len, marked.columns))
    wanted = [[data.draw(st.sampled_from(row or [0])) for _ in range(3)] for row in marked.columns]

    found = local_columns(marked.stage, torch.tensor(wanted), len(marked.candidates[0]))

    for row, columns in enumerate(marked.columns):
        for place, column in zip(found[row].tolist(), wanted[row], strict=True):
            if columns:
                assert place == size - len(columns) + columns.index(column)


@given(marked_rows())
def test_masks_of_a_stage_are_causal_and_hide_padding(marked: Marked) -> None:
    stage, width = marked.stage, len(marked.candidates[0])
    full = torch.ones(width, width, dtype=torch.bool).tril()[None, None]
    additive = torch.zeros(1, 1, width, width).masked_fill(~full, torch.finfo().min)

    masks = {
        "own": causal_mask(stage),
        "bool": gather_mask(full, stage),
        "additive": gather_mask(additive, stage) == 0,
    }

    for mask in masks.values():
        for row, columns in enumerate(stage.positions.tolist()):
            for query, above in zip(mask[row, 0].tolist(), columns, strict=True):
                if above >= 0:
                    assert query == [0 <= key <= above for key in columns]
                else:
                    assert any(query), "a row that sees nothing gives NaN"


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_log_mean_attention_is_softmax_over_visible_keys_then_mean_over_heads(
    kv_heads: int,
) -> None:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(2, 4, 3, 8, generator=generator, dtype=torch.float64)
    keys = torch.randn(2, kv_heads, 5, 8, generator=generator, dtype=torch.float64)
    visible = torch.rand(2, 3, 5, generator=generator) < 0.7
    visible[..., 0] = True

    logs = log_mean_attention(queries, keys, 0.3, visible)

    assert logs.dtype == torch.float32
    assert torch.equal(logs == float("-inf"), ~visible)
    found = logs.exp()
    for sample in range(2):
        for row in range(3):
            heads = []
            for head in range(4):
                key = keys[sample, head * kv_heads // 4]
                weights = (0.3 * (key @ queries[sample, head, row])).exp() * visible[sample, row]
                heads.append(weights / weights.sum())
            expected = torch.stack(heads).mean(0).float()
            assert (found[sample, row] - expected).abs().max() < 1e-6  # float32


def test_attention_that_would_underflow_keeps_its_order() -> None:
    """Three keys whose attention is 0 in float32 even before the mean over heads."""
    keys = torch.tensor([300.0, -1.0, 1.0, 0.0])[None, None, :, None]
    queries = torch.ones(1, 2, 1, 1)

    logs = log_mean_attention(queries, keys, 1.0, torch.ones(1, 1, 4, dtype=torch.bool))

    assert logs.exp()[0, 0].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert (logs[0, 0] - torch.tensor([0.0, -301.0, -299.0, -300.0])).abs().max() < 1e-4


def test_a_candidate_without_any_attention_comes_before_what_is_no_candidate() -> None:
    gone = float("-inf")
    scores = torch.tensor([[5.0, gone, gone, -2.0]])
    candidates = torch.tensor([[False, False, True, True]])

    assert keep_top(scores, candidates, torch.tensor([2])).tolist() == [[False, False, True, True]]
    assert keep_top(scores, candidates, torch.tensor([1])).tolist() == [[False, False, False, True]]

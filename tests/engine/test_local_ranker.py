"""The local ranker against plain Python: one of each neighbourhood first, then attention."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schedsearch import RankerSpec, ScheduleError
from schedsearch.models.prompt import make_prompt
from schedsearch.reduction.rankers import make_ranker
from schedsearch.reduction.rankers.local import LocalRanker
from schedsearch.reduction.selection import keep_top

IMAGE = 9


def expected(attention: list[float], alive: list[bool], window: int, count: int) -> list[int]:
    """Ordinals that stay: sorted by place within the window, attention, and position."""
    places = {}
    for start in range(0, len(attention), window):
        members = [i for i in range(start, min(start + window, len(attention))) if alive[i]]
        for place, i in enumerate(sorted(members, key=lambda i: (-attention[i], i))):
            places[i] = place
    order = sorted(places, key=lambda i: (places[i] - attention[i], i))
    return sorted(order[:count])


@given(st.data())
def test_selection_equals_plain_python_in_a_ragged_batch(data):
    window = data.draw(st.integers(1, 5))
    width = 14
    rows, cases = [], []
    for _ in range(2):
        n = data.draw(st.integers(1, 10))
        before = data.draw(st.integers(0, 3))
        rows.append([1] * before + [IMAGE] * n + [1] * (width - n - before))
        # Eighths are exact, so that ties are ties on both sides.
        attention = [x / 8 for x in data.draw(st.lists(st.integers(0, 7), min_size=n, max_size=n))]
        alive = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
        count = data.draw(st.integers(0, sum(alive)))
        cases.append((before, attention, alive, count))
    ids = torch.tensor(rows)
    prompt = make_prompt(ids, ids == IMAGE, None)
    candidates, scores = torch.zeros_like(prompt.vision), torch.zeros(2, width)
    for row, (before, attention, alive, _) in enumerate(cases):
        columns = slice(before, before + len(attention))
        candidates[row, columns] = torch.tensor(alive)
        scores[row, columns] = torch.tensor(attention)
    counts = torch.tensor([count for *_, count in cases])

    ranked = LocalRanker(window).scores(prompt, candidates, counts, scores)
    kept = keep_top(ranked, candidates, counts)

    for row, (before, attention, alive, count) in enumerate(cases):
        found = (kept[row].nonzero()[:, 0] - before).tolist()
        assert found == expected(attention, alive, window, count)


def test_half_of_the_tokens_cover_every_pair():
    ids = torch.tensor([[1] + [IMAGE] * 8 + [1]])
    prompt = make_prompt(ids, ids == IMAGE, None)
    attention = torch.tensor([[0, 0.9, 0.8, 0.7, 0.6, 0, 0.1, 0, 0.05, 0]])
    counts = torch.tensor([4])
    scores = LocalRanker().scores(prompt, prompt.vision, counts, attention)
    kept = keep_top(scores, prompt.vision, counts)[0, 1:9].view(4, 2)
    assert kept.sum(1).tolist() == [1, 1, 1, 1]


def test_rows_say_whose_attention_counts():
    ids = torch.tensor([[1, IMAGE, 1, 1, 1]])
    prompt = make_prompt(ids, ids == IMAGE, None)
    last = make_ranker(RankerSpec.from_mapping("local", {"rows": "last"}))
    text = make_ranker(RankerSpec("local"))
    assert last.query_rows(prompt).nonzero()[:, 1].tolist() == [4]
    assert text.query_rows(prompt).nonzero()[:, 1].tolist() == [2, 3, 4]


@pytest.mark.parametrize("params", [{"window": 0}, {"window": 1.5}, {"rows": "all"}])
def test_unusable_parameter_is_named(params):
    (name,) = params
    with pytest.raises(ScheduleError, match=f"`{name}` must be"):
        make_ranker(RankerSpec.from_mapping("local", params))

"""The memory in which prefixes are kept: what a value costs, and where it goes."""

import pytest
import torch

from schedsearch.errors import InputError
from schedsearch.evaluation.prefix.memory import (
    Opaque,
    Tier,
    available_host_bytes,
    make_tiers,
    move,
)
from tests.engine.prefixes import Shelf, evaluator


def test_a_view_is_kept_without_what_it_was_cut_from() -> None:
    tier = Tier(1000)
    whole = torch.arange(200.0)
    cut = tier.hold({"part": (whole[:50], 3, None)})
    spread = tier.hold([torch.ones(1).expand(100)])

    assert cut is not None and spread is not None
    assert (cut.bytes, spread.bytes, tier.used) == (200, 4, 204)
    kept = cut.on(torch.device("cpu"))["part"]
    assert kept[0].untyped_storage().nbytes() == 200 and kept[1:] == (3, None)
    assert torch.equal(kept[0], whole[:50])
    assert tier.hold(whole) is None
    cut.release()
    assert tier.hold(whole) is not None


def test_pinned_memory_counts_as_torch_allocates_it() -> None:
    tier = Shelf(4096, pinned=True)

    kept = tier.hold(torch.zeros(257))

    assert kept is not None and kept.bytes == 2048


def test_values_that_hide_something_are_refused() -> None:
    with pytest.raises(Opaque, match="object cannot be kept"):
        move({"one": [object()]}, torch.clone)


def test_bounds_are_chosen_from_the_memory() -> None:
    (tier,) = make_tiers(torch.device("cpu"), None)
    assert 0 < tier.bound <= min(16 << 30, available_host_bytes())
    assert [one.bound for one in make_tiers(torch.device("cpu"), 7)] == [7]
    with pytest.raises(InputError, match="`max_prefix_bytes` must not be negative, but got -1"):
        evaluator(max_prefix_bytes=-1)

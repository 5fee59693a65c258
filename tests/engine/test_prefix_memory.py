"""What prefix reuse keeps, for how long, and that it gives way and leaves no trace."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch

from schedsearch.errors import RunError
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import make_metric
from schedsearch.evaluation.prefix import prefixes as prefix
from schedsearch.evaluation.prefix.memory import Tier, move
from tests.engine.embedded import IDS, QUESTIONS, Listed
from tests.engine.prefixes import SEARCH, SOME, Shelf, Step, evaluator, model_of, task
from tests.engine.test_restoration import state
from tests.engine.tiny import LAYERS, N_VISION
from tests.pace import some

KEEP_ALL = (N_VISION,) * LAYERS
DROP_2 = (64, 64, 20, 20, 20, 20)


def asked(step: Step) -> Any:
    return task(step.counts, step.shared)


@pytest.fixture(scope="module")
def expected() -> list[Any]:
    """Scores of the search without reuse."""
    made = evaluator(max_prefix_bytes=0)
    return [made.evaluate(asked(step)) for step in SEARCH]


def search(made: Evaluator, steps: int = len(SEARCH)) -> list[Any]:
    return [made.evaluate(asked(step)) for step in SEARCH[:steps]]


def layers_run(made: Evaluator, question: Any) -> int:
    before = made.work.layer_forwards
    made.evaluate(question)
    return made.work.layer_forwards - before


def held(made: Evaluator) -> Iterator[Any]:
    for batch in made._prefixes._batches.values():
        yield batch.base
        yield from (kept.held for kept in batch.deeper.values())


def stored_bytes(made: Evaluator) -> int:
    """Of all storages that are kept alive."""
    storages: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    for one in held(made):
        move(one.value, note)
    return sum(storages.values())


def base_bytes() -> int:
    made = evaluator()
    made.evaluate(task(KEEP_ALL))
    return made.prefix_bytes


@pytest.mark.parametrize("share", some([0.0, 0.01, 0.4, 0.9, 1.0, 1.5, 5.0], [0.0, 0.4, 1.0, 5.0]))
def test_a_bound_is_kept_at_every_step_and_scores_stay(expected: list[Any], share: float) -> None:
    bound = int(share * base_bytes())
    made = evaluator(max_prefix_bytes=bound)

    for step, scores in zip(SEARCH, expected, strict=True):
        assert made.evaluate(asked(step)) == scores
        assert stored_bytes(made) <= made.prefix_bytes <= made.peak_prefix_bytes <= bound

    assert (made.prefix_bytes > 0) == (share > 0.3)
    least = len(SOME) * sum(LAYERS - step.first for step in SEARCH)
    full = len(SOME) * LAYERS * len(SEARCH)
    assert least <= made.work.layer_forwards <= full
    assert (made.work.layer_forwards == least) == (share == 5.0)
    assert made.work.layer_forwards < full or share <= 1.0


def test_what_came_first_stays_when_memory_is_full() -> None:
    made = evaluator(max_prefix_bytes=base_bytes() // 2)
    made.evaluate(task(KEEP_ALL))
    before = list(made._prefixes._batches)
    assert 0 < len(before) < len(SOME)

    for _ in range(3):
        made.evaluate(task(KEEP_ALL))

    assert sorted(made._prefixes._batches) == sorted(before)


def test_a_shallow_snapshot_makes_room_for_a_deeper_one_of_its_batch() -> None:
    made, one = evaluator(batch_size=1), SOME[:1]
    for shared in (2, 4):
        made.evaluate(task(DROP_2, shared, ids=one))
    tight = evaluator(batch_size=1, max_prefix_bytes=made.prefix_bytes)
    for shared in (2, 4):
        tight.evaluate(task(DROP_2, shared, ids=one))

    assert layers_run(tight, task(DROP_2, 5, ids=one)) == LAYERS - 4
    assert layers_run(tight, task(DROP_2, 0, ids=one)) == LAYERS - 5
    assert layers_run(tight, task((64, 64, 20, 20, 18, 18), 0, ids=one)) == LAYERS - 4
    assert layers_run(tight, task((64, 64, 18, 18, 18, 18), 0, ids=one)) == LAYERS


def test_many_references_do_not_make_a_batch_look_forgotten() -> None:
    sample = next(iter(QUESTIONS))
    words = ("red", "blue", "green", "purple", "yellow", "circle", "square", "yes", "no", "d4")
    of = evaluator()
    samples = Listed(replace(sample, answers=words))
    made = Evaluator(of.model, of.processor, samples, make_metric("exact_match"), batch_size=1)
    one = task(KEEP_ALL, ids=(sample.id,))
    made.evaluate(one)
    made._prefixes.relieve()
    made._prefixes._tiers[0].bound = made.peak_prefix_bytes // 2
    made.evaluate(one)
    before = list(made._prefixes._batches)
    assert len(before) == 5

    made.evaluate(one)

    assert list(made._prefixes._batches) == before


def test_batches_that_are_never_formed_again_make_room() -> None:
    samples = Listed(*list(QUESTIONS)[:8])
    of = evaluator()
    made = Evaluator(of.model, of.processor, samples, make_metric("log_likelihood"), batch_size=8)
    old, new = task(KEEP_ALL, ids=IDS[:4]), task(KEEP_ALL, ids=IDS[4:8])
    made.evaluate(old)
    made._prefixes._tiers[0].bound = made.prefix_bytes
    before = set(made._prefixes._batches)

    for _ in range(16):  # eight scans of eight samples
        made.evaluate(new)
        assert set(made._prefixes._batches) == before
    for _ in range(2):
        made.evaluate(new)

    assert made.prefix_bytes > 0
    assert not before & set(made._prefixes._batches)


@pytest.mark.parametrize("near", some([0.0, 0.7, 1.3], [0.7]))
def test_what_does_not_fit_on_the_device_goes_to_the_host(
    monkeypatch: pytest.MonkeyPatch, expected: list[Any], near: float
) -> None:
    tiers = [Tier(int(near * base_bytes())), Shelf(1 << 30, pinned=True)]
    monkeypatch.setattr(prefix, "make_tiers", lambda *_: tiers)
    made = evaluator()

    assert search(made) == expected
    assert made.work.layer_forwards == len(SOME) * sum(LAYERS - step.first for step in SEARCH)
    assert all(tier.used > 0 for tier in tiers[near == 0.0 :])
    assert [tier.used for tier in tiers] == [
        sum(one.bytes for one in held(made) if one.tier is tier) for tier in tiers
    ]


HOST, DEVICE = MemoryError(), torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    ("every", "error"),
    some(product([1, 2, 3], [HOST, DEVICE]), [(1, DEVICE), (2, HOST), (3, DEVICE)]),
    ids=lambda one: {HOST: "host", DEVICE: "device"}.get(one),
)
def test_running_out_of_memory_while_keeping_loses_no_score(
    monkeypatch: pytest.MonkeyPatch, expected: list[Any], every: int, error: Exception
) -> None:
    calls, hold = 0, Tier.hold

    def fails(tier: Tier, value: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % every == 0:
            raise error
        return hold(tier, value)

    monkeypatch.setattr(Tier, "hold", fails)
    made = evaluator()

    assert search(made) == expected
    assert calls > len(SEARCH)
    assert (made.prefix_bytes == 0) == (every == 1)


def test_other_errors_while_keeping_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_tier: Tier, _value: Any) -> Any:
        raise RuntimeError("illegal memory access")

    monkeypatch.setattr(Tier, "hold", fails)
    with pytest.raises(RunError, match="illegal memory access"):
        evaluator().evaluate(task(KEEP_ALL))


def limit_rows(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Let the model run out of memory on larger batches."""
    model = model_of()
    forward = model.forward

    def limited(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        if len(kwargs["input_ids"]) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return output

    monkeypatch.setattr(model, "forward", limited)


def test_halved_batches_start_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    made, plain = evaluator(batch_size=8), evaluator(batch_size=8, max_prefix_bytes=0)
    for number, step in enumerate(SEARCH[:9]):
        if number == 4:
            limit_rows(monkeypatch, 1)
        assert made.evaluate(asked(step)) == plain.evaluate(asked(step))

    assert layers_run(made, asked(SEARCH[9])) == len(SOME) * (LAYERS - 4)


def test_what_is_kept_gives_way_before_a_batch_is_halved(
    monkeypatch: pytest.MonkeyPatch, expected: list[Any]
) -> None:
    made = evaluator()
    model, most = made.model, base_bytes()
    forward, failures, bound = model.forward, 0, made._prefixes.bound

    def limited(*args: Any, **kwargs: Any) -> Any:
        nonlocal failures
        if made.prefix_bytes > most:
            failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(*args, **kwargs)

    with monkeypatch.context() as scarce:
        scarce.setattr(model, "forward", limited)
        assert search(made, 5) == expected[:5]

    assert failures > 0
    assert made._prefixes.bound == bound >> failures
    assert made._size.fitting(80) == 2


class Breakdown(Exception):
    """Raised inside the model."""


ERRORS = (None, Breakdown(), KeyboardInterrupt())


@pytest.mark.parametrize(
    ("error", "first"),
    some(product(ERRORS, [0, 3]), [*zip(ERRORS, (3, 0, 3), strict=True)]),
    ids=repr,
)
def test_the_model_is_as_before_whatever_happens(
    error: BaseException | None, first: int, expected: list[Any]
) -> None:
    made = evaluator()
    made.evaluate(task(KEEP_ALL, first))
    before = state(made.model)

    def fail(*_: Any) -> None:
        if error is not None:
            raise error

    for _ in range(2):
        handle = made.model.model.language_model.layers[4].register_forward_hook(fail)
        try:
            made.evaluate(task(KEEP_ALL, first))
        except (Breakdown, KeyboardInterrupt):
            assert error is not None
        finally:
            handle.remove()
        assert state(made.model) == before

    assert search(made) == expected


def test_a_model_that_writes_into_its_states_does_not_spoil_what_is_kept() -> None:
    def write(_module: Any, _args: Any, output: torch.Tensor) -> None:
        output.mul_(1.5)  # as vision features are added after the first layers of some models

    made, plain = evaluator(), evaluator(max_prefix_bytes=0)
    handle = made.model.model.language_model.layers[0].register_forward_hook(write)
    try:
        assert search(made) == [plain.evaluate(asked(step)) for step in SEARCH]
    finally:
        handle.remove()

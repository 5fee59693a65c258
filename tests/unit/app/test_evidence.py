"""What drops prove: samples that share an image count once, and every task must hold."""

import math
from collections.abc import Sequence

import pytest

from schedsearch import DataError, RunError
from schedsearch.app.evidence import BETTING, CLUSTERED, EXACT, Evidence
from schedsearch.core import intervals
from schedsearch.core.bounds import Flips, Losses
from schedsearch.core.certificate import Demands
from schedsearch.core.flops import DecoderShape, SampleTokens
from schedsearch.core.power import needed
from schedsearch.core.sample import Sample
from schedsearch.core.subject import Subject
from tests.engine.embedded import Listed


def evidence(
    images: Sequence[str],
    demands: Demands,
    *,
    kinds: Sequence[str] = (),
    per_image: int = 1,
    binary: bool = True,
    least: float = 0.0,
) -> Evidence:
    ids = tuple(f"q{row}" for row in range(len(images)))
    subject = Subject(
        name="samples",
        digest="d",
        split="certify",
        ids=ids,
        keys=ids,
        tokens=(SampleTokens(4, 2),) * len(ids),
        shape=DecoderShape(2, 8, 2, 2, 4, 16, 32),
        target=None,
        context={},
        images=tuple((image,) for image in images),
        greatest=1.0,
        least=least,
        binary=binary,
    )
    of = kinds or [""] * len(ids)
    samples = Listed(*(Sample(n, "?", ("a",), (), kind) for n, kind in zip(ids, of, strict=True)))
    return Evidence.of(subject, samples, demands, per_image, 0)


def apart(n: int) -> list[str]:
    return [f"image {row}" for row in range(n)]


DROPS = [1.0] * 3 + [-1.0] * 2 + [0.0] * 195


def test_binary_scores_of_different_images_have_the_exact_bound():
    found = evidence(apart(200), Demands(0.05))
    assert found.method == EXACT
    assert found.p_values(DROPS) == [Flips(200, 3, 2).p_value(0.05)]
    assert found.bound(DROPS, 0.05) == Flips(200, 3, 2).upper_bound(0.05)
    assert found.needed(DROPS, 0.05) == needed(Flips(200, 3, 2), 0.05, 0.05)


def test_interval_of_scores_counts_images_not_samples():
    scores = [float(row % 3 > 0) for row in range(60)]
    alone = evidence(apart(60), Demands(0.05)).score(scores)
    assert alone == intervals.of_scores(scores)
    four = [score for score in scores for _ in range(4)]
    shared = evidence([one for one in apart(60) for _ in range(4)], Demands(0.05), per_image=4)
    assert shared.score(four).high == pytest.approx(shared.interval(four).high)
    assert shared.score(four).high - shared.score(four).low > alone.high - alone.low
    all_right = shared.score([1.0] * 240)
    assert (all_right.low, all_right.n) == (intervals.of_scores([1.0] * 60).low, 240)


def test_other_bounded_scores_are_bet_on():
    halves = [drop / 2 for drop in DROPS]
    found = evidence(apart(200), Demands(0.1), binary=False, least=-1.0)
    assert (found.method, found.span) == (BETTING, 2.0)
    assert found.p_values(halves)[0] < 1
    # In another order, and in halves of a span of 2, which are quarters.
    quarters = sorted(drop / 4 for drop in DROPS)
    assert found.bound(halves, 0.05) == pytest.approx(
        2 * Losses.of(quarters).upper_bound(0.05), abs=0.05
    )


def test_samples_that_share_an_image_are_one_unit():
    images = [f"image {row // 2}" for row in range(200)]
    found = evidence(images, Demands(0.1), per_image=2)
    assert found.method == CLUSTERED
    together, alone = [1.0, 1.0] + [0.0] * 198, [1.0, 0.0, 1.0] + [0.0] * 197
    assert found.p_values(together)[0] > found.p_values(alone)[0]
    wide, narrow = found.interval(together), found.interval(alone)
    assert wide.value == narrow.value == 0.01
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


def test_interval_of_single_samples_is_the_usual_one():
    interval = evidence(apart(200), Demands(0.05)).interval(DROPS)
    variance = math.fsum((drop - 0.005) ** 2 for drop in DROPS) / 199
    assert interval.value == 0.005
    assert interval.high == pytest.approx(0.005 + 1.959964 * math.sqrt(variance / 200))


def test_images_with_more_samples_than_allowed_are_refused():
    images = ["a", "b", "b", "c", "b"]
    for per_image in (1, 2):
        with pytest.raises(DataError, match=r"share an image \(most: 3 samples\).*at least 3"):
            evidence(images, Demands(0.1), per_image=per_image)


def test_order_of_the_units_is_by_chance_and_the_same_every_time():
    one, other = (evidence(apart(50), Demands(0.1)).units for _ in range(2))
    assert one == other
    assert list(one) != sorted(one)


def test_every_task_has_its_own_bound():
    kinds = ["count"] * 40 + ["color"] * 160
    found = evidence(apart(200), Demands(0.05, {"count": 0.2}), kinds=kinds)
    whole, count = found.p_values(DROPS)
    assert whole == Flips(200, 3, 2).p_value(0.05)
    assert count == Flips(40, 3, 2).p_value(0.2)
    only = evidence(apart(200), Demands(None, {"count": 0.2, "color": 0.1}), kinds=kinds)
    assert only.p_values(DROPS) == [count, Flips(160, 0, 0).p_value(0.1)]
    # Of five samples one counts.
    assert only.needed(DROPS, 0.05) == 5 * needed(Flips(40, 3, 2), 0.2, 0.05)


def test_tasks_without_samples_and_samples_without_a_task_are_refused():
    kinds = ["count"] * 20 + ["color"] * 20
    with pytest.raises(DataError, match="no certify sample has the `kind` 'size'.*color, count"):
        evidence(apart(40), Demands(None, {"size": 0.1}), kinds=kinds)
    with pytest.raises(DataError, match="of the `kind` 'color' have no tolerance"):
        evidence(apart(40), Demands(None, {"count": 0.1}), kinds=kinds)


def test_scores_beyond_the_metric_s_promise_are_refused():
    with pytest.raises(RunError, match="not what the metric promises.*correct the metric"):
        evidence(apart(3), Demands(0.1)).p_values([0.5, 0.0, 0.0])
    with pytest.raises(RunError, match="not what the metric promises"):
        evidence(apart(3), Demands(0.1), binary=False).p_values([3.0, 0.0, 0.0])

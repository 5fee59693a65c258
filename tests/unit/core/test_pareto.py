import random

import pytest
import torch
from botorch.utils.multi_objective.hypervolume import Hypervolume
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.pareto import (
    costs,
    hypervolume,
    pareto,
    reference,
    undominated,
    within_budget,
    within_drop,
)
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Measurement, Trial, TrialState
from schedsearch.errors import InputError

SCHEDULE = Schedule.full(2)
eighths = st.integers(0, 8).map(lambda n: n / 8)
pairs = st.lists(st.tuples(eighths, eighths.map(lambda drop: drop - 0.25)), max_size=12)


def trial(number, flops, drop):
    measured = Measurement(1.0, 0.1, 9, flops, flops, drop, 0.1)
    return Trial(number, {}, SCHEDULE, TrialState.COMPLETE, measured)


def trials(found):
    return [trial(number, *pair) for number, pair in enumerate(found)]


UNMEASURED = [
    Trial(90, {}, SCHEDULE, TrialState.FAIL, reason="no memory"),
    Trial(91, {}, SCHEDULE, TrialState.PRUNED, reason="rejected"),
    Trial(92, {}, SCHEDULE, TrialState.RUNNING),
    trial(93, 0.0, None),
    Trial(94, {}, SCHEDULE, TrialState.SCREENED, reason="not rejected by 3", samples=3),
]


def beats(one, other):
    return one != other and one[0] <= other[0] and one[1] <= other[1]


@given(pairs, st.randoms())
def test_front_is_what_no_trial_beats(found, rng):
    every = trials(found)
    front = pareto(rng.sample([*every, *UNMEASURED], len(every) + len(UNMEASURED)))
    kept = [costs(one) for one in front]
    assert set(kept) == {one for one in found if not any(beats(other, one) for other in found)}
    assert kept == sorted(set(kept))
    assert [drop for _, drop in kept] == sorted((drop for _, drop in kept), reverse=True)
    for one in front:
        assert one.number == found.index(costs(one))


def test_undominated_names_the_places():
    assert undominated([(0.5, 0.1), (0.2, 0.3), (0.5, 0.1), (0.6, 0.1), (0.2, 0.2)]) == [4, 0]
    assert undominated([]) == []


@given(pairs.filter(bool), eighths)
def test_picks_are_the_best_of_what_is_allowed(found, most):
    every = trials(found)
    cheap = [pair for pair in found if pair[0] <= most]
    if cheap:
        assert costs(within_budget(every, most)) == min(cheap, key=lambda pair: pair[::-1])
    else:
        with pytest.raises(InputError, match=f"`budget` .* least {min(found)[0]},"):
            within_budget(every, most)
    good = [pair for pair in found if pair[1] <= most / 2]
    if good:
        assert costs(within_drop(every, most / 2)) == min(good)
    else:
        least = min(drop for _, drop in found)
        with pytest.raises(InputError, match=f"`max_drop` .* least {least},"):
            within_drop(every, most / 2)


def test_nothing_measured_is_said():
    for pick in (within_budget, within_drop):
        with pytest.raises(InputError, match="search first"):
            pick(UNMEASURED, 0.5)


@given(pairs, eighths, eighths)
def test_hypervolume_agrees_with_botorch_after_every_trial(found, flops, drop):
    every = trials(found)
    curve = hypervolume([*UNMEASURED, *every[::-1]], (flops, drop))
    theirs = Hypervolume(torch.tensor([-flops, -drop]))
    for n in range(1, len(found) + 1):
        seen = [found[i] for i in undominated(found[:n])]
        expected = theirs.compute(-torch.tensor(seen))
        assert curve[n - 1] == pytest.approx(expected, abs=1e-6)  # theirs is in single precision
    assert curve[len(found) :] == [curve[len(found) - 1] if found else 0.0] * len(UNMEASURED)


def test_hypervolume_is_the_share_of_random_points_that_are_beaten():
    rng = random.Random(0)
    found = [(rng.random(), rng.random()) for _ in range(7)]
    area = hypervolume(trials(found), (0.9, 0.8))[-1]
    points = [(rng.random(), rng.random()) for _ in range(20000)]
    inside = [point for point in points if point[0] < 0.9 and point[1] < 0.8]
    beaten = sum(any(beats(one, point) for one in found) for point in inside)
    assert beaten / 20000 == pytest.approx(area, abs=0.015)  # four standard errors


def test_reference_follows_from_drops_at_random():
    assert reference([]) == (1.0, 1.0)
    assert reference([0.0, 0.0, -0.5]) == (1.0, 1.0)
    assert reference([0.1, 0.5, 0.2]) == (1.0, 0.25)

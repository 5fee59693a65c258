"""Steps, weights and learning rates follow from the recipe alone."""

import pytest

from schedsearch.demo.questions import kinds
from schedsearch.demo.recipe import LearningRate, Recipe
from schedsearch.errors import InputError


@pytest.mark.parametrize("steps", [20, 99, 12_345])
def test_stages_share_all_steps_and_each_has_one(steps):
    parts = Recipe(steps=steps).stage_steps()

    assert sum(parts.values()) == steps
    assert list(parts) == ["tower", "align", "captions", "questions"]
    assert min(parts.values()) >= 1


def test_too_few_steps_are_refused():
    with pytest.raises(InputError, match="`steps` must be at least 20.*but got 3"):
        Recipe(steps=3)


def test_rate_warms_up_holds_and_decays_to_its_floor():
    rate = LearningRate(1.0, 1.0, warmup=10, hold=0.5, floor=0.02)

    course = [rate.factor(step, 1000) for step in range(1000)]

    assert course[0] == pytest.approx(0.1)
    assert course[10:501] == [1.0] * 491
    assert all(later <= earlier for earlier, later in zip(course[500:], course[501:], strict=False))
    assert course[-1] == 0.02


def test_look_ups_come_first_and_comparing_gains_weight_later():
    recipe = Recipe()
    exist, where = kinds().index("exist"), kinds().index("where")

    early, late = recipe.weights(0.0), recipe.weights(0.99)

    assert early[where] > early[exist]
    assert late[exist] > late[where]
    assert len(early) == len(late) == len(kinds())

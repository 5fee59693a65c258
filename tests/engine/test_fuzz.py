"""Random calls of reduced models are right or refused; `python -m tests.engine.fuzz` runs more."""

import pytest

from tests.engine.fuzz.routes import ROUTES
from tests.engine.fuzz.run import RIGHT, run_case

CASES = range(60)

# Released versions differ in what they warn of; what a reduced model says is the matter here.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("part", range(4))
def test_random_calls_equal_the_masked_model_or_are_refused(part: int) -> None:
    outcomes = [run_case(seed) for seed in CASES[part::4]]

    right = [outcome for outcome in outcomes if outcome.end == RIGHT]
    assert sum(outcome.effect > 0.01 for outcome in right) >= len(right) / 3, "nothing could fail"


def test_the_cases_take_every_route() -> None:
    from tests.engine.fuzz.cases import draw

    assert {draw(seed, ROUTES).route for seed in CASES} == ROUTES.keys()

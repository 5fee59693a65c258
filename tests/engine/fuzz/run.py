"""One case from its seed to its end."""

from dataclasses import dataclass

import torch

from schedsearch import SchedsearchError, reduce
from tests.engine.fuzz.cases import Case, draw, may_be_refused, subject
from tests.engine.fuzz.check import Wrong, check, effect
from tests.engine.fuzz.routes import ROUTES, Work

RIGHT, REFUSED = "right", "refused"


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        case: What was drawn.
        end: `right` or `refused`.
        reason: Of a refusal.
        effect: How much the dropped tokens changed a logit behind the first prompt.
    """

    case: Case
    end: str
    reason: str = ""
    effect: float = 0.0


def run_case(seed: int, family: str | None = None) -> Outcome:
    """Run the case of a seed, on any of the small models or on one family's.

    Raises:
        Wrong: The model said something else than the masked one, or failed without a refusal.
    """
    case = draw(seed, ROUTES, family)
    made = subject(case.family, case.attention)
    try:
        with torch.no_grad():
            with reduce(made.model, case.schedule) as reduction:
                answers = ROUTES[case.route].run(Work(case, made, reduction, case.generator))
                for answer in answers:
                    check(made, case.schedule, answer, reduction)
                changed = [effect(made, case.schedule, one, reduction) for one in answers[:1]]
    except SchedsearchError as error:
        if not may_be_refused(case):
            raise Wrong(f"{case}: refused: {error}") from error
        return Outcome(case, REFUSED, str(error))
    except Exception as error:
        raise Wrong(f"{case}: {type(error).__name__}: {error}") from error
    return Outcome(case, RIGHT, effect=max(changed, default=0.0))

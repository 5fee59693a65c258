"""What needs no search: the schedules that a found one has to beat at its own cost."""

from collections.abc import Mapping
from typing import NamedTuple

from schedsearch.app.study_view import StudyView
from schedsearch.core.budget import Budget
from schedsearch.core.families.base import Family
from schedsearch.core.families.linear import Linear
from schedsearch.core.families.step import Step
from schedsearch.core.families.uniform import Uniform
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.errors import InputError


class Baseline(NamedTuple):
    """A family, at the free parameters that need no search.

    Attributes:
        name: What reports call it.
        what: What it is, in words.
        family: Solved for the cost of what it is compared with.
        params: Its free parameters.
        ranker: Orders the tokens.
    """

    name: str
    what: str
    family: Family
    params: Mapping[str, float]
    ranker: RankerSpec


def baselines(first: int, ranker: RankerSpec) -> tuple[Baseline, ...]:
    """The baselines of a search that may cut from layer `first` on with this ranker.

    With the ranker of the search, one share from layer 2 on would be FastV's step once more; so
    `uniform` stands for what needs neither a search nor attention.
    """
    return (
        Baseline(
            "uniform",
            "one share for all layers from 1 on, tokens at an even stride over the image",
            Uniform(first=1),
            {},
            RankerSpec("uniform"),
        ),
        Baseline(
            "linear",
            f"a straight line from layer {first} to the last that falls by 1, cut off at 0 and 1, "
            f"same ranker",
            Linear(first=first),
            {"fall": 1.0},
            ranker,
        ),
        Baseline(
            "FastV-style step",
            "all tokens in layers 0 and 1, one share from layer 2 on, ranked once by the last "
            "prompt row (arXiv 2403.06764)",
            Step(first=2),
            {"layer": 2},
            RankerSpec("last"),
        ),
    )


def at_equal_cost(view: StudyView, flops_ratio: float) -> list[tuple[Baseline, Schedule]]:
    """The baselines that can cost this FLOPs ratio on the calibration set, with their schedules.

    None where an earlier version has not kept the sizes of the model.
    """
    found = []
    try:
        shape, tokens = view.spec.facts.decoder, view.spec.facts.samples()
        for one in baselines(view.sampler.first, view.ranker):
            budget = Budget("flops", flops_ratio)
            schedule = one.family.schedule(one.params, budget, shape, tokens, one.ranker)
            found.append((one, schedule))
    except InputError:
        pass
    return found

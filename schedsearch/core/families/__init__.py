"""Families by name: few parameters and a budget in, a schedule out."""

from collections.abc import Mapping

from schedsearch.core.families.base import Family
from schedsearch.core.families.layerwise import Layerwise
from schedsearch.core.families.linear import Linear
from schedsearch.core.families.sigmoid import Logistic, Sigmoid
from schedsearch.core.families.staircase import Staircase
from schedsearch.core.families.step import Step
from schedsearch.core.families.uniform import Uniform
from schedsearch.core.families.withdraw import Withdraw
from schedsearch.core.plugin import PlugIn
from schedsearch.core.shown import shown
from schedsearch.errors import InputError

FAMILIES: Mapping[str, type[Family]] = {
    family.name: family
    for family in (Sigmoid, Logistic, Layerwise, Uniform, Linear, Step, Staircase, Withdraw)
}

__all__ = ["FAMILIES", "Family", "make_family"]


def make_family(spec: PlugIn) -> Family:
    """Return the family that a study names.

    Raises:
        InputError: Unknown name or parameter.
    """
    if spec.name not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise InputError(
            f"`family.name` must be one of {known}, but got {shown(spec.name)}; name one"
        )
    try:
        return FAMILIES[spec.name](**dict(spec.params))  # type: ignore[arg-type]
    except TypeError as error:
        raise InputError(
            f"`family.params` of {shown(spec.name)} do not fit: {error}; the only one is `first`"
        ) from None

"""Families by name: few parameters and a budget in, a schedule out."""

from schedsearch.core.families.base import Family
from schedsearch.core.plugin import PlugIn
from schedsearch.core.registry import Registry
from schedsearch.core.shown import shown
from schedsearch.errors import InputError

FAMILIES: Registry[type[Family]] = Registry(
    "family",
    {
        "sigmoid": "schedsearch.core.families.sigmoid:Sigmoid",
        "logistic": "schedsearch.core.families.sigmoid:Logistic",
        "linear": "schedsearch.core.families.linear:Linear",
        "step": "schedsearch.core.families.step:Step",
        "staircase": "schedsearch.core.families.staircase:Staircase",
        "withdraw": "schedsearch.core.families.withdraw:Withdraw",
        "uniform": "schedsearch.core.families.uniform:Uniform",
        "layerwise": "schedsearch.core.families.layerwise:Layerwise",
    },
)
register_family = FAMILIES.register

__all__ = ["FAMILIES", "Family", "make_family", "register_family"]


def make_family(spec: PlugIn) -> Family:
    """Return the family that a study names.

    Raises:
        InputError: Unknown name or parameter.
    """
    family = FAMILIES[FAMILIES.check(spec.name, "`family`")]
    try:
        return family(**dict(spec.params))  # type: ignore[arg-type]
    except TypeError as error:
        raise InputError(
            f"the parameters of family {shown(spec.name)} do not fit: {error}"
        ) from None

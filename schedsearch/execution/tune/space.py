"""A family's parameters for searchers of Ray Tune, such as `OptunaSearch`."""

from typing import Any

from ray import tune

from schedsearch.core.space import Parameter, Space


def tune_space(space: Space) -> dict[str, Any]:
    """Return the space in Tune's words: what `param_space` of a `Tuner` is, or a part of it.

    A point that Tune suggests is one of the space: `family.schedule(point, budget, shape, tokens)`
    is its schedule.

    Args:
        space: Such as `make_family(PlugIn("sigmoid")).space(layers)`.
    """
    return {parameter.name: _domain(parameter) for parameter in space.parameters}


def _domain(parameter: Parameter) -> Any:
    if parameter.integer:
        make = tune.lograndint if parameter.log else tune.randint
        return make(int(parameter.low), int(parameter.high) + 1)  # Tune leaves the upper end out
    make = tune.loguniform if parameter.log else tune.uniform
    return make(parameter.low, parameter.high)

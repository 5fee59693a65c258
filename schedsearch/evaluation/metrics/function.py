"""A metric from a user's function."""

from collections.abc import Callable, Sequence

from schedsearch.core.shown import shown
from schedsearch.errors import InputError
from schedsearch.evaluation.metrics.base import GeneratedMetric, checked_length

Scorer = Callable[[str, Sequence[str]], float]
"""Takes the model's answer and the sample's references; larger is better."""


class FunctionMetric(GeneratedMetric):
    """Scores greedy answers by calling a function.

    Args:
        function: Takes the model's answer and the sample's reference answers, and returns a
            number; larger is better.
        max_new_tokens: Longest answer, in tokens.
        greatest: The function returns nothing above this; without a bound no evaluation is
            stopped early.
        least: The function returns nothing below this; with both bounds a loss can be proven.
        binary: It returns 0 and 1 alone; then fewer samples prove it. Gives both bounds.
        name: What studies and reports call it; default: the function's own name.
        version: A promise that this name and version always mean these scores; change it with
            whatever changes a score. Without one the function is recognised by its code and by
            all that it calls and holds. Needs `name`.

    Raises:
        InputError: The function cannot be called, or an argument is unusable.
    """

    def __init__(
        self,
        function: Scorer,
        max_new_tokens: int = 16,
        greatest: float | None = None,
        *,
        least: float | None = None,
        binary: bool = False,
        name: str | None = None,
        version: str | None = None,
    ) -> None:
        if not callable(function):
            raise InputError(
                f"`function` must be a function (answer, references) -> score, but got "
                f"{type(function).__name__}; pass one"
            )
        for key, value in (("name", name), ("version", version)):
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise InputError(
                    f"`{key}` must be a text that is not empty, but got {shown(value)}"
                )
        if version is not None and name is None:
            raise InputError("`version` needs a `name`, for which it holds; give both")
        self.function = function
        self.max_new_tokens = checked_length(max_new_tokens)
        if binary:
            self.binary, greatest, least = True, 1.0, 0.0
        if greatest is not None:
            self.greatest = greatest
        if least is not None:
            self.least = least
        self.name = name or _name_of(function)  # type: ignore[misc]
        self.version = version

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """What the function says."""
        return self.function(prediction, answers)


def _name_of(function: Scorer) -> str:
    """Its own name; of a `functools.partial` that of the function inside."""
    inside = getattr(function, "func", function)
    return str(getattr(inside, "__name__", type(inside).__name__))

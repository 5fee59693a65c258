"""A metric from a user's function."""

from collections.abc import Callable, Sequence

from schedsearch.engine.metrics.base import GeneratedMetric


class FunctionMetric(GeneratedMetric):
    """Scores greedy answers by calling a function.

    Args:
        function: Takes the model's answer and the sample's reference answers, and returns a
            number; larger is better.
        max_new_tokens: Longest answer, in tokens.
        greatest: The function returns nothing above this; without a bound no evaluation is
            stopped early.
    """

    def __init__(
        self,
        function: Callable[[str, Sequence[str]], float],
        max_new_tokens: int = 16,
        greatest: float | None = None,
    ) -> None:
        self.function = function
        self.max_new_tokens = max_new_tokens
        if greatest is not None:
            self.greatest = greatest
        self.name = getattr(function, "__name__", type(function).__name__)  # type: ignore[misc]

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """What the function says."""
        return self.function(prediction, answers)

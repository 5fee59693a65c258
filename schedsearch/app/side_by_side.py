"""Studies side by side: what each has found, what that costs, what unseen samples said of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schedsearch.app.study_view import StudyView
from schedsearch.core.certificate import Certification, Link
from schedsearch.core.comparison import Comparison, Row
from schedsearch.core.trial import Measurement, Trial
from schedsearch.errors import InputError
from schedsearch.store.failures import DamagedError


@dataclass(frozen=True)
class Beside:
    """A study beside others.

    Attributes:
        view: It.
        best: Its result so far; None before there is one.
        proof: What samples of a certificate said, which the search had not seen; None where none
            were asked.
        comparison: What held-out samples said of the result and of baselines; None where none
            were asked.
    """

    view: StudyView
    best: Trial | None
    proof: Certification | None
    comparison: Comparison | None

    @property
    def measured(self) -> Measurement | None:
        """What the result costs and loses."""
        return self.best.measurement if self.best else None

    @property
    def current(self) -> bool:
        """Whether the comparison is of the result so far."""
        found = self.comparison
        return found is not None and self.best is not None and self.view.current(found)

    def row(self, name: str) -> Row | None:
        """A row of the comparison."""
        rows = self.comparison.rows if self.comparison else ()
        return next((row for row in rows if row.name == name), None)

    @property
    def held_out(self) -> Sequence[tuple[Link, bool]]:
        """Schedules that were tested on such samples, and whether each is proven."""
        if self.proof is None:
            return ()
        rows = [(link, at < self.proof.proven) for at, link in enumerate(self.proof.links)]
        tested = any(link.schedule == self.proof.found.schedule for link, _ in rows)
        return rows if tested else [*rows, (self.proof.found, False)]


def beside(view: StudyView) -> Beside:
    """What a study has to show beside others."""
    try:
        best = view.best_trial
    except DamagedError:
        raise
    except InputError:
        best = None
    return Beside(view, best, view.certification, view.comparison)


def ways(studies: Iterable[Beside]) -> list[str]:
    """Names of all rows of their comparisons: first the results, then baselines."""
    compared = [one.comparison.rows for one in studies if one.comparison]
    return list(dict.fromkeys(row.name for rows in compared for row in rows))


def differences(views: Iterable[StudyView]) -> list[str]:
    """What studies differ in, so that their figures are not of the same thing."""
    specs = [view.spec for view in views]
    asked = {
        "model": [spec.model for spec in specs],
        "calibration set": [spec.calibration_digest for spec in specs],
        "metric": [spec.metric for spec in specs],
    }
    return [name for name, given in asked.items() if any(one != given[0] for one in given[1:])]

"""The progress of a search, here or elsewhere: what is asked, how far it is, what was found."""

from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from schedsearch.cli.output import errors

if TYPE_CHECKING:
    from schedsearch.app.study_view import StudyView
    from schedsearch.core.progress import Progress as Standing
    from schedsearch.core.trial import Trial
    from schedsearch.execution.moment import Moment
    from schedsearch.store.studies import StudySummary


class SearchDisplay:
    """One line that changes while the search runs; off a terminal a line for each trial.

    Args:
        study: Its name.
        console: Where.
    """

    def __init__(self, study: str, console: Console = errors) -> None:
        self._console = console
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.completed}/{task.total} samples"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._bars = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bars.add_task(study, total=None, left="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the line as it is."""
        self._bars.stop()

    def closed(self, _study: "StudyView", trial: "Trial") -> None:
        """Report a trial of the search that this process runs."""
        self.report(trial)

    def report(self, trial: "Trial") -> None:
        """Report a trial where there is no terminal to draw on."""
        if not self._console.is_terminal:
            self._console.print(outcome(trial), soft_wrap=True, markup=False, highlight=False)

    def show(self, moment: "Moment") -> None:
        """Draw what a moment says."""
        self.draw(moment.progress)

    def draw(self, standing: "Standing", age: float = 0.0) -> None:
        """Draw where a search stood so many seconds ago."""
        bars, left = self._bars, standing.seconds_left
        bars.tasks[0].start_time = bars.get_time() - standing.seconds - age
        bars.update(
            self._task,
            description=describe(standing),
            completed=standing.done,
            total=standing.samples,
            left="" if left is None else f"about {duration(left)} left",
        )


def outcome(trial: "Trial") -> str:
    """A closed trial in one line."""
    asked = ", ".join(f"{name} {value}" for name, value in trial.params.items()) or "enqueued"
    measured = trial.measurement
    if measured is None or measured.drop is None:
        return f"trial {trial.number} ({asked}): {trial.state} {trial.reason}"
    return (
        f"trial {trial.number} ({asked}): score {measured.score:.4f}, drop {measured.drop:.4f}, "
        f"FLOPs ratio {measured.flops_ratio:.3f}"
    )


def describe(standing: "Standing") -> str:
    """Trial of about how many, phase, layer, bracket, evaluations and pace, the best so far."""
    left = standing.trials_left
    about = "" if left is None else f" of about {standing.closed + left}"
    words = [
        f"trial {standing.closed + 1}{about}" if left != 0 else "",
        f"{standing.evaluated} evaluations, {standing.pace:.3g} a second",
        standing.phase,
    ]
    if standing.layer is not None:
        words.append(f"layer {standing.layer}")
    if standing.low is not None:
        words.append(f"{standing.low} to {standing.high} tokens")
    if standing.best_flops_ratio is not None:
        words.append(f"best FLOPs ratio {standing.best_flops_ratio:.3f}")
    if standing.best_drop is not None:
        words.append(f"calibration drop {standing.best_drop:.4f}")
    return ", ".join(word for word in words if word)


def searcher(found: "StudySummary") -> str:
    """Who searches a study, what that is asked to do, and how long it has given no sign."""
    if found.holder is None:
        return "nobody"
    asked = "" if found.wish == "run" else f", asked to {found.wish}"
    return f"{found.holder}{asked}" + ("" if found.left else f", {lapse(found)}")


def lapse(found: "StudySummary") -> str:
    """How long whoever held the lease has given no sign, and that it is free therefore."""
    assert found.holder is not None
    if found.holder.runs() is False:
        return "which is gone"
    return f"no sign for {duration(found.silence or 0.0)}: its lease has lapsed"


def duration(seconds: float) -> str:
    """Seconds for people."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"

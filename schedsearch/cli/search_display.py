"""The progress of a search: what is asked, how far it is, what has been found."""

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from schedsearch.cli.output import errors

if TYPE_CHECKING:
    from schedsearch.app.study_view import StudyView
    from schedsearch.core.trial import Trial
    from schedsearch.execution.loop import Moment


class SearchDisplay:
    """One line on stderr that changes while the search runs; elsewhere a line for each trial."""

    def __init__(self, study: str) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.completed}/{task.total} samples"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._bars = Progress(*columns, console=errors, disable=not errors.is_terminal)
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
        """Report a trial where there is no terminal to draw on."""
        if not errors.is_terminal:
            errors.print(outcome(trial), soft_wrap=True, markup=False)

    def show(self, moment: "Moment") -> None:
        """Draw what a moment says."""
        left = moment.seconds_left
        self._bars.update(
            self._task,
            description=describe(moment),
            completed=moment.done,
            total=moment.samples,
            left="" if left is None else f"about {_duration(left)} left",
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


def describe(moment: "Moment") -> str:
    """Trial of about how many, phase, layer, bracket, evaluations, best FLOPs ratio so far."""
    status = moment.status
    about = "" if moment.trials_left is None else f" of about {moment.closed + moment.trials_left}"
    words = [
        f"trial {moment.closed + 1}{about}",
        f"{moment.evaluated} evaluations",
        status.phase,
    ]
    if status.layer is not None:
        words.append(f"layer {status.layer}")
    if status.bracket is not None:
        low, high = status.bracket
        words.append(f"{low} to {high} tokens")
    if moment.best is not None and moment.best.measurement is not None:
        words.append(f"best FLOPs ratio {moment.best.measurement.flops_ratio:.3f}")
    return ", ".join(words)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"

"""The report folder of a study: the schedule, what it is worth, a picture, and all trials."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from schedsearch.app.plots import check_picture, save_frontier, save_report
from schedsearch.app.recorded import Recorded
from schedsearch.app.report_html import render_html
from schedsearch.app.report_text import model_name, render, without_folders
from schedsearch.app.study_view import StudyView, trial_row
from schedsearch.core import intervals
from schedsearch.core.certificate import Link
from schedsearch.core.comparison import Comparison
from schedsearch.core.files import Kind, check_folder, check_target, write_file
from schedsearch.core.intervals import Interval
from schedsearch.core.sample import Split
from schedsearch.core.schedule import Schedule
from schedsearch.core.schedule_file import SCHEDULE, schedule_bytes
from schedsearch.core.schedule_format import (
    Calibration,
    Estimate,
    Provenance,
    Results,
    ScheduleFile,
    Score,
)
from schedsearch.core.trial import Measurement, Trial
from schedsearch.errors import InputError
from schedsearch.samplers.greedy import GSearch
from schedsearch.version import VERSION

if TYPE_CHECKING:
    from schedsearch.app.study import Study


_TEXT = Kind("a report", re.compile(rb"\A# Study "))
_PAGE = Kind("a report", re.compile(rb"\A<!doctype html>\s*<!-- A report of schedsearch -->"))
_TRIALS = Kind("a table of trials", re.compile(rb"\Anumber,state,samples,"))


def check_report(folder: Path, frontier: bool, force: bool = False) -> None:
    """Refuse a folder that `write_report` would refuse, before the work.

    Args:
        folder: The folder.
        frontier: Whether frontier.png is among the files.
        force: Replace files of other kinds, too.

    Raises:
        InputError: It cannot be written or holds other files by these names, or matplotlib is
            missing.
    """
    check_folder(folder)
    for name in ("schedule.png", "frontier.png") if frontier else ("schedule.png",):
        check_picture(folder / name, force)
    kinds = {
        "schedule.json": SCHEDULE,
        "trials.csv": _TRIALS,
        "report.html": _PAGE,
        "report.md": _TEXT,
    }
    for name, kind in kinds.items():
        check_target(folder / name, kind, force=force)


def write_report(
    study: "Study", comparison: Comparison | None, folder: Path, force: bool = False
) -> Path:
    """Write schedule.json, schedule.png, trials.csv, report.html and report.md; return the folder.

    Searches over many costs or candidates get frontier.png too.

    The comparison is stored beside the study, too, in place of its former one.

    No file names a place on this machine. Each is replaced in one step; report.md, which speaks
    of the others, comes last.

    Args:
        study: With a result; a `snapshot` where it may be searched meanwhile.
        comparison: Of that result on held-out samples; default: what the store has of it.
        folder: Made if it does not exist.
        force: Replace files of other kinds, too.

    Raises:
        InputError: The study has no result, the comparison is of another schedule, the folder
            cannot be written or holds other files by these names, or matplotlib is missing.
    """
    study = study.snapshot()
    if comparison is None:
        comparison = study.compared
    elif comparison.schedule != study.best:
        raise InputError(
            f"the comparison is of another schedule than the result of study `{study.name}`; "
            f"compare the best of a `study.snapshot()` and report that"
        )
    text, frontier = render(study, comparison), not isinstance(study.sampler, GSearch)
    check_report(folder, frontier, force)
    if comparison is not None:
        study.store.put_comparison(study.name, comparison)
    if frontier:
        save_frontier(study.frontier, study.spec.metric, folder / "frontier.png", force)
    save_report(study.layers(), study.sampler.n_max, comparison, folder / "schedule.png", force)
    write_schedule(study, folder / "schedule.json", comparison, force=force)
    write_file(folder / "trials.csv", trials_csv(study).encode(), _TRIALS, force=force)
    files = [folder / name for name in ("schedule.png", *["frontier.png"] * frontier)]
    drawn = {file.name: file.read_bytes() for file in files if file.is_file()}
    page = render_html(study, text, drawn)
    write_file(folder / "report.html", page.encode(), _PAGE, force=force)
    write_file(folder / "report.md", text.encode(), _TEXT, force=force)
    return folder


def report_page(study: Recorded) -> bytes:
    """report.html of a study whose model is not at hand, so that nothing new is compared.

    Args:
        study: With a result; a `snapshot` where it may be searched meanwhile.

    Raises:
        InputError: The study has no result, or matplotlib is missing.
    """
    comparison = study.compared
    text = render(study, comparison, alone=True)
    with TemporaryDirectory(prefix="schedsearch-report-") as place:
        folder = Path(place)
        if not isinstance(study.sampler, GSearch):
            save_frontier(study.frontier, study.spec.metric, folder / "frontier.png")
        save_report(study.layers(), study.sampler.n_max, comparison, folder / "schedule.png")
        drawn = {file.name: file.read_bytes() for file in folder.iterdir()}
    return render_html(study, text, drawn).encode()


def write_schedule(
    view: StudyView,
    path: Path,
    comparison: Comparison | None = None,
    trial: Trial | None = None,
    *,
    force: bool = False,
) -> None:
    """Write a schedule with results and provenance, as a schedule file.

    Args:
        view: The study.
        path: The file, in folders that are made where they lack; `-` is standard output.
        comparison: On held-out samples, if there is one; what it says of this schedule is added.
        trial: Measured on all samples; default: what is certified, else the result so far.
        force: Replace a file that is no schedule file, too.

    Raises:
        InputError: The study has no result yet, or the file cannot be written or must not be
            replaced.
    """
    file = schedule_file(view, comparison, trial)
    write_file(path, schedule_bytes(file), SCHEDULE, force=force)


def schedule_file(
    view: StudyView, comparison: Comparison | None = None, trial: Trial | None = None
) -> ScheduleFile:
    """A schedule with results and provenance; see `write_schedule`.

    Raises:
        InputError: The study has no result yet.
    """
    spec = view.spec
    proof = None if trial is not None or view.certification is None else view.certification.best
    if proof is not None:
        schedule, scores = proof.schedule, _certify_scores(spec.metric, proof)
        ratios = proof.flops_ratio, proof.kv_ratio
    else:
        trial = trial or view.best_trial
        assert trial.measurement is not None
        schedule, scores = trial.schedule, _calibration_scores(spec.metric, trial.measurement)
        ratios = trial.measurement.flops_ratio, trial.measurement.kv_ratio
        proven = view.certification
        if proven is not None and proven.found.schedule == schedule:
            scores += _certify_scores(spec.metric, proven.found)
    results = Results(
        flops_ratio=ratios[0],
        kv_ratio=ratios[1],
        scores=[*scores, *_held_out_scores(comparison, schedule)],
    )
    provenance = Provenance(
        version=VERSION,
        created=f"{view.created(trial):%Y-%m-%dT%H:%M:%SZ}",
        study=spec.name,
        spec=spec.digest(),
        seed=spec.seed,
        calibration=Calibration(name=spec.calibration, digest=spec.calibration_digest),
    )
    return _with_target(view, schedule).to_file(results, provenance)


def _with_target(view: StudyView, schedule: Schedule) -> Schedule:
    """The schedule with the model it is for; one that a user enqueued may not say it itself."""
    targets = (trial.schedule.target for trial in view.trials)
    target = next((one for one in targets if one is not None), None)
    if target is not None and target.model is not None:
        target = replace(target, model=model_name(target.model))
    return replace(schedule, target=target)


def _calibration_scores(metric: str, measured: Measurement) -> list[Score]:
    """What the search saw; nothing for a single sample, which has no interval."""
    if measured.standard_error is None:
        return []
    score = intervals.around(measured.score, measured.standard_error, measured.n)
    drop = None
    if measured.drop is not None and measured.drop_standard_error is not None:
        drop = intervals.around(measured.drop, measured.drop_standard_error, measured.n)
    return [_score(metric, "calibration", score, drop)]


def _certify_scores(metric: str, proof: Link) -> list[Score]:
    assert proof.score is not None
    return [_score(metric, "certify", proof.score, proof.drop)]


def _held_out_scores(comparison: Comparison | None, schedule: Schedule) -> list[Score]:
    if comparison is None:
        return []
    if comparison.schedule == schedule:
        return [_score(comparison.metric, "held-out", comparison.score, comparison.drop)]
    certified = comparison.certified
    if certified is None or certified.schedule != schedule:
        return []
    return [_score(comparison.metric, "held-out", certified.score, certified.drop)]


def _score(metric: str, split: Split, score: Interval, drop: Interval | None) -> Score:
    return Score(
        metric=metric,
        split=split,
        n=score.n,
        score=_estimate(score),
        drop=None if drop is None else _estimate(drop),
    )


def _estimate(interval: Interval) -> Estimate:
    return Estimate(value=interval.value, low=interval.low, high=interval.high)


def trials_csv(view: StudyView) -> str:
    """All trials as CSV, one column for everything that any of them has."""
    rows = [trial_row(trial) for trial in view.trials]
    columns = dict.fromkeys(name for row in sorted(rows, key=len, reverse=True) for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "reason": without_folders(row["reason"])})
    return text.getvalue()

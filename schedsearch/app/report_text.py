"""The text of a report, in Markdown with tables."""

import platform
import re
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from schedsearch.app.markdown import escape, estimate, table
from schedsearch.app.report_certificate import loses, section
from schedsearch.app.report_search import (
    goal,
    kept_more,
    rule,
    settings,
    told_apart,
    which_ranker,
)
from schedsearch.app.study_view import StudyView
from schedsearch.core.comparison import Comparison, Row
from schedsearch.core.intervals import Interval
from schedsearch.core.schedule import Schedule
from schedsearch.samplers.greedy import GSearch
from schedsearch.version import VERSION

if TYPE_CHECKING:
    from schedsearch.app.recorded import Recorded
    from schedsearch.app.study import Study

_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^\s/'\"]+/)+(?=[^\s/])")
"""The folders of an absolute path; not those of a URL."""

_APPLY = """## Apply it

```python
import schedsearch

schedule = schedsearch.Schedule.load("schedule.json")
with schedsearch.reduce(model, schedule):
    output = model.generate(**inputs, max_new_tokens=20)
```

`model` is the transformers model named above and `inputs` is what its processor returns. The model
is as before when the block ends."""


_BASELINES = (
    " Rows that are no result were given the FLOPs ratio of the found schedule; what whole tokens "
    "do not use up is left over."
)
_NO_SAMPLES = "no held-out samples were given"
_FILES = (
    "Beside this file lie schedule.json, the schedule with its results; schedule.png; trials.csv, "
    "every schedule that was tried; and report.html, which says the same and shows for some "
    "samples which tokens each layer kept."
)
_NO_MODEL = (
    "no model was loaded for this report; `schedsearch report` writes one with held-out samples"
)


def render(study: "Study | Recorded", comparison: Comparison | None, alone: bool = False) -> str:
    """The report of a study.

    Args:
        study: With a result.
        comparison: Of that result on held-out samples, if there is one.
        alone: Whether no other files lie beside it, and no model was there to compare with.

    Raises:
        InputError: The study has no result yet.
    """
    why = _NO_MODEL if alone else _NO_SAMPLES
    parts = (
        f"# Study {escape(study.name)}",
        _summary(study, comparison, why),
        "![Vision tokens kept by layer, and scores on held-out samples](schedule.png)",
        *_frontier(study),
        *(() if alone else (_FILES,)),
        _searched(study),
        *which_ranker(study),
        rule(study),
        _found(study),
        *told_apart(study),
        *kept_more(study),
        *section(study.certification),
        _held_out(comparison, why),
        _environment(study),
        _APPLY,
    )
    return "\n\n".join(parts) + "\n"


def _frontier(study: StudyView) -> tuple[str, ...]:
    if isinstance(study.sampler, GSearch):
        return ()
    return ("![The least drop at every cost, and how the search found it](frontier.png)",)


def model_name(name: str) -> str:
    """A hub id as it is; of a folder the last part, for where it lay means nothing elsewhere."""
    path = Path(name)
    return path.name if path.is_absolute() else name


def without_folders(message: str) -> str:
    """A message with the last parts of the absolute paths in it."""
    return _FOLDERS.sub("", message)


def _summary(study: StudyView, comparison: Comparison | None, why: str) -> str:
    """Which schedule is handed out and what is proven of it, before any other is spoken of."""
    best, proven = study.best_trial, study.certification
    measured, link = best.measurement, None if proven is None else proven.best
    assert measured is not None
    found = best.schedule, measured.flops_ratio, measured.kv_ratio
    lost = [] if comparison is None else [("the found schedule", comparison.drop)]
    if proven is not None and proven.certificate is not None and link is not None:
        claim = f"**{escape(proven.certificate.claim)}**"
        if link.schedule == best.schedule:
            words = [_costs("schedule.json is the found schedule. Averaged", *found), claim]
        else:
            certified = link.schedule, link.flops_ratio, link.kv_ratio
            other = (
                f"The search found a cheaper one, trial {best.number}, of which that could not be "
                "proven"
                if proven.found.schedule == best.schedule
                else f"The search has since found another one, trial {best.number}, of which "
                "nothing was to be proven yet"
            )
            words = [
                _costs("schedule.json is the certified schedule. Averaged", *certified),
                claim,
                _costs(f"{other}, so it is not the one in schedule.json; averaged", *found),
            ]
            if comparison is not None and comparison.certified is not None:
                lost.insert(0, ("the certified schedule", comparison.certified.drop))
    else:
        words = [
            _costs("schedule.json is the found schedule. Averaged", *found),
            "What it loses on questions like these is not certified.",
        ]
    if comparison is None:
        if why != _NO_SAMPLES:
            words.append(f"What it costs in quality on held-out samples is not said here: {why}.")
        words.append(escape(loses(study.loss(best.schedule))))
    else:
        time, metric = _percent(1 / comparison.prefill_speedup), escape(comparison.metric)
        drops = ", ".join(f"{name} loses {estimate(drop)} {metric}" for name, drop in lost)
        words.append(
            f"On {comparison.samples} held-out samples {drops} against the full model (paired, "
            f"with 95 % interval); a prefill with the found schedule takes {time} of the time."
        )
    if not study.finished:
        words.append("**The search is not finished:** this is its result so far.")
    return " ".join(words)


def _costs(begin: str, schedule: Schedule, flops: float, kv: float) -> str:
    return (
        f"{begin} over the layers, it keeps {_percent(fmean(schedule.keep))} of the vision tokens: "
        f"{_percent(flops)} of the decoder's FLOPs in prefill, {_percent(kv)} of its KV cache."
    )


def _searched(study: "Study | Recorded") -> str:
    spec, target = study.spec, study.subject.target
    states = Counter(str(trial.state).lower() for trial in study.trials)
    rows = [
        ("model", model_name(spec.model)),
        ("revision", spec.revision or ""),
        ("architecture", f"{target.architecture}, {target.layers} layers" if target else ""),
        ("fingerprint of its weights", spec.weights or ""),
        ("calibration set", f"{spec.calibration}, {len(study.subject.ids)} samples"),
        ("digest of the set", spec.calibration_digest),
        ("metric, larger is better", spec.metric),
        ("ranker", study.ranker.words),
        ("search", ", ".join(settings(spec))),
        ("seed", str(spec.seed)),
        ("digest of this specification", spec.digest()),
        ("trials", ", ".join(f"{count} {state}" for state, count in states.items())),
    ]
    shown = [(name, escape(value)) for name, value in rows if value]
    return "\n\n".join(
        (
            "## What was searched",
            goal(study),
            table(("", ""), shown),
        )
    )


def _found(study: StudyView) -> str:
    best = study.best_trial
    measured = best.measurement
    assert measured is not None
    layers = study.layers()
    headers = ["layer", f"vision tokens of {study.sampler.n_max}", "keep ratio"]
    rows = [[str(one.layer), str(one.count), f"{one.keep:.4f}"] for one in layers]
    asked = ""
    if layers[0].trials is not None:
        headers.append("trials")
        rows = [[*row, str(one.trials)] for row, one in zip(rows, layers, strict=True)]
        asked = " Trials of a layer are those that asked about it."
    drop = "" if measured.drop is None else f", {measured.drop:.4f} below the full model"
    return "\n\n".join(
        (
            "## What was found",
            table(headers, rows),
            f"Trial {best.number}: {escape(study.spec.metric)} {measured.score:.4f} on the "
            f"{measured.n} calibration samples{drop}. These chose it, so both figures flatter "
            f"it.{asked}",
        )
    )


def _held_out(comparison: Comparison | None, why: str) -> str:
    title = "## On held-out samples"
    if comparison is None:
        return f"{title}\n\nNothing was compared: {why}."
    metric = escape(comparison.metric)
    headers = ("", metric, "minus found", "against found", "FLOPs ratio", "KV ratio", "mean keep")
    seconds = [f"{1e3 * value:.1f} ms" for value in comparison.prefill_seconds]
    return "\n\n".join(
        (
            title,
            f"{escape(comparison.data)}, {comparison.samples} samples, none of which is in the "
            f"calibration set; digest {comparison.data_digest}.",
            table(headers, [_cells(row) for row in comparison.rows]),
            f"**Drop, full model minus found schedule: {estimate(comparison.drop)} {metric}.**",
            "Brackets are 95 % intervals, each for itself; differences are paired by sample. "
            "Ratios are to the full model, decoder layers only, on these samples."
            + ("" if comparison.alone else _BASELINES),
            "\n".join(f"* **{escape(row.name)}**: {escape(row.what)}." for row in comparison.rows),
            f"Measured prefill of {comparison.prefill_batch} prompts, vision tower included: "
            f"{seconds[0]} with the full model, {seconds[1]} with the found schedule (medians); "
            f"ratio {1 / comparison.prefill_speedup:.3f}, median of neighbouring runs.",
        )
    )


def _cells(row: Row) -> tuple[str, ...]:
    name = escape(row.name)
    if row.score is None:
        return name, f"not available: {escape(without_folders(row.reason))}", "", "", "", "", ""
    ratios = (f"{ratio:.4f}" for ratio in (row.flops_ratio, row.kv_ratio, row.mean_keep))
    if row.difference is None:
        return name, estimate(row.score), "", "", *ratios
    return (
        name,
        estimate(row.score),
        estimate(row.difference, "+"),
        _verdict(row.difference),
        *ratios,
    )


def _verdict(difference: Interval) -> str:
    if not difference.excludes_zero():
        return "undecided"
    return "better" if difference.value > 0 else "worse"


def _environment(study: "Study | Recorded") -> str:
    context = study.subject.context
    names = ("torch", "transformers", "device", "dtype", "attention")
    rows = [
        ("schedsearch", VERSION),
        ("python", platform.python_version()),
        *((name, escape(str(context.get(name, "unknown")))) for name in names),
    ]
    return "\n\n".join(("## Environment", table(("", ""), rows)))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"

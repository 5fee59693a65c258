"""The found schedule beside baselines of equal cost, on samples that no search has seen."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median

from schedsearch.app.baselines import baselines
from schedsearch.app.bootstrap import Progress
from schedsearch.app.held_out import HeldOut
from schedsearch.app.study import Study
from schedsearch.core import intervals
from schedsearch.core.comparison import Certified, Comparison, Row
from schedsearch.core.sample import SampleSet
from schedsearch.core.schedule import RankerSpec, Schedule

FULL = "full model"
FOUND = "found schedule"
CERTIFIED = "certified schedule"


def compare(
    study: Study,
    held_out: SampleSet,
    schedule: Schedule,
    progress: Progress,
    *,
    certified: Schedule | None = None,
    alone: bool = False,
    repeats: int = 5,
) -> Comparison:
    """Evaluate a schedule, and what it has to beat, on held-out samples.

    Baselines cost what the schedule costs on these samples, or as much less as it takes to keep
    whole tokens. One that this model or this budget does not allow is listed with the reason.

    Scores go through the study's store, so a comparison that was interrupted goes on where it was.
    They belong to no trial, and the search never sees them.

    Args:
        study: Gives model, metric, store, and the calibration samples.
        held_out: Samples that the search has not seen.
        schedule: What is compared; usually `study.best`.
        progress: Starts a progress bar by name.
        certified: What is certified, where that is known; it has a row where it is another one.
        alone: Measure it and the full model, and no baselines.
        repeats: Timed pairs of prefills.

    Raises:
        DataError: A held-out sample is a calibration sample too, or there are fewer than two.
        RunError: The full model, or the schedule with its own or random tokens, cannot be
            evaluated.
    """
    bench = HeldOut(study, held_out, progress)
    own = bench.values(FOUND, schedule)
    found = bench.row(FOUND, "the result of the search", schedule, None)
    full = bench.row(FULL, "all layers process all vision tokens", bench.subject.full, own)
    proven = None
    milder: list[Row] = []
    if certified is not None and certified != schedule:
        milder.append(bench.row(CERTIFIED, "the cheapest one that is certified", certified, own))
        values = bench.values(CERTIFIED, certified)
        whole = bench.values(FULL, bench.subject.full)
        drop = intervals.paired_difference(whole, values)
        proven = Certified(certified, intervals.of_scores(values), drop)
    beaten = () if alone else tuple(_baselines(bench, study.sampler.first, schedule, own))
    timing = study.executor.ask(
        "time_prefill",
        bench.subject.split,
        schedule,
        repeats,
        on_progress=progress("prefill time"),
    )
    assert found.score is not None and full.difference is not None
    return Comparison(
        schedule=schedule,
        data=held_out.name,
        data_digest=held_out.digest(),
        samples=len(bench.subject.ids),
        metric=bench.subject.context["metric"]["name"],
        rows=(full, found, *milder, *beaten),
        score=found.score,
        drop=full.difference,
        prefill_speedup=timing.speedup,
        prefill_seconds=(median(timing.full), median(timing.reduced)),
        prefill_batch=timing.batch,
        evaluated=bench.evaluated,
        certified=proven,
    )


def _baselines(
    bench: HeldOut, first: int, schedule: Schedule, own: Sequence[float]
) -> Iterator[Row]:
    """What a schedule, with these scores, has to beat at its cost."""
    flops, _ = bench.subject.costs(schedule)
    yield bench.row(
        "random tokens",
        "counts of the found schedule, tokens in one random order for all layers",
        replace(schedule, ranker=RankerSpec("random"), certificate=None),
        own,
    )
    for baseline in baselines(first, schedule.ranker):
        yield bench.at_equal_cost(*baseline, flops, own)
    yield bench.smaller_images(flops, own)

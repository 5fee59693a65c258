"""What a report says of the search itself, sampler by sampler."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from schedsearch.app.markdown import escape, table
from schedsearch.app.sample_size import changes_of, tolerances
from schedsearch.app.study_view import StudyView
from schedsearch.core.power import resolution, resolving
from schedsearch.core.study import StudySpec
from schedsearch.samplers.additive import Additive
from schedsearch.samplers.auto import Auto
from schedsearch.samplers.greedy import GSearch
from schedsearch.samplers.which_ranker import Rung

if TYPE_CHECKING:
    from schedsearch.app.recorded import Recorded
    from schedsearch.app.study import Study


def settings(spec: StudySpec) -> list[str]:
    """The sampler, and those of its settings that are no tables."""
    name, *others = spec.search["sampler"], *spec.search.items()
    written = {key: _written(value) for key, value in others if key != "sampler"}
    return [name, *(f"{key} = {value}" for key, value in written.items() if value)]


def _written(value: Any) -> str:
    """A setting as text; of what is nested deeper than a list or a mapping nothing."""
    parts = [value]
    if isinstance(value, Mapping):
        parts = list(value.values())
    elif isinstance(value, list):
        parts = value
    if any(isinstance(part, Mapping | list) for part in parts):
        return ""
    if isinstance(value, Mapping):
        return " ".join(f"{key}: {part}" for key, part in value.items())
    return " ".join(map(str, parts))


def goal(study: StudyView) -> str:
    """What the search was for."""
    spec = study.spec
    if isinstance(study.sampler, GSearch):
        least = (
            "The least number of vision tokens that each decoder layer needs, from shallow to deep "
            "(G-Search, arXiv 2412.00556)."
        )
        if not isinstance(study.sampler, Auto):
            return least
        return (
            f"{least} Then at most {study.sampler.trials} cheaper schedules around that curve, "
            f"chosen by Bayesian optimisation; the result is the cheapest that was accepted."
        )
    if isinstance(study.sampler, Additive):
        return (
            f"Schedules that lose least by what single cuts cost on {spec.search['samples']} "
            f"samples, added up (idea of DOP, arXiv 2507.02909)."
        )
    if "family" not in spec.search:
        return f"What the sampler {escape(study.sampler.name)} looks for."
    family = f"Schedules of the family {escape(str(spec.search.get('family')))}"
    if "budget" not in spec.search:
        return f"{family}: the best at every cost."
    return f"{family} that use up the budget {escape(_written(spec.search['budget']))}."


def which_ranker(study: StudyView) -> tuple[str, ...]:
    """How the ranker was found, where there were several."""
    rungs = study.rungs
    if not rungs:
        return ()
    last = rungs[-1].better_half()
    open_yet = "" if last and len(last) == 1 else " The last round is not over."
    columns = [f"round {number}, {rung.samples} samples" for number, rung in enumerate(rungs, 1)]
    rows = [(escape(name), *drops) for name, drops in drops_of(rungs)]
    return (
        "### Which ranker",
        f"Before the search all rankers answered the same three schedules on few samples, and the "
        f"better half went on with twice as many: first an equal share of tokens in all layers at "
        f"1/2 and 1/4 of the feasible FLOPs, and a line over depth at 1/2. Mean drop of "
        f"{escape(study.spec.metric)}, as those samples let one expect it on all.{open_yet}",
        table(("ranker", *columns), rows),
    )


def drops_of(rungs: Sequence[Rung]) -> list[tuple[str, list[str]]]:
    """Each ranker in words, and its drops round by round; blank where it was out, or is open."""
    return [
        (ranker.words, [_drop(rung.drops.get(ranker)) for rung in rungs])
        for ranker in rungs[0].drops
    ]


def _drop(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if value < inf else "failed"


def rule(study: StudyView) -> str:
    """When a schedule counted as good."""
    sampler, metric = study.sampler, escape(study.spec.metric)
    if sampler.name == "frontier":
        most = study.spec.search["max_drop"]
        return (
            f"### Which schedule is the result\n\nThe cheapest that lost at most {most} {metric}, "
            f"full model minus schedule on the identical calibration samples; where none did, the "
            f"one that lost least. Schedules that another one beats in both cost and drop were "
            f"stopped before they had seen all samples. Among many on the same samples the best "
            f"flatters itself. Held-out samples had no part in the choice. frontier.png shows what "
            f"was found at every cost."
        )
    if isinstance(sampler, Additive):
        wanted = (
            f"The schedule within the budget {escape(str(sampler.budget))} that lost least {metric}"
            if sampler.max_drop is None
            else f"The cheapest that lost at most {sampler.max_drop:g} {metric}; where none did, "
            f"the one that lost least"
        )
        return (
            f"### Which schedule is the result\n\n{wanted}, full model minus schedule on the "
            f"identical calibration samples. What single cuts predict has chosen which schedules "
            f"were tried, and says nothing of the result: that was measured. It is the best of "
            f"several on the same samples, so its calibration score flatters it. Held-out samples "
            f"had no part in the choice."
        )
    if "family" not in study.spec.search and not isinstance(sampler, GSearch):
        return (
            f"### Which schedule is the result\n\nThe one that the sampler {escape(sampler.name)} "
            f"says is best. Held-out samples had no part in the choice."
        )
    if not isinstance(sampler, GSearch):
        return (
            f"### Which schedule is the result\n\nThe one whose mean drop of {metric}, full model "
            f"minus schedule on the identical calibration samples, was least. Schedules that could "
            f"no longer win were stopped before they had seen all samples. It is the best of many "
            f"on the same samples, so its calibration score flatters it. Held-out samples had no "
            f"part in the choice."
        )
    if sampler.acceptance == "drop":
        words = (
            f"the mean of the paired differences, full model minus schedule, was at most "
            f"{sampler.tolerance:g} {metric}."
        )
    else:
        words = (
            f"the one-sided 95 % upper bound of the mean of the paired differences, full model "
            f"minus schedule, was at most {sampler.tolerance:g} {metric}. This is a bound by "
            f"Student's t, mean plus t times standard error: where all differences are equal their "
            f"spread is 0 and the bound adds nothing to the mean, however few samples there are."
        )
    return "\n\n".join(
        (
            "### When a schedule was accepted",
            f"On the identical calibration samples, {words}",
            "Schedules whose rejection was certain were stopped before they had seen all samples; "
            "the result has seen all. So many were judged on the same samples that the rule does "
            "not speak of the choice among them: the result's calibration score flatters it. "
            "Held-out samples had no part in the choice.",
        )
    )


def told_apart(study: "Study | Recorded") -> tuple[str, ...]:
    """What the calibration samples tell apart, as often as scores change under the result."""
    best = study.best_trial
    assert best.measurement is not None
    changes = changes_of(best.measurement, study.subject.span)
    if changes is None or min(best.schedule.keep) == 1:
        return ()
    found = resolution(changes)
    flips = changes.flips()
    share = f" ({(flips.lost + flips.gained) / flips.n:.1%} of the samples)" if flips else ""
    words = [
        f"As scores change under the result{share}, these {found.n} samples tell a drop of "
        f"{found.detectable:.4f} from 0 with probability .8; the paired 95 % interval of a drop is "
        f"{found.half_width:.4f} wide to each side."
    ]
    for name, tolerance in tolerances(study.spec.search):
        if not tolerance > 0:
            continue
        if found.resolves(tolerance):
            words.append(f"`{name}`, {tolerance:g}, is not less.")
        else:
            words.append(
                f"**`{name}`, {tolerance:g}, is less: which schedules it let pass is partly "
                f"chance.** About {resolving(changes, tolerance)} samples would tell it from 0."
            )
    return "### What these samples tell apart", " ".join(words)


def kept_more(study: StudyView) -> tuple[str, ...]:
    """Whether keeping more was never worse, where the search relies on it; and its cost."""
    cost = (
        f"The search has cost {study.effort.spent:.1f} full passes over the calibration set "
        f"(decoder FLOPs); all samples by full forwards: {study.effort.naive:.1f}."
    )
    if study.spec.spent:
        cost += f" Single cuts, before the first trial, have cost {study.spec.spent:.1f} of them."
    if study.nesting is None or not isinstance(study.sampler, GSearch):
        return (cost,)
    violations, comparable = study.nesting
    meaning = (
        "The scan does not rely on it."
        if study.sampler.method == "scan"
        else "The search relies on it: where it does not hold, the result is accepted all the "
        "same, but a smaller schedule may have been passed over."
    )
    return (
        "### Whether keeping more was never worse",
        f"Of {comparable} pairs of tried schedules in which one keeps at least as much as the "
        f"other in every layer, {violations} had the smaller schedule accepted and the greater "
        f"one rejected. {meaning}",
        cost,
    )

"""A certificate: what a schedule loses at most, proven on samples that the search never saw."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from schedsearch.app.bootstrap import DataRef, open_samples
from schedsearch.app.chain import chain
from schedsearch.app.evidence import Evidence
from schedsearch.core import bounds
from schedsearch.core.certificate import (
    ALPHA,
    Certificate,
    Certification,
    Demands,
    Link,
    Request,
    chain_digest,
    claim,
)
from schedsearch.core.sample import SampleSet, used_as
from schedsearch.core.subject import Subject
from schedsearch.errors import InputError

if TYPE_CHECKING:
    from schedsearch.app.bootstrap import Progress
    from schedsearch.app.open import Calibration
    from schedsearch.app.study import Study

_IMAGE = 16
"""Hex digits by which an image is known again."""


def certify(
    study: "Study",
    samples: SampleSet,
    demands: Demands,
    *,
    alpha: float = ALPHA,
    per_image: int = 1,
    progress: "Progress",
) -> Certification:
    """Prove what can be proven of a study's result on samples that its search never saw.

    The same request again returns what came of it. Samples that have been looked at prove nothing
    about another chain or tolerance: they are refused.

    Args:
        study: With a result.
        samples: Of the split `certify`.
        demands: What must not be lost.
        alpha: Probability of a false proof.
        per_image: Most samples that may share an image, in all that such samples are drawn from.
        progress: Starts a progress bar by name.

    Raises:
        InputError: Something cannot be certified; nothing has been looked at then.
        RunError: A schedule cannot be evaluated.
    """
    from schedsearch.app.held_out import HeldOut

    study = study.snapshot()
    links = chain(study, study.subject)
    bench = HeldOut(study, samples, progress, "certify")
    subject = bench.subject
    _check(study, subject, demands, alpha)
    evidence = Evidence.of(subject, samples, demands, per_image, study.spec.seed)
    request = Request(
        data=subject.name,
        data_digest=subject.digest,
        metric=study.spec.metric,
        weights=study.spec.weights,
        tolerance=demands.tolerance,
        tasks=demands.tasks,
        alpha=alpha,
        per_image=per_image,
        chain=chain_digest(links),
    )
    images = sorted({key[:_IMAGE] for keys in subject.images for key in keys})
    attempt, known = study.store.begin_certification(study.name, request, images)
    if known is not None:
        return known
    full = bench.values("full model", subject.full)

    def asked(link: Link) -> tuple[Link, Sequence[float]]:
        values = bench.values(link.what, link.schedule)
        drops = [a - b for a, b in zip(full, values, strict=True)]
        p_value = max(evidence.p_values(drops))
        score, drop = evidence.score(values), evidence.interval(drops)
        return replace(link, score=score, drop=drop, p_value=p_value), drops

    tested: list[tuple[Link, Sequence[float]]] = []

    def p_values() -> Iterator[float]:
        for link in links:
            tested.append(asked(link))
            assert tested[-1][0].p_value is not None
            yield tested[-1][0].p_value

    proven = bounds.certified(p_values(), alpha)
    found = tested[-1][0] if len(tested) == len(links) else asked(links[-1])[0]
    result = Certification(
        request=request,
        method=evidence.method,
        n=len(subject.ids),
        links=tuple(link for link, _ in tested),
        proven=proven,
        found=found,
        attempt=attempt,
    )
    if proven:
        weights = (study.spec.weights, study.executor.ask("memory_fingerprint"))
        metric = subject.context["metric"]["name"]
        certificate = _certificate(result, *tested[proven - 1], evidence, demands, weights, metric)
        dtype, quantization = study.executor.ask("precision")
        certificate = replace(certificate, dtype=dtype, quantization=quantization)
        result = replace(result, certificate=certificate)
    else:
        result = replace(result, needed=evidence.needed(tested[0][1], alpha))
    return study.store.end_certification(study.name, result)


def certify_set(given: "Calibration") -> SampleSet:
    """The samples to prove on, as a set of their own split.

    Raises:
        InputError: They are none.
    """
    if isinstance(given, (str, Path)):
        given = open_samples(DataRef(str(given)), "certify")
    if not (hasattr(given, "digest") and hasattr(given, "split")):
        from schedsearch.evaluation.data.in_memory import MemorySet

        return MemorySet(cast(Iterable[Any], given), split="certify")
    return used_as(cast(SampleSet, given), "certify")


def demands_of(
    search: Mapping[str, Any], tolerance: float | None, tasks: Mapping[str, float]
) -> Demands:
    """What a certificate is to claim.

    Args:
        search: Settings of the search, whose tolerance holds where nothing else is given.
        tolerance: As in `Demands`.
        tasks: As in `Demands`.

    Raises:
        InputError: Nothing says what it is to be.
    """
    if tolerance is None and not tasks:
        tolerance = search.get("tolerance") or search.get("max_drop")
        if not tolerance:
            raise InputError(
                "`certify.tolerance` is missing, and the search has none above 0 in its place: no "
                "number of samples proves that nothing is lost; add it, such as 0.01"
            )
    return Demands(tolerance, tasks)


def check_provable(metric: str, least: float, greatest: float) -> None:
    """Refuse a metric of which nothing can be proven.

    Args:
        metric: Its name.
        least: No score is below this.
        greatest: No score is above this.

    Raises:
        InputError: Its scores have no bounds.
    """
    if not math.isfinite(greatest - least):
        raise InputError(
            f"metric {metric} has no bounds, and without them one sample "
            "could lose any amount, so nothing can be proven of it; certify by exact_match, "
            "vqa_accuracy, answer_match or last_state_cosine, or give a `FunctionMetric` its "
            "`greatest` and `least`"
        )


def _check(study: "Study", subject: Subject, demands: Demands, alpha: float) -> None:
    check_provable(subject.context["metric"]["name"], subject.least, subject.greatest)
    weights = subject.target and subject.target.weights
    if weights != study.spec.weights:
        raise InputError(
            f"the model's weights ({str(weights)[:12]}) are not those that study `{study.name}` "
            f"searched ({str(study.spec.weights)[:12]}): what holds for one says nothing of the "
            "other; certify with the weights of the study, or search these under another name"
        )
    span = subject.span
    if not demands.all:
        raise InputError("nothing is demanded; give a `tolerance` or `tasks`")
    for task, tolerance in demands.all.items():
        if not 0 < tolerance <= span:
            name = f"tasks.{task}" if task else "tolerance"
            raise InputError(
                f"`{name}` must be above 0 and at most {span:g}, the span of the metric, but got "
                f"{tolerance:g}; no number of samples proves that nothing is lost"
            )
    if not 0.001 < alpha < 0.5:
        raise InputError(f"`0.001 < alpha < 0.5` must hold, but got {alpha:g}; 0.05 is usual")


def _certificate(
    result: Certification,
    link: Link,
    drops: Sequence[float],
    evidence: Evidence,
    demands: Demands,
    weights: Sequence[str | None],
    metric: str,
) -> Certificate:
    request = result.request
    return Certificate(
        claim=claim(demands, metric, request.alpha, result.n, evidence.span, result.attempt),
        metric=metric,
        tolerance=demands.tolerance,
        tasks=dict(demands.tasks),
        alpha=request.alpha,
        n=result.n,
        bound=evidence.bound(drops, request.alpha),
        method=result.method,
        data=request.data,
        data_digest=request.data_digest,
        weights=tuple(dict.fromkeys(one for one in weights if one)),
        schedule=link.schedule.digest(),
        attempt=result.attempt,
    )

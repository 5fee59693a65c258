"""What is proven of a schedule: the certificate, and how it came about.

A chain of schedules, from mild to the found one, is fixed before a sample is scored and tested in
its order up to the first that is not proven (`schedsearch.core.bounds.certified`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from schedsearch.core.canonical import digest
from schedsearch.errors import ScheduleError

if TYPE_CHECKING:
    from schedsearch.core.intervals import Interval
    from schedsearch.core.schedule import Schedule

ALPHA = 0.05
"""Probability of a false proof where nobody chooses another."""


@dataclass(frozen=True)
class Demands:
    """What a schedule must not lose more than, in the unit of the metric; all of it must hold.

    Attributes:
        tolerance: Greatest mean drop over all samples; None where tasks alone are asked.
        tasks: Greatest mean drop over the samples of each of these kinds.
    """

    tolerance: float | None = None
    tasks: Mapping[str, float] = field(default_factory=dict)

    @property
    def all(self) -> Mapping[str, float]:
        """Tolerance by task; the task of all samples is empty."""
        return dict(self.tasks) if self.tolerance is None else {"": self.tolerance, **self.tasks}

    def within(self, other: "Demands") -> bool:
        """Whether another one asks for all that these do, at the same tolerances or smaller."""
        stricter = other.all
        return all(stricter.get(task, math.inf) <= least for task, least in self.all.items())


@dataclass(frozen=True)
class Certificate:
    """The proof that a schedule loses at most so much, as its file carries it.

    Attributes:
        claim: It, in one sentence.
        metric: What is lost; a drop is the full model's score less the reduced model's.
        tolerance: Greatest mean drop over all samples; None where tasks alone are claimed.
        tasks: Greatest mean drop over the samples of each of these kinds.
        alpha: Probability that any part of the claim is wrong.
        n: Samples, none of which the search had seen.
        bound: Least tolerance that these samples would have proven for this schedule alone, of
            the part of the claim that comes off worst.
        method: Of the bound and of the test.
        data: Name of the samples.
        data_digest: Their content.
        weights: Digests that the weights go by: of their files, and as memory has them.
        schedule: Digest of keep and ranker.
        dtype: Of the weights, such as `bfloat16`; None in files that do not say it yet.
        quantization: Of the weights; None without one.
        attempt: Which one of its study it was, from 1.
    """

    claim: str
    metric: str
    tolerance: float | None
    tasks: Mapping[str, float]
    alpha: float
    n: int
    bound: float
    method: str
    data: str
    data_digest: str
    weights: tuple[str, ...]
    schedule: str
    dtype: str | None = None
    quantization: str | None = None
    attempt: int = 1

    def check_speaks_of(self, schedule: str) -> None:
        """Refuse the digest of another schedule.

        Raises:
            ScheduleError: It is another one.
        """
        if schedule != self.schedule:
            raise ScheduleError(
                "`certificate` speaks of another schedule than `keep` and `ranker` (their digest "
                f"is {schedule[:12]}, not {self.schedule[:12]}): nothing is proven of one that was "
                "edited; take the certificate off, or certify it anew"
            )

    def checked(self) -> Self:
        """Return it with the claim that its other fields make.

        Words that differ are refused, and replaced where no dtype is named: files of that time may
        have words of another making.

        Raises:
            ScheduleError: The claim is another one.
        """
        demands = Demands(self.tolerance, self.tasks)
        points, plain = (
            claim(demands, self.metric, self.alpha, self.n, span, self.attempt) for span in (1, 0)
        )
        if self.claim in (points, plain):
            return self
        if self.dtype is None:
            return replace(self, claim=plain)
        raise ScheduleError(
            "`certificate.claim` is not what the certificate's other fields say, which is "
            f"{points if 'points' in self.claim else plain!r}; put the words back, or certify the "
            "schedule anew"
        )

    def plain(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return {**vars(self), "tasks": dict(self.tasks), "weights": list(self.weights)}

    @classmethod
    def from_plain(cls, body: Mapping[str, Any]) -> Self:
        """Return the certificate that `plain` wrote."""
        return cls(**{**body, "weights": tuple(body["weights"])})


@dataclass(frozen=True)
class Link:
    """A schedule of the chain, and what the samples said of it.

    Attributes:
        what: Where it comes from, in words.
        schedule: The schedule.
        flops_ratio: Over the calibration set.
        kv_ratio: Over the calibration set.
        score: On the certify samples, with its 95 % interval; None where it was not asked.
        drop: Full model minus this schedule, paired, with its 95 % interval.
        p_value: Of "it loses its tolerance or more", the largest of all that is demanded.
    """

    what: str
    schedule: "Schedule"
    flops_ratio: float
    kv_ratio: float
    score: "Interval | None" = None
    drop: "Interval | None" = None
    p_value: float | None = None


@dataclass(frozen=True)
class Request:
    """What is to be proven on which samples; equal requests have one answer.

    Attributes:
        data: Name of the samples.
        data_digest: Their content.
        metric: As the study's specification has it.
        weights: Fingerprint of the model's weights.
        tolerance: As in `Demands`.
        tasks: As in `Demands`.
        alpha: Probability of a false proof.
        per_image: Most samples that show one image.
        chain: Digest of the schedules in their order.
    """

    data: str
    data_digest: str
    metric: str
    weights: str | None
    tolerance: float | None
    tasks: Mapping[str, float]
    alpha: float
    per_image: int
    chain: str

    @property
    def demands(self) -> Demands:
        """What the schedule must not lose more than."""
        return Demands(self.tolerance, self.tasks)

    def plain(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return {**vars(self), "tasks": dict(self.tasks)}


@dataclass(frozen=True)
class Certification:
    """What came of a request.

    Attributes:
        request: What was to be proven.
        method: Of the bound and of the test.
        n: Samples.
        links: The part of the chain that was tested, in its order.
        proven: How many of them are proven: all, or all but the last.
        found: The end of the chain, with its drop on these samples, which did not choose it.
        certificate: Of the cheapest schedule that is proven; None where none is.
        needed: Where none is proven: about how many samples the mildest would have taken, had it
            lost nothing.
        attempt: Which one of its study it was, from 1.
    """

    request: Request
    method: str
    n: int
    links: tuple[Link, ...]
    proven: int
    found: Link
    certificate: Certificate | None = None
    needed: int | None = None
    attempt: int = 1

    @property
    def best(self) -> Link | None:
        """The cheapest schedule that is proven, with its certificate."""
        if not self.proven:
            return None
        best = self.links[self.proven - 1]
        return replace(best, schedule=replace(best.schedule, certificate=self.certificate))


def standing(found: Sequence[Certification]) -> Certification | None:
    """Return the latest that proved something and stands; else the latest.

    One that proves nothing takes back those before it that claim as much as it was to prove, or
    more.

    Args:
        found: All of a study, oldest first.
    """
    failed = list[Demands]()
    for one in reversed(found):
        if not one.proven:
            failed.append(one.request.demands)
        elif not any(demands.within(one.request.demands) for demands in failed):
            return one
    return found[-1] if found else None


def chain_digest(links: Iterable[Link]) -> str:
    """Return the SHA-256 (hex) of the schedules in their order."""
    return digest([link.schedule.digest() for link in links])


def claim(
    demands: Demands, metric: str, alpha: float, n: int, span: float, attempt: int = 1
) -> str:
    """Return in one sentence what is proven.

    Args:
        demands: What holds.
        metric: What is lost.
        alpha: Probability that it does not.
        n: Samples.
        span: Greatest less least score; a point is the hundredth of a span of 1.
        attempt: Which one of its study it is.
    """
    lost = [
        f"{_amount(tolerance, span)}{task and f' on {task}'}"
        for task, tolerance in demands.all.items()
    ]
    return (
        f"On samples like these, this schedule loses at most {' and '.join(lost)} of {metric} "
        f"against the full model: proven with {100 * (1 - alpha):g} % confidence on {n:,} samples "
        f"it had never seen{_among(attempt, alpha)}."
    )


def _among(attempt: int, alpha: float) -> str:
    if attempt == 1:
        return ""
    return (
        f" (attempt {attempt} of this study; that one of {attempt} attempts proves something "
        f"false has a probability of at most {min(1.0, attempt * alpha):g})"
    )


def _amount(tolerance: float, span: float) -> str:
    if span != 1:
        return f"{tolerance:g}"
    points = round(100 * tolerance, 6)
    return f"{points:.1f} points" if round(points, 1) == points else f"{points:g} points"

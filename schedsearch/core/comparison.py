"""What `schedsearch report` measures on held-out samples."""

from dataclasses import dataclass

from schedsearch.core.certificate import Certification
from schedsearch.core.intervals import Interval
from schedsearch.core.schedule import Schedule


@dataclass(frozen=True)
class Row:
    """One way to run the model on the held-out samples.

    Attributes:
        name: What reports call it.
        what: What it is, in words.
        score: Of the metric; None where this way is not available.
        difference: This row minus the one that others are paired with; None in that one's own.
        flops_ratio: As `schedsearch.core.flops.flops_ratio` defines it, over these samples.
        kv_ratio: As `schedsearch.core.flops.kv_ratio` defines it, over these samples.
        mean_keep: Mean over the layers of the share of vision tokens that they process.
        reason: Why it is not available.
    """

    name: str
    what: str
    score: Interval | None = None
    difference: Interval | None = None
    flops_ratio: float | None = None
    kv_ratio: float | None = None
    mean_keep: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Certified:
    """The certified schedule on held-out samples, where it is another than the found one.

    Attributes:
        schedule: It.
        score: Of it.
        drop: Full model minus it, paired by sample.
    """

    schedule: Schedule
    score: Interval
    drop: Interval


@dataclass(frozen=True)
class Loss:
    """What a schedule loses on samples that did not choose it.

    Attributes:
        data: Name of the samples.
        drop: Full model minus the schedule, paired by sample, with its 95 % interval.
    """

    data: str
    drop: Interval


def loss_of(proven: Certification) -> Loss:
    """What the found schedule loses on certify samples."""
    assert proven.found.drop is not None, "it is asked whatever is proven"
    return Loss(proven.request.data, proven.found.drop)


@dataclass(frozen=True)
class Comparison:
    """The found schedule beside what it has to beat.

    Attributes:
        schedule: The found one.
        data: Name of the held-out set.
        data_digest: Hash of its content.
        samples: How many there are.
        metric: Name of the metric; larger is better.
        rows: The full model, the found schedule, then baselines.
        score: Of the found schedule.
        drop: Full model minus found schedule, paired by sample.
        prefill_speedup: Measured prefill time without / with the found schedule, vision tower
            included.
        prefill_seconds: Median seconds of one prefill without and with it.
        prefill_batch: Prompts in each timed prefill.
        evaluated: Samples that were really evaluated for this, not found in the store.
        certified: The certified schedule, where there is one and it is not the found one.
    """

    schedule: Schedule
    data: str
    data_digest: str
    samples: int
    metric: str
    rows: tuple[Row, ...]
    score: Interval
    drop: Interval
    prefill_speedup: float
    prefill_seconds: tuple[float, float]
    prefill_batch: int
    evaluated: int
    certified: Certified | None = None

    @property
    def alone(self) -> bool:
        """Whether there is no baseline among the rows."""
        return len(self.rows) == 2 + (self.certified is not None)

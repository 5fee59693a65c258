"""What a search tells about itself while it runs, and what others may wish of it."""

from dataclasses import dataclass
from typing import Literal

Wish = Literal["run", "pause", "stop"]
"""To go on; to begin no other trial; to end at once. The next run begins with `run`."""


@dataclass(frozen=True)
class WorkerSeen:
    """A worker, as its coordinator saw it at a heartbeat.

    Attributes:
        node: What its machine is called.
        pid: Its process there; 0 before it has one.
        state: What it does: `waits` for room, `opens` the model, is `idle` or `works`.
        samples: Of the task that it is at.
        done: Tasks that it has done.
        silence: Seconds since it last said anything.
    """

    node: str
    pid: int
    state: Literal["waits", "opens", "idle", "works"]
    samples: int
    done: int
    silence: float


@dataclass(frozen=True)
class Progress:
    """Where a search stands, as any process may read it.

    Attributes:
        trial: Number of the trial at work; None between two.
        done: Samples of it that have a score.
        samples: Samples in all.
        phase: What is being done, in a word or two.
        layer: The layer at work, for samplers that go layer by layer.
        low: Least count that may still be the layer's answer.
        high: Greatest one.
        closed: Trials closed by this run.
        trials_left: Estimate of the trials still to close, the one at work included; None where
            no end is in sight; 0 when all are closed, and while the result is judged.
        evaluated: Samples that this run has really evaluated.
        seconds: Since the run began.
        pace: Evaluations per second since then.
        seconds_left: Estimate from the pace so far; None while there is none.
        best_flops_ratio: Of the result so far.
        best_drop: Likewise, on the calibration samples, which chose it.
        workers: Those on a cluster; empty where the coordinator evaluates itself.
    """

    trial: int | None
    done: int
    samples: int
    phase: str
    layer: int | None
    low: int | None
    high: int | None
    closed: int
    trials_left: int | None
    evaluated: int
    seconds: float
    pace: float
    seconds_left: float | None
    best_flops_ratio: float | None
    best_drop: float | None
    workers: tuple[WorkerSeen, ...] = ()

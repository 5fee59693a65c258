"""What has to be known of a model and a set, found out by all workers together."""

from typing import Any

from schedsearch.core.reading import OnProgress
from schedsearch.core.sample import Grid, Split
from schedsearch.core.subject import Subject
from schedsearch.execution.executor import Executor

_SHARES = 32
"""Enough that no worker waits long for one that opens later."""


def subject_of(
    workers: Executor,
    split: Split | None = None,
    grid: Grid | None = None,
    identity: Any = None,
    on_progress: OnProgress | None = None,
) -> Subject:
    """What a worker says of a set; its samples are encoded by all of them.

    Args:
        workers: Who have the set.
        split: Of the set; default: the first.
        grid: Patches of each image; default: images as they are.
        identity: Of the metric, where it is known.
        on_progress: Called with what is encoded, and all.

    Raises:
        SchedsearchError: What a worker raises.
    """
    named: dict[str, Any] = {"identity": identity}
    if workers.slots == 1:
        named["on_progress"] = on_progress
    else:
        calls = [(split, grid, share, _SHARES) for share in range(_SHARES)]
        named["encoded"] = []
        for done, found in enumerate(workers.ask_each("encoded", calls), 1):
            named["encoded"] += found
            if on_progress is not None:
                on_progress(done, _SHARES)
    subject: Subject = workers.ask("subject", split, grid, **named)
    return subject

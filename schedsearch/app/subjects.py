"""What has to be known of a model and a set, found out by all workers together."""

from typing import Any

from schedsearch.core.reading import OnProgress
from schedsearch.core.sample import Grid, Split
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Portion
from schedsearch.execution.executor import Executor
from schedsearch.execution.scoring import CHUNK

_ROUNDS = 2
"""Parts of a small set for each slot: no worker waits long for one that opens later."""


def subject_of(
    workers: Executor,
    split: Split | None = None,
    grid: Grid | None = None,
    identity: Any = None,
    on_progress: OnProgress | None = None,
) -> Subject:
    """What a worker says of a set; its samples are encoded by all of them, as tasks will have them.

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
        whole: Portion = workers.ask("portion", split, grid)
        ids, encoded = whole.sample_ids, named.setdefault("encoded", [])
        size = max(1, min(CHUNK, len(ids) // (_ROUNDS * workers.slots)))
        parts = [ids[start : start + size] for start in range(0, len(ids), size)]
        calls = [(whole._replace(sample_ids=part),) for part in parts]
        for found in workers.ask_each("encoded", calls):
            encoded += found
            if on_progress is not None:
                on_progress(len(encoded), len(ids))
    subject: Subject = workers.ask("subject", split, grid, **named)
    return subject

"""The executor in the process of the coordinator."""

import gc
import weakref

from schedsearch.execution.executors.local import LocalExecutor
from tests.unit.execution.synthetic import FunctionWorker, evaluate


def test_worker_is_opened_when_it_is_needed_and_its_memory_is_free_once_it_is_let_go():
    opened = []

    def open_worker() -> FunctionWorker:
        worker = FunctionWorker(evaluate)
        opened.append(weakref.ref(worker))
        return worker

    executor = LocalExecutor(open_worker)
    assert not opened
    executor.tell("__eq__", None)
    (worker,) = opened
    assert worker() is not None

    executor.close()

    gc.collect()
    assert worker() is None

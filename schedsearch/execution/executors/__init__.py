"""Executors by name: the one place that maps names to what makes a pool of workers."""

from collections.abc import Callable

from schedsearch.core.registry import Registry
from schedsearch.execution.executor import Executor, Worker

MakeExecutor = Callable[[Callable[[], Worker]], Executor]
"""Makes a pool of workers from what opens one."""

EXECUTORS: Registry[MakeExecutor] = Registry(
    "executor",
    {
        "local": "schedsearch.execution.executors.local:LocalExecutor",
        "ray": "schedsearch.execution.executors.ray:RayExecutor",
    },
)
register_executor = EXECUTORS.register

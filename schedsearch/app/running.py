"""Where a search runs: what study files and command lines say of it, made into an executor."""

from functools import partial
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from schedsearch.core.section import Count, NameIn, Section, Text
from schedsearch.core.shown import shown
from schedsearch.errors import InputError
from schedsearch.execution.cluster.options import ClusterOptions, custom_resources, some_gpus
from schedsearch.execution.executors import EXECUTORS, MakeExecutor

LOCAL, RAY = "local", "ray"


class RunConfig(Section):
    """Where the search runs; no part of the study, which goes on wherever it is run next.

    All but `executor` is for `ray`.

    Attributes:
        executor: Where schedules are evaluated: `local` in this process, `ray` by workers on a Ray
            cluster; or one that a package brings.
        address: Of the cluster, such as `auto`, `HOST:6379` or `ray://HOST:10001`; left out: what
            the variable RAY_ADDRESS names, else one is started on this machine.
        workers: The most workers; left out: as many as there is room for.
        cpus_per_worker: CPU cores of each, by Ray's count.
        gpus_per_worker: GPUs of each, or a share of one; left out: 1 where the cluster has GPUs,
            else 0.
        resources: Custom resources of each, such as `{a100: 1}`.
        runtime_env: Ray's runtime environment of each, such as `{env_vars: {HF_HOME: /models}}`.
    """

    executor: Annotated[str, NameIn(EXECUTORS)] = LOCAL
    address: Text | None = None
    workers: Count | None = None
    cpus_per_worker: float = Field(default=1, ge=0)
    gpus_per_worker: Annotated[float, Field(ge=0), AfterValidator(some_gpus)] | None = None
    resources: Annotated[dict[str, float], AfterValidator(custom_resources)] = {}
    runtime_env: dict[str, Any] = {}

    def options(self) -> dict[str, Any]:
        """What is given of `ClusterOptions`."""
        given = self.model_dump(exclude_unset=True, exclude={"executor"})
        return {key: value for key, value in given.items() if value is not None}

    @model_validator(mode="after")
    def _of_ray(self) -> Self:
        if self.executor != RAY and (given := self.options()):
            raise ValueError(f"must have `executor: {RAY}` where it has `{next(iter(given))}`")
        return self


def chosen(run: RunConfig | None = None, **asked: Any) -> str | MakeExecutor:
    """The executor to run a study with, as `open_study` takes it.

    Args:
        run: Section of the study file.
        **asked: What takes its place: `executor`, and fields of `ClusterOptions`; None where
            nothing is asked.

    Raises:
        InputError: There is no such executor, or it has no such options.
    """
    run = run or RunConfig()
    asked = {key: value for key, value in asked.items() if value is not None}
    name = EXECUTORS.check(asked.pop("executor", run.executor), "`executor`")
    if name == RAY:
        make: Any = EXECUTORS[RAY]
        return partial(make, options=ClusterOptions(**{**run.options(), **asked}))
    for key, value in asked.items():
        raise InputError(
            f"`{key}` must be left out with executor {name}, but got {shown(value)}; add "
            f"`--executor {RAY}`, or `executor: {RAY}` to `run` in the study file"
        )
    return name

"""What a pool of Ray workers is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from schedsearch.core.shown import shown
from schedsearch.errors import InputError


@dataclass(frozen=True)
class ClusterOptions:
    """Where the workers of a study run, and what each of them gets.

    Attributes:
        address: Of the cluster, such as `auto`, `HOST:6379` or `ray://HOST:10001`; None: what
            the variable RAY_ADDRESS names, else a cluster of this machine is started.
        workers: The most workers; None: as many as the cluster has room for.
        cpus_per_worker: CPU cores of each, by Ray's count.
        gpus_per_worker: GPUs of each, whole or a share of one; None: 1 where the cluster has GPUs,
            else 0.
        resources: Custom resources of each, by name.
        runtime_env: Ray's runtime environment of the workers.
        deaths: A task that has ended this many workers is tried no more: its trial fails.

    Raises:
        InputError: Ray can give no such workers.
    """

    address: str | None = None
    workers: int | None = None
    cpus_per_worker: float = 1
    gpus_per_worker: float | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    deaths: int = 3

    def __post_init__(self) -> None:
        for key, least in (("workers", 1), ("cpus_per_worker", 0), ("deaths", 1)):
            if (value := getattr(self, key)) is not None and not value >= least:
                raise InputError(
                    f"`{key}` must be at least {least}, but got {shown(value)}; raise it"
                )
        for key, check in (("gpus_per_worker", some_gpus), ("resources", custom_resources)):
            try:
                check(getattr(self, key))
            except ValueError as error:
                raise InputError(
                    f"`{key}` {error}, but got {shown(getattr(self, key))}; correct it"
                ) from None


def some_gpus(gpus: float | None) -> float | None:
    """A number of GPUs that Ray can give to one worker, or None.

    Raises:
        ValueError: It can not.
    """
    if gpus is not None and (not gpus >= 0 or (gpus > 1 and gpus % 1)):
        raise ValueError("must be a whole number, or a share of one GPU")
    return gpus


def custom_resources(resources: Mapping[str, float]) -> Mapping[str, float]:
    """What a worker needs beside CPUs and GPUs.

    Raises:
        ValueError: These are among it, or there is nothing of something.
    """
    if {"CPU", "GPU"} & {*resources}:
        raise ValueError("must be without CPU and GPU, which have keys of their own")
    if not all(amount > 0 for amount in resources.values()):
        raise ValueError("must be above 0 each")
    return resources

"""What a pool of Ray workers is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
    """

    address: str | None = None
    workers: int | None = None
    cpus_per_worker: float = 1
    gpus_per_worker: float | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    deaths: int = 3

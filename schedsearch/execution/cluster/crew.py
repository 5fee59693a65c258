"""The workers of a search on a Ray cluster: how many there are, and how they come and go."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray

from schedsearch.errors import InputError, RunError
from schedsearch.execution.cluster.connection import NAMESPACE
from schedsearch.execution.cluster.host import SIGNS, Host, Place
from schedsearch.execution.cluster.options import ClusterOptions
from schedsearch.execution.cluster.sharing import Badge, fair_share, others, room, waits_for
from schedsearch.store.terms import lease_seconds

log = logging.getLogger(__name__)

_LOOK = 2.0
"""Seconds between looks at the cluster."""

_LEAST_SILENCE = 10.0
"""Seconds without a sign of the coordinator for which its workers stay at least."""

_SILENT = 10.0
"""Seconds without any worker after which it is said what is waited for."""

_DEVICES = "CUDA_VISIBLE_DEVICES"

_SHOWN = 300
"""Characters of what a worker's end was said to be."""

_LONGEST_PAUSE = 60.0
"""Seconds at most before others are opened where one could not be; each pause doubles the next."""


@dataclass(eq=False)
class Member:
    """A worker.

    Attributes:
        name: Unique in the cluster.
        actor: Ray's handle.
        place: Where it is, once that is known.
        placed: When it was, by the monotonic clock.
        ready: Whether it is open and can be asked.
        released: Whether it goes as soon as it has nothing to do.
        heard: When it last said anything, by the monotonic clock; 0 before.
    """

    name: str
    actor: Any
    place: Place | None = None
    placed: float = 0.0
    ready: bool = False
    released: bool = False
    heard: float = 0.0

    @property
    def where(self) -> str:
        """What messages call its place."""
        return self.place.name if self.place else "a node"

    def opening(self, now: float) -> float:
        """For how many seconds it has been opening; 0 where it waits for room, or is open."""
        return now - self.placed if self.place and not self.ready else 0.0


class Crew:
    """Makes workers while there is room for them, and names those that others need.

    Args:
        options: What each worker gets, and how many there may be.
    """

    def __init__(self, options: ClusterOptions) -> None:
        self.members: dict[str, Member] = {}
        self.target = 1
        self._options = options
        self._badge = Badge(options.workers or 0)
        self._needs: dict[str, float] = {}
        self._made = 0
        self._next_look = self._not_before = float("-inf")
        self._alone_since: float | None = None
        self._lost_opening = 0
        self._pause = 0.0
        self._nodes: set[str] = set()
        self._said = ""

    def tend(self, now: float) -> list[Member]:
        """Workers that have been made, if it is time to look whether there is room."""
        if now < self._next_look:
            return []
        self._next_look = now + _LOOK
        for member in self.members.values():
            if member.place:  # calls would wait for one that has yet to start
                member.actor.sign.remote()
        try:
            nodes = ray.nodes()  # type: ignore[no-untyped-call]
            named = ray.util.list_named_actors(all_namespaces=True)
        except (ray.exceptions.RayError, OSError) as error:
            self._warn_once(f"the cluster does not say what is on it: {error}")
            return []
        self._needs = self._needs or self._resources(nodes)
        space = room(nodes, self._needs)
        names = [one["name"] for one in named if one["namespace"] == NAMESPACE]
        wanted, own = others(names, self._badge.search), self._badge
        rivals = len(wanted)
        self.target = own.wanted
        if rivals or not own.wanted:  # else nodes may come only when all are asked for
            self.target = fair_share(space, {**wanted, own.search: own.wanted}, own.search)
        self._say_what_is_missing(now, space, rivals)
        alive = {node["NodeID"] for node in nodes if node["Alive"]}
        if now < self._not_before and alive <= self._nodes:
            return []
        self._nodes = alive
        return [self._make() for _ in range(self.target - len(self._staying))]

    def surplus(self) -> list[Member]:
        """Workers that others need more; those that are not ready yet come first."""
        staying = sorted(self._staying, key=lambda one: one.ready)
        return staying[: max(0, len(staying) - self.target)]

    def opened(self, member: Member) -> None:
        """Note that a worker is ready."""
        member.ready = True
        self._lost_opening = 0
        self._pause = 0.0

    def lost(self, member: Member, now: float, reason: str, blamed: bool) -> None:
        """Forget a worker that has died; another one takes its place, at once if it was ready.

        Raises:
            RunError: None can be opened.
        """
        self.dismiss(member)
        if member.ready:
            self._next_look = self._not_before = now
            return
        self._lost_opening += blamed
        hopeful = any(one.ready or one.place for one in self.members.values())
        if self._lost_opening >= self._options.deaths and not hopeful:
            raise RunError(
                f"no worker can be opened: {self._lost_opening} have ended before they were ready, "
                f"the last on {member.where}: {reason}; remove the cause and run again"
            )
        if now >= self._not_before:  # the first of those that were made at once
            self._pause = min(_LONGEST_PAUSE, 2 * self._pause or _LOOK)
            self._not_before = now + self._pause

    def dismiss(self, member: Member) -> None:
        """End a worker."""
        self.members.pop(member.name, None)
        with suppress(Exception):  # of a cluster that is gone; it would start another one, too
            if ray.is_initialized():
                ray.kill(member.actor)

    @property
    def _staying(self) -> list[Member]:
        return [one for one in self.members.values() if not one.released]

    def _resources(self, nodes: list[dict[str, Any]]) -> dict[str, float]:
        options = self._options
        gpus = options.gpus_per_worker
        if gpus is None:
            gpus = float(any(node["Resources"].get("GPU") for node in nodes if node["Alive"]))
        needs = {"CPU": options.cpus_per_worker, "GPU": gpus, **options.resources}
        needs = {name: need for name, need in needs.items() if need}
        if not needs:
            raise InputError(
                "a worker must need something of its node, but got `cpus_per_worker` 0 and no GPU; "
                "raise one"
            )
        return needs

    def _make(self) -> Member:
        self._made += 1
        name, needs = self._badge.name(self._made), dict(self._needs)
        environment = self._options.runtime_env
        hidden = "GPU" not in needs and _DEVICES not in environment.get("env_vars", {})
        grouped: Any = ray.remote
        made = grouped(concurrency_groups={SIGNS: 1})(Host).options(
            name=name,
            namespace=NAMESPACE,
            num_cpus=needs.pop("CPU", 0),
            num_gpus=needs.pop("GPU", 0),
            resources=needs,
            runtime_env=dict(environment) or None,
            max_restarts=0,
            max_task_retries=0,
        )
        silence = max(_LEAST_SILENCE, 2 * lease_seconds())
        member = self.members[name] = Member(name, made.remote(silence, hidden))
        return member

    def _say_what_is_missing(self, now: float, space: int, rivals: int) -> None:
        if any(member.place for member in self.members.values()):
            self._alone_since, self._said = None, ""
            return
        if self._alone_since is None:
            self._alone_since = now
        if now < self._alone_since + _SILENT:
            return
        free = ray.available_resources()  # type: ignore[no-untyped-call]
        whole = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self._warn_once(waits_for(self._needs, space, free, whole, rivals))

    def _warn_once(self, said: str) -> None:
        if said != self._said:
            log.warning("%s", said)
            self._said = said


def follow(ref: Any, then: Callable[[Any, Exception | None], None]) -> None:
    """Call, in a thread of Ray, with what becomes of a reference: its value or an error."""

    def done(future: Any) -> None:
        error = future.exception()
        then(None if error else future.result(), error)

    ref.future().add_done_callback(done)


def cause(error: Exception) -> tuple[str, bool]:
    """Why a worker is gone, and whether what it did may be the reason."""
    text = str(error)
    if getattr(error, "preempted", False):
        return "its node was preempted", False
    if "node has died" in text or "node failure" in text or "node was terminated" in text.lower():
        return "its node has died", False
    if isinstance(error, ray.exceptions.ActorUnavailableError):
        return "its node cannot be reached", False
    if "OutOfMemory" in text or "low on memory" in text:
        return "it was killed because the node ran out of memory", True
    if isinstance(error, ray.exceptions.ActorDiedError):
        if getattr(error, "actor_init_failed", False):
            return text.strip().splitlines()[-1], True
        return "its process has died", True
    found = getattr(error, "cause", None) or error
    return " ".join(str(found).split())[-_SHOWN:] or type(found).__name__, True

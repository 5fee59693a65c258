"""Joining a Ray cluster, or starting one on this machine."""

import logging
import os
import socket

import ray

from schedsearch.errors import RunError

NAMESPACE = "schedsearch"
"""Of all workers, so that searches see each other's."""

_SHOWN = 400
"""Characters of what Ray says."""

_SECONDS = 10.0
"""For which a cluster may take to answer at all."""

_TRIES = 3
"""How often a head is asked to let a client in."""

log = logging.getLogger(__name__)


_users = 0
"""Executors of this process that have joined a cluster by `connect`, and not left it."""


def connect(address: str | None) -> None:
    """Join the cluster, to `leave` it later; one that this process has joined is taken as it is.

    Args:
        address: As in `ClusterOptions`.

    Raises:
        RunError: It cannot be joined.
    """
    global _users
    if ray.is_initialized():
        _users += bool(_users)  # else it is somebody else's to leave
        return
    asked = address or os.environ.get("RAY_ADDRESS") or None
    log.info("joining %s", f"the Ray cluster at {asked}" if asked else "a Ray cluster of its own")
    try:
        if asked and ":" in asked:
            knock(asked.removeprefix("ray://"))
        _join(asked or "local")  # Ray would join whichever it finds traces of
    except Exception as error:  # Ray raises whatever, Exception itself where it starts too slowly
        remedy = (
            "start one with `ray start --head`, or leave `address` out; where it asks for a token, "
            "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        )
        raise RunError(
            f"no Ray cluster could be joined at {asked or 'this machine'}: {said(error)}; {remedy}"
        ) from None
    _users += 1


def _join(address: str) -> None:
    """Join a cluster; a head begins a process for each client, which may fail to come up."""
    for left in range(_TRIES if address.startswith("ray://") else 1)[::-1]:
        try:
            ray.init(
                address=address,
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
                include_dashboard=False if address == "local" else None,
            )
            return
        except ConnectionAbortedError as error:  # not where it does not answer, or wants a token
            if not left:
                raise
            log.warning("%s lets nobody in yet (%s); it is asked again", address, said(error))


def leave() -> None:
    """Leave the cluster with the last of those that joined it here; one started here ends."""
    global _users
    if _users:
        _users -= 1
        if not _users:
            ray.shutdown()


def knock(address: str) -> None:
    """See that somebody listens at HOST:PORT; Ray itself would try for minutes.

    Raises:
        OSError: Nobody is there.
        ValueError: It is no address.
    """
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS).close()


def said(error: BaseException) -> str:
    """What Ray or the system says, in one line."""
    words = isinstance(error, OSError) and error.strerror or str(error)
    return without_traceback(words)[:_SHOWN] or type(error).__name__


def without_traceback(message: str) -> str:
    """What Ray says, in a line: of a traceback its last line alone."""
    before, found, traced = message.partition("Traceback (most recent call last)")
    lines = [*before.splitlines()[:1], *traced.strip().splitlines()[-1:]] if found else [message]
    return " ".join(" ".join(lines).split())

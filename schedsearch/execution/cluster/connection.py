"""Joining a Ray cluster, or starting one on this machine."""

import logging
import os
import socket

import ray

from schedsearch.errors import RunError

NAMESPACE = "schedsearch"
"""Of all workers, so that searches see each other's."""

_SECONDS = 10.0
"""For which a cluster may take to answer at all."""

log = logging.getLogger(__name__)


def connect(address: str | None) -> bool:
    """Join the cluster; one that this process has joined already is taken as it is.

    Args:
        address: As in `ClusterOptions`.

    Returns:
        Whether it was joined here, and is to be left.

    Raises:
        RunError: It cannot be joined.
    """
    if ray.is_initialized():
        return False
    asked = address or os.environ.get("RAY_ADDRESS") or None
    log.info("joining %s", f"the Ray cluster at {asked}" if asked else "a Ray cluster of its own")
    local = asked in (None, "local")
    try:
        if asked and ":" in asked:
            _knock(asked.removeprefix("ray://"))
        ray.init(
            address=asked or "local",  # Ray would join whichever it finds traces of
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
            include_dashboard=False if local else None,
        )
    except Exception as error:  # Ray raises whatever, Exception itself where it starts too slowly
        remedy = (
            "start one with `ray start --head`, or leave `address` out; where it asks for a token, "
            "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        )
        raise RunError(
            f"no Ray cluster could be joined at {asked or 'this machine'}: {_first_line(error)}; "
            f"{remedy}"
        ) from None
    return True


def leave() -> None:
    """Leave the cluster; one that was started here ends."""
    ray.shutdown()


def _knock(address: str) -> None:
    """Ray itself would try for minutes.

    Raises:
        OSError: Nobody is there.
        ValueError: It is no address.
    """
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS).close()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

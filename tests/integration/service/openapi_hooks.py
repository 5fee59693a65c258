"""What schemathesis is told of the service: see test_openapi.py."""

import os
from typing import Any

import schemathesis

OWN, KEPT = os.environ["FUZZED_TOKEN"], os.environ["FUZZED_STUDIES"].split()


@schemathesis.serializer("application/x-tar", "application/gzip", "application/zip")
def archive(_context: Any, value: Any) -> bytes:
    """Whatever comes: nobody generates an archive."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@schemathesis.hook
def before_call(_context: Any, case: Any, _options: Any) -> None:
    """Let nobody revoke the token that asks, or delete the studies that have trials."""
    given = case.path_parameters
    if case.method == "DELETE" and str(given.get("token")) == OWN:
        given["token"] = 1
    if case.method == "DELETE" and given.get("name") in KEPT:
        given["name"] = "s0"

"""What is wrong with a compose file, as far as it can be known without an engine."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.launch.images import floating

_SECRET = ("PASSWORD", "TOKEN", "SCHEDSEARCH_STORE")


def problems(file: Path) -> Iterator[str]:
    """What is wrong with it."""
    checker = Path(sys.executable).parent / "check-jsonschema"
    ran = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", file], capture_output=True, text=True
    )
    if ran.returncode:
        yield ran.stdout
    services = yaml.safe_load(file.read_text())["services"]
    for name, service in services.items():
        if "image" not in service or floating(service["image"]):
            yield f"{name}: {service.get('image')} is a floating tag"
        for variable, value in service.get("environment", {}).items():
            if any(word in variable for word in _SECRET) and variable != "RAY_AUTH_MODE":
                if ":?" not in value:
                    yield f"{name}: {variable} must come from outside, and be asked for"
        if "healthcheck" not in service and name not in _BY_IMAGE:
            yield f"{name}: nothing says whether it is well"
        for other, waits in service.get("depends_on", {}).items():
            if other not in services or waits.get("condition") != "service_healthy":
                yield f"{name}: must wait until {other} is well"
        if "image" in service and service["image"].startswith("schedsearch:"):
            if not (service.get("read_only") and service.get("cap_drop") == ["ALL"]):
                yield f"{name}: must have a read-only root and no capabilities"


_BY_IMAGE = ("service",)
"""Whose image says itself whether it is well."""

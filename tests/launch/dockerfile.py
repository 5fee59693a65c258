"""The steps of a Dockerfile, run as a script: below a folder in place of a root file system.

Instructions of ours are known and no others. What stands for an image's root is a folder of its
own, by which the absolute paths of the file are replaced; the base is a bare virtual environment.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.launch.images import floating

PLACES = ("/opt/schedsearch", "/src", "/data", "/models", "/etc/passwd")
"""Paths that the file makes."""

_TOOLS = re.compile(r"\b(apt-get|apk|gcc|pip install)\b")


@dataclass(frozen=True)
class Step:
    """An instruction, with its arguments in one line."""

    stage: int
    name: str
    text: str


def steps(file: Path) -> list[Step]:
    """The instructions of a Dockerfile in their order; those before the first FROM are stage 0."""
    lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found, stage = list[Step](), 0
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        stage += name == "FROM"
        found.append(Step(stage, name, rest.strip()))
    return found


def problems(file: Path) -> Iterator[str]:
    """What is wrong with a Dockerfile, as far as it can be known without an engine."""
    linter = Path(sys.executable).parent / "hadolint"
    ran = subprocess.run([linter, "--no-fail", file], capture_output=True, text=True)
    yield from filter(None, ran.stdout.splitlines())
    found = steps(file)
    arguments = dict(_assigned(one.text) for one in found if one.name == "ARG")
    last = found[-1].stage
    final = [one for one in found if one.stage == last]
    for one in found:
        if one.name == "FROM":
            image = _expanded(one.text.split(" AS ")[0], arguments)
            if floating(image):
                yield f"{image} is a floating tag"
        if one.name == "RUN" and "install" in one.text and "pip" in one.text:
            if "install" in shlex.split(one.text) and "-c constraints.txt" not in one.text:
                if "pip" in one.text.split("install")[0]:
                    yield f"not what constraints.txt says: {one.text}"
        if any(word in one.text for word in ("PASSWORD", "TOKEN", "SCHEDSEARCH_STORE")):
            yield f"a secret has no place in an image: {one.text}"
    if last < 2 or any(one.name == "RUN" and _TOOLS.search(one.text) for one in final):
        yield "the last stage must have no tools to build with"
    user = [one.text for one in final if one.name == "USER"]
    if not user or user[-1].split(":")[0] in ("root", "0"):
        yield "the image must not run as root"
    if not any(one.name == "HEALTHCHECK" for one in final):
        yield "nothing says whether the service is well"


def run(
    file: Path, context: Path, root: Path, environment: Mapping[str, str], lent: str = ""
) -> dict[str, str]:
    """Run the steps; returns the environment that a container would have.

    Args:
        file: The Dockerfile.
        context: Folder that is built.
        root: Empty; stands for the root of the image.
        environment: For all steps, such as build arguments.
        lent: Packages that steps of the image's own Python have besides.

    Raises:
        AssertionError: A step fails.
    """
    bare = root / "bare"
    subprocess.run([sys.executable, "-m", "virtualenv", "--quiet", bare], check=True)
    own = {"PATH": f"{bare}/bin:{os.environ['PATH']}", "HOME": str(root), **environment}
    (root / "etc").mkdir()
    (root / "etc/passwd").touch()
    here = root
    for one in steps(file):
        if one.name == "FROM":
            here = root
        elif one.name == "ARG":
            own.setdefault(*_assigned(one.text))
        elif one.name == "WORKDIR":
            here = Path(_below(one.text, root))
            here.mkdir(parents=True, exist_ok=True)
        elif one.name == "COPY" and not one.text.startswith("--from"):
            *sources, target = one.text.split()
            for source in sources:
                found = context / source
                goal = here / target if found.is_dir() else here / target / source
                copied = subprocess.run(["cp", "-r", found, goal], capture_output=True, text=True)
                assert copied.returncode == 0, copied.stderr
        elif one.name == "ENV":
            for assignment in shlex.split(one.text):
                name, value = _assigned(_below(assignment, root))
                own[name] = f"{value}:{bare}/bin" if name == "PATH" else value
        elif one.name == "RUN":
            ours = lent and one.text.startswith("/opt/schedsearch/bin/python")
            ran = subprocess.run(
                ["/bin/sh", "-c", _below(one.text, root)],
                cwd=here,
                env={**own, "PYTHONPATH": lent} if ours else own,
                capture_output=True,
                text=True,
            )
            assert ran.returncode == 0, f"{one.text}: {ran.stdout}{ran.stderr}"
    return own


def command(file: Path, name: str, root: Path) -> list[str]:
    """What ENTRYPOINT, CMD or HEALTHCHECK runs."""
    text = next(one.text for one in steps(file) if one.name == name)
    words: list[str] = json.loads(_below(text[text.index("[") :], root))
    return words


def _below(text: str, root: Path) -> str:
    for place in PLACES:
        text = re.sub(rf"(?<![\w.]){place}\b", f"{root}{place}", text)
    return text


def _assigned(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _expanded(text: str, arguments: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], text)

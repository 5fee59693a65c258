"""The image: what can be known of it without an engine."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from schedsearch.version import VERSION
from tests.launch.dockerfile import command, problems, run

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker/Dockerfile"


def test_nothing_is_wrong_with_the_dockerfile():
    assert list(problems(FILE)) == []


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ("@sha256:a36c24f9", "@sha256:x", "floating tag"),
        (":3.11-slim-bookworm@sha256:", ":latest #", "floating tag"),
        ("-c constraints.txt ", "", "not what constraints.txt says"),
        ("USER 10001:10001", "USER root", "not run as root"),
        ("WORKDIR /data", "WORKDIR data", "DL3000"),
        ("ARG VARIANT=cpu", "ARG RAY_AUTH_TOKEN=secret", "a secret has no place"),
        ("HEALTHCHECK", "LABEL health=", "whether the service is well"),
        ("install -d -o", "apt-get install gcc; install -d -o", "no tools to build with"),
    ],
)
def test_a_planted_mistake_is_found(tmp_path, right, wrong, expected):
    text = FILE.read_text()
    assert right in text
    planted = tmp_path / "Dockerfile"
    planted.write_text(text.replace(right, wrong))
    assert any(expected in problem for problem in problems(planted))


def context(folder: Path) -> Path:
    """What an engine would be sent: the files that git knows, and `Dockerfile.dockerignore`'s."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *kept()], cwd=ROOT, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def kept() -> list[str]:
    """What the ignore file takes out of what it ignores."""
    lines = (FILE.parent / f"{FILE.name}.dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    return [line[1:] for line in lines if line.startswith("!")]


def image(tmp_path, lent="", **environment):
    sent, root = tmp_path / "context", tmp_path / "root"
    sent.mkdir()
    root.mkdir()
    return root, run(FILE, context(sent), root, environment, lent)


def version(own):
    ran = subprocess.run(["schedsearch", "--version"], env=own, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.mark.full
def test_the_steps_install_the_package_from_what_is_sent(tmp_path):
    # The dependencies are those of this environment, so that nothing but the package is installed.
    here = sysconfig.get_path("purelib")
    root, own = image(tmp_path, here, PIP_NO_DEPS="1", PIP_NO_COMPILE="1")
    assert own["HF_HOME"] == f"{root}/models"
    assert version({**own, "PYTHONPATH": here}) == f"schedsearch {VERSION}"
    packages = (root / "opt/schedsearch/packages.txt").read_text().splitlines()
    assert [line.split(" @ ")[0] for line in packages] == ["schedsearch"]
    (installed,) = (root / "opt/schedsearch/lib").glob("*/site-packages/schedsearch")
    assert (installed / "demo/checkpoint/config.json").exists()
    assert not (root / "bare/bin/pip").exists()


def test_an_image_of_another_variant_than_asked_for_is_not_made(tmp_path):
    line = next(line for line in FILE.read_text().splitlines() if "torch.version.cuda" in line)
    file = tmp_path / "Dockerfile"
    file.write_text(
        f"FROM base\nARG VARIANT=cuda\nRUN python -m venv --without-pip /opt/schedsearch\n{line}\n"
    )
    here = sysconfig.get_path("purelib")
    (tmp_path / "root").mkdir()
    with pytest.raises(AssertionError, match="torch is not of the variant cuda"):
        run(file, tmp_path, tmp_path / "root", {}, here)


@pytest.mark.full
def test_the_steps_make_a_service_in_a_bare_environment(tmp_path):
    """Downloads all that is installed: minutes."""
    environment = {key: os.environ[key] for key in os.environ if key.startswith("PIP_")}
    root, own = image(tmp_path, **environment)
    constraints = (ROOT / "constraints.txt").read_text().lower().replace("_", "-").split()
    for line in (root / "opt/schedsearch/packages.txt").read_text().split("\n"):
        name = line.partition("+cpu")[0].lower().replace("_", "-")
        assert not name or "schedsearch @" in name or name in constraints, name
    assert version(own) == f"schedsearch {VERSION}"
    store = {**own, "SCHEDSEARCH_STORE": str(root / "data/store.db")}
    token = ["schedsearch", "token", "create", "me", "--scope", "admin"]
    assert subprocess.run(token, env=store, capture_output=True).returncode == 0
    served = subprocess.Popen(
        [*command(FILE, "ENTRYPOINT", root), *command(FILE, "CMD", root)], env=store
    )
    try:
        well = command(FILE, "HEALTHCHECK", root)
        for _ in range(60):
            asked = subprocess.run(well, env=store, capture_output=True)
            if asked.returncode == 0:
                break
            assert served.poll() is None
            subprocess.run(["sleep", "1"])
        assert asked.returncode == 0, asked.stderr
    finally:
        served.terminate()
        served.wait(30)


def test_this_interpreter_is_one_that_the_image_has():
    assert f"python:{sys.version_info[0]}.{sys.version_info[1]}-" in FILE.read_text()

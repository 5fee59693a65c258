"""What docs/service.md and docs/client.md tell a newcomer to type, typed."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from schedsearch.core.schedule import Schedule
from tests.e2e.test_service import serving

DOCS = Path(__file__).parents[2] / "docs"


def typed(commands: str, folder: Path, variables: Mapping[str, str] | None = None) -> str:
    """Type commands in a folder; return what they print."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(DOCS.parent),
    }
    ended = subprocess.run(
        ["bash", "-e", "-c", commands],
        cwd=folder,
        env=environment | (variables or {}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.full
def test_commands_of_the_page_end_with_a_schedule(tmp_path, free_port):
    page = (DOCS / "service.md").read_text()
    install, *commands = re.findall(r"```sh\n(.*?)```", page, re.S)
    assert install.startswith("pip install"), "which is done here"
    script = "".join(["trap 'kill %1' EXIT\n", *commands]).replace("8000", str(free_port))
    said = typed(script, tmp_path)
    assert min(Schedule.load(tmp_path / "schedule.json").keep) < 1
    assert "proven with 95 % confidence" in said


@pytest.mark.full
def test_code_of_the_client_page_ends_with_a_schedule(tmp_path):
    page = (DOCS / "client.md").read_text()
    [code], [commands] = (
        re.findall(rf"```{kind}\n(.*?)```", page, re.S) for kind in ("python", "sh")
    )
    study = re.search(r"^study: .*?(?=^EOF)", (DOCS / "service.md").read_text(), re.S | re.M)
    (tmp_path / "study.yaml").write_text(study.group())
    (tmp_path / "client.py").write_text(code)
    with serving(tmp_path) as service:
        own = {"SCHEDSEARCH_SERVER": service.url, "SCHEDSEARCH_TOKEN": service.token}
        assert "state='running'" in typed("python client.py", tmp_path, own)
        assert min(Schedule.load(tmp_path / "schedule.json").keep) < 1
        commands = commands.replace("https://HOST/PATH", service.url)
        said = typed(commands.replace("STUDY", "first").replace("...", service.token), tmp_path)
    assert "proven with 95 % confidence" in said

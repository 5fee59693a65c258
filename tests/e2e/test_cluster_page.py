"""What docs/cluster.md tells a newcomer to type, typed: two nodes, a token, a search."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from schedsearch.core.schedule import Schedule

PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"


@pytest.fixture
def site():
    """A folder under a short path, as sockets need; what was started with it for its home ends."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    yield folder
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("HOME") == str(folder):
                process.kill()
    shutil.rmtree(folder)


@pytest.mark.full
def test_commands_of_the_page_find_a_schedule_on_two_nodes(site):
    install, head, second, search, *_ = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.S)
    assert install.startswith("pip install"), "which is done here"
    type_in(site, "head", head)
    (site / "second").mkdir()
    shutil.copy(site / "head" / "token", site / "second" / "token")
    type_in(site, "second", second, HEAD="127.0.0.1")
    shown = type_in(site, "head", search)
    schedule = Schedule.load(site / "head" / "schedule.json")
    assert min(schedule.keep) < 1, shown


def type_in(site: Path, node: str, commands: str, **env: str) -> str:
    folder = site / node
    folder.mkdir(exist_ok=True)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(site),
        "RAY_TMPDIR": str(site),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(PAGE.parents[1]),
    }
    if (folder / "token").exists():  # as the terminal has it that the first commands were typed in
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    ended = subprocess.run(
        ["bash", "-e", "-c", commands],
        cwd=folder,
        env=environment | env,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout

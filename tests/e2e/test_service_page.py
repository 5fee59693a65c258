"""What docs/service.md tells a newcomer to type, typed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from schedsearch.core.schedule import Schedule

PAGE = Path(__file__).parents[2] / "docs" / "service.md"


@pytest.mark.full
def test_commands_of_the_page_end_with_a_schedule(tmp_path, free_port):
    install, *commands = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.S)
    assert install.startswith("pip install"), "which is done here"
    typed = "".join(["trap 'kill %1' EXIT\n", *commands]).replace("8000", str(free_port))
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(PAGE.parents[1]),
    }
    ended = subprocess.run(
        ["bash", "-e", "-c", typed],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert min(Schedule.load(tmp_path / "schedule.json").keep) < 1
    assert "proven with 95 % confidence" in ended.stdout

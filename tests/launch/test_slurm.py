"""The script for Slurm, with real Ray nodes, on this machine: what starts them is a stub."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from schedsearch.store.store import open_store

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docker/slurm/search.sbatch"
STUBS = Path(__file__).parent / "stubs"
BIN = Path(sys.executable).parent

STUDY = """
study: small
model: demo
data:
  calibration: demo:calibration
  calibration_samples: 12
metric: exact_match
search: {tolerance: 1, floor: 60, first: 7}
"""


def environment(folder: Path, job: int) -> dict[str, str]:
    """What Slurm and the user have set."""
    return {
        **os.environ,
        "PATH": f"{STUBS}:{BIN}:{os.environ['PATH']}",
        "STUDY": str(folder / "study.yaml"),
        "SCHEDSEARCH_STORE": str(folder / "store.db"),
        "SLURM_JOB_NODELIST": "first,second",
        "SLURM_JOB_ID": str(job),
        "SLURM_CPUS_PER_TASK": "1",
        "STUB_LOG": str(folder / "srun.log"),
    }


def launched(folder: Path, job: int) -> subprocess.Popen[str]:
    (folder / "study.yaml").write_text(STUDY)
    return subprocess.Popen(
        ["bash", SCRIPT],
        env=environment(folder, job),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def left(folder: Path) -> list[str]:
    """Processes that a job in this folder has started and that are still there."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"STUB_LOG={folder}/".encode() in (place / "environ").read_bytes():
                found.append((place / "cmdline").read_text())
    return [one for one in found if one]


def gone(folder: Path) -> bool:
    """Whether nothing of a job is left, after a while."""
    for _ in range(100):
        if not left(folder):
            return True
        time.sleep(0.2)
    return False


def test_the_script_is_what_the_linter_accepts():
    ran = subprocess.run([BIN / "shellcheck", SCRIPT, *STUBS.iterdir()], capture_output=True)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize(
    ("right", "wrong"),
    [('--nodelist="$head"', "--nodelist=$head"), ("#!/bin/bash", ""), ('"${steps[@]}"', "$steps")],
)
def test_the_linter_finds_a_planted_mistake(tmp_path, right, wrong):
    planted, text = tmp_path / "search.sbatch", SCRIPT.read_text()
    assert right in text
    planted.write_text(text.replace(right, wrong))
    assert subprocess.run([BIN / "shellcheck", planted], capture_output=True).returncode == 1


@pytest.mark.parametrize("missing", ["STUDY", "SCHEDSEARCH_STORE"])
def test_nothing_starts_without_a_study_or_a_store(tmp_path, missing):
    given = environment(tmp_path, 1)
    del given[missing]
    ran = subprocess.run(["bash", SCRIPT], env=given, capture_output=True, text=True)
    assert ran.returncode != 0
    assert missing in ran.stderr
    assert not (tmp_path / "srun.log").exists()


@pytest.mark.full
def test_a_search_ends_on_the_nodes_of_an_allocation_and_leaves_nothing(tmp_path):
    job = launched(tmp_path, os.getpid())
    said, _ = job.communicate(timeout=300)
    assert job.returncode == 0, said
    with open_store(tmp_path / "store.db", read_only=True) as store:
        (study,) = store.studies()
        assert {trial.state.value for trial in store.trials("small")} == {"COMPLETE"}
        assert study.holder is None
    steps = (tmp_path / "srun.log").read_text()
    assert "--nodes=1 --ntasks=1 --exclude=first ray start" in steps
    assert "token" not in steps.lower()
    assert gone(tmp_path), left(tmp_path)


@pytest.mark.full
def test_a_job_that_is_cancelled_ends_all_that_it_started(tmp_path):
    job = launched(tmp_path, os.getpid() + 1)
    for _ in range(600):
        log = tmp_path / "srun.log"
        if log.exists() and "schedsearch search" in log.read_text():
            break
        time.sleep(0.2)
    job.send_signal(signal.SIGTERM)
    said, _ = job.communicate(timeout=120)
    assert job.returncode == 143, said
    assert gone(tmp_path), left(tmp_path)

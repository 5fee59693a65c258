"""Coordinators as jobs of a real Ray cluster that asks for a token."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from ray._private.authentication_test_utils import reset_auth_token_state

from schedsearch.app.config import check_study
from schedsearch.app.launching import Launching
from schedsearch.app.parcel import STUDY, pack
from schedsearch.app.permitted import Permitted
from schedsearch.app.submitting import PYTHON, RayBackend, submit
from schedsearch.errors import RunError
from schedsearch.execution.cluster.jobs import Jobs, job_id
from schedsearch.store.process import Process
from schedsearch.store.store import find_store, open_store
from tests.archives import png, rows
from tests.ports import unused_port

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[2]
PASSING = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")
SECONDS = 480


class Site:
    """A cluster of one node, on which the store is named by the environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store.db"
        self.address = f"http://127.0.0.1:{unused_port()}"
        (folder / "token").write_text("a-token-of-this-test-alone-0123456789")
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "RAY_TMPDIR": str(folder),
            "SCHEDSEARCH_STORE": str(self.store),
        }
        port = self.address.rpartition(":")[2]
        head = ["--head", f"--port={unused_port()}", f"--dashboard-port={port}", "--num-cpus=2"]
        command = [str(Path(sys.executable).with_name("ray")), "start", *head]
        subprocess.run(
            [*command, "--disable-usage-stats"], env=self.env, check=True, capture_output=True
        )

    def is_ready(self) -> bool:
        """Whether it takes jobs: the agents of its nodes come up last."""
        (self.folder / "empty").mkdir(exist_ok=True)
        with suppress(RunError):
            Jobs(self.address).submit("first", "", ["true"], self.folder / "empty", {})
            return True
        return False

    def submit(self, name: str, samples: int = 60) -> str:
        return submit(Jobs(self.address), study(name, samples), self.folder, None, workers=1)

    def ended(self, id: str):
        return until(lambda: (job := Jobs(self.address).find(id)) and job.has_ended and job)

    def coordinator(self, name: str, trials: int) -> Process:
        """The process that searches a study, once so many trials are closed."""

        def look():
            if (store := find_store(self.store)) is None:
                return None
            with store:
                found = [one for one in store.studies() if one.spec.name == name]
                closed = [one for one in store.trials(name) if one.state.finished] if found else []
                return found[0].holder if len(closed) >= trials and found else None

        return until(look)

    def trials(self, name: str):
        with open_store(self.store, read_only=True) as store:
            return store.trials(name)


def until(look):
    end = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < end, "that takes too long"
        time.sleep(0.2)
    return found


def study(name: str, samples: int, **more: object):
    data = {"calibration": "demo:calibration", "calibration_samples": samples}
    search = {"tolerance": 0.05, "first": 1}
    asked = {"study": name, "model": "demo", "data": data, "ranker": "local", "search": search}
    return check_study({**asked, **more}, "study")


@pytest.fixture(scope="module")
def site():
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # sockets need a short path
    with pytest.MonkeyPatch.context() as patch:
        made = None
        try:
            made = Site(folder)
            for name in PASSING:
                patch.setenv(name, made.env[name])
            reset_auth_token_state()  # Ray has read the environment when it was imported
            until(made.is_ready)
            yield made
        finally:
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    if process.environ().get("HOME") == str(folder):
                        process.kill()
            shutil.rmtree(folder, ignore_errors=True)
    reset_auth_token_state()


def test_killed_coordinator_is_submitted_again_and_goes_on_where_it_was(site):
    name = "Grüße/$(exit 7) 'x'"
    first = site.submit(name, samples=200)
    coordinator = site.coordinator(name, trials=1)
    again = [*PYTHON, "schedsearch.app.submitted", STUDY]

    with pytest.raises(RunError, match="is RUNNING"):
        site.submit(name, samples=200)
    workers = Jobs(site.address).workers()
    assert [(one.study, one.job, one.state) for one in workers] == [(name, first, "ALIVE")]

    retried = site.folder / "retried"
    retried.mkdir()
    pack(study(name, 200), site.folder, retried)
    Jobs(site.address).submit("retried", name, again, retried, {})
    assert site.ended("retried").state == "FAILED"
    assert "is being searched by" in Jobs(site.address).log("retried")

    former = {one.number: one for one in site.trials(name) if one.state.finished}
    psutil.Process(coordinator.pid).kill()
    assert site.ended(first).state == "FAILED"
    second = site.submit(name, samples=200)
    assert second != first
    assert site.ended(second).state == "SUCCEEDED", Jobs(site.address).log(second)
    found = {one.number: one for one in site.trials(name)}
    assert all(found[number] == trial for number, trial in former.items())
    assert len(found) > len(former)


def test_samples_and_images_of_a_file_travel(site, tmp_path):
    (tmp_path / "pictures").mkdir()
    colours = [(10 * k, 5 * k, 255 - k) for k in range(24)]
    for k, colour in enumerate(colours):
        (tmp_path / "pictures" / f"{k}.png").write_bytes(png(colour, (64, 64)))
    (tmp_path / "own.jsonl").write_bytes(rows(*(f"{k}.png" for k in range(24))))
    data = {"calibration": "own.jsonl", "images": "pictures"}
    config = study("own", 1, data=data, metric="answer_match")
    id = submit(Jobs(site.address), config, tmp_path, None, workers=1)
    assert site.ended(id).state == "SUCCEEDED", Jobs(site.address).log(id)
    assert site.trials("own")


def test_service_begins_a_job_that_claims_its_launch_once(site):
    backend = RayBackend(str(site.store), site.address)
    with open_store(site.store) as store:
        launching = Launching(store, backend, Permitted(), lambda _digest: Path())
        launching.create(study("launched", 60), "me")
        store.service.queue("launched")
        launching.tend()
        launch = store.service.launch("launched")
        assert backend.lives(launch)
        until(lambda: store.service.launch("launched").state == "ENDED")
        launch = store.service.launch("launched")
        assert (launch.ending, launch.reason) == ("finished", "")
        site.ended(job_id("launched", 1, 1))
        assert backend.lives(launch) is False

        command = [*PYTHON, "schedsearch.app.launched", "launched", "1"]
        environment = {"SCHEDSEARCH_STORE": str(site.store)}
        Jobs(site.address).submit("again", "launched", command, site.folder / "empty", environment)
        assert site.ended("again").state == "FAILED"
        assert "not wanted any more" in Jobs(site.address).log("again")

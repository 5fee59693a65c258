"""Coordinators as jobs of a real Ray cluster that asks for a token."""

from pathlib import Path

import psutil
import pytest

from schedsearch.app.config import check_study
from schedsearch.app.launching import Launching
from schedsearch.app.parcel import STUDY, pack
from schedsearch.app.permitted import Permitted
from schedsearch.app.submitting import PYTHON, RayBackend, resume, submit
from schedsearch.errors import InputError, RunError
from schedsearch.execution.cluster.jobs import job_id
from schedsearch.store.store import open_store
from tests.archives import png, rows
from tests.token_cluster import TokenCluster, token_cluster, until

pytestmark = pytest.mark.full


def study(name: str, samples: int, **more: object):
    data = {"calibration": "demo:calibration", "calibration_samples": samples}
    search = {"tolerance": 0.05, "first": 1}
    asked = {"study": name, "model": "demo", "data": data, "ranker": "local", "search": search}
    return check_study({**asked, **more}, "study")


@pytest.fixture(scope="module")
def site():
    with token_cluster(2) as made:
        yield made


def submitted(site: TokenCluster, name: str, samples: int) -> str:
    return submit(site.jobs, study(name, samples), site.folder, None, workers=1)


def test_killed_coordinator_is_submitted_again_and_goes_on_where_it_was(site):
    name = "Grüße/$(exit 7) 'x'"
    first = submitted(site, name, 200)
    coordinator = site.coordinator(name, trials=1)
    again = [*PYTHON, "schedsearch.app.submitted", STUDY]

    with pytest.raises(RunError, match="is RUNNING"):
        submitted(site, name, 200)
    with pytest.raises(RunError, match="is RUNNING"):
        resume(site.jobs, name)
    with pytest.raises(InputError, match="has no job of a study"):
        resume(site.jobs, "other")
    workers = site.jobs.workers()
    assert [(one.study, one.job, one.state) for one in workers] == [(name, first, "ALIVE")]
    until(lambda: [one.doing for one in site.jobs.workers()] == ["evaluates"])

    retried = site.folder / "retried"
    retried.mkdir()
    pack(study(name, 200), site.folder, retried)
    site.jobs.submit("retried", name, again, retried, {})
    assert site.ended("retried").state == "FAILED"
    assert "is being searched by" in site.jobs.log("retried")

    former = {one.number: one for one in site.trials(name) if one.state.finished}
    psutil.Process(coordinator.pid).kill()
    assert site.ended(first).state == "FAILED"
    second = submitted(site, name, 200)
    assert second != first
    assert site.ended(second).state == "SUCCEEDED", site.jobs.log(second)
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
    id = submit(site.jobs, config, tmp_path, None, workers=1)
    assert site.ended(id).state == "SUCCEEDED", site.jobs.log(id)
    assert site.trials("own")


def test_service_begins_a_job_that_claims_its_launch_once(site):
    backend = RayBackend(str(site.store), site.address, workers=1)
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
        with pytest.raises(RunError, match="begun by a service"):
            resume(site.jobs, "launched")
        assert backend.lives(launch) is False

        command = [*PYTHON, "schedsearch.app.launched", "launched", "1"]
        environment = {"SCHEDSEARCH_STORE": str(site.store)}
        site.jobs.submit("again", "launched", command, site.folder / "empty", environment)
        assert site.ended("again").state == "FAILED"
        assert "not wanted any more" in site.jobs.log("again")

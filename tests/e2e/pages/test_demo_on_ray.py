"""The whole demo as jobs of two nodes with a token: killed, begun again, and as if nothing was."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, expect

from schedsearch import Schedule
from schedsearch.app.config import read_study_file
from schedsearch.app.configured import prepare
from schedsearch.app.launched import searched
from schedsearch.app.study_view import StudyView
from schedsearch.core.certificate import Certification
from schedsearch.core.trial import Trial
from schedsearch.store.store import open_store
from tests.e2e.pages.conftest import served, visiting
from tests.e2e.pages.test_start import DEMO, applied, write
from tests.postgres import new_database, server
from tests.token_cluster import TokenCluster, token_cluster, until

pytestmark = pytest.mark.full

SCHEDSEARCH = Path(sys.executable).with_name("schedsearch")
LATE = 3
"""Trials that are closed when the coordinator is killed, of 26."""
MINUTES = 30
"""That a search may take on a busy machine."""


@dataclass(frozen=True)
class Found:
    """What has come of the demo."""

    best: Schedule
    certification: Certification

    @classmethod
    def of(cls, store: str) -> "Found":
        """What a store knows of it."""
        with open_store(store, read_only=True) as opened:
            (proven,) = opened.certifications("demo")
            return cls(StudyView(opened, "demo").best, proven)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """In this process, where nothing happens."""
    store = tmp_path_factory.mktemp("undisturbed") / "store.db"
    assert searched(prepare(read_study_file(DEMO), DEMO.parent, store)) == "finished"
    return Found.of(str(store))


@pytest.fixture
def cluster() -> Iterator[TokenCluster]:
    """Two nodes with room for one worker each."""
    with token_cluster(1, 1) as made:
        yield made


@pytest.fixture
def cluster_on_postgresql() -> Iterator[TokenCluster]:
    with server() as database, token_cluster(1, 1, store=new_database(database.url)) as made:
        yield made


def schedsearch(cluster: TokenCluster, *args: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [SCHEDSEARCH, *map(str, args), "--address", cluster.address],
        env={**os.environ, "SCHEDSEARCH_STORE": cluster.store},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill(cluster: TokenCluster) -> list[Trial]:
    """Kill the coordinator in the middle; returns the trials that are closed by then."""
    coordinator = cluster.coordinator("demo", LATE)
    nodes = {one.node for one in cluster.jobs.workers()}
    assert len(nodes) == 2, nodes
    psutil.Process(coordinator.pid).kill()
    until(lambda: all(one.has_ended for one in cluster.jobs.all()))
    return [one for one in cluster.trials("demo") if one.state.finished]


def goes_on(command: "subprocess.Popen[str]", cluster: TokenCluster, former: list[Trial]) -> None:
    """Wait for a command that follows the search to its end."""
    out, said = command.communicate(timeout=60 * MINUTES)
    assert command.returncode == 0 and "the search of demo has ended" in out, said
    assert went_on(cluster, former)


def went_on(cluster: TokenCluster, former: list[Trial]) -> bool:
    found = {one.number: one for one in cluster.trials("demo")}
    return all(found[one.number] == one for one in former) and len(found) > len(former) >= LATE


def test_a_killed_job_is_submitted_again(cluster: TokenCluster, undisturbed: Found) -> None:
    followed = schedsearch(cluster, "submit", DEMO)
    former = kill(cluster)
    _, said = followed.communicate(timeout=60)
    assert followed.returncode == 1 and "job demo.v1 is FAILED" in said, said
    goes_on(schedsearch(cluster, "submit", DEMO), cluster, former)
    assert Found.of(cluster.store) == undisturbed


def test_a_killed_job_on_postgresql_is_resumed(
    cluster_on_postgresql: TokenCluster, undisturbed: Found
) -> None:
    cluster = cluster_on_postgresql
    begun = schedsearch(cluster, "submit", DEMO, "--detach")
    _, said = begun.communicate(timeout=120)
    assert begun.returncode == 0, said
    former = kill(cluster)
    goes_on(schedsearch(cluster, "resume", "demo"), cluster, former)
    assert Found.of(cluster.store) == undisturbed


def test_a_killed_job_is_begun_again_from_the_form(
    browser: Browser, cluster: TokenCluster, undisturbed: Found, tmp_path: Path
) -> None:
    backend = ["--backend", "ray", "--address", cluster.address]
    store = Path(cluster.store)
    with served(store, 0, *backend) as site, visiting(browser, site) as visit:
        page = visit.go("/start")
        write(page, DEMO.read_text())
        page.get_by_role("button", name="Create and start").click()
        page.wait_for_url("**/studies/demo")
        former = kill(cluster)
        expect(page.locator("#head .badge")).to_have_text("failed", timeout=60_000)
        page.get_by_role("button", name="Go on").click()
        expect(page.locator("#head .badge")).to_have_text("ended", timeout=60_000 * MINUTES)
        with page.expect_download() as download:
            page.get_by_role("link", name="Schedule (JSON)").click()
        download.value.save_as(tmp_path / "schedule.json")
        page.goto("about:blank")
    assert [one.id for one in cluster.jobs.all() if one.study] == ["demo.v1", "demo.v1.2"]
    assert went_on(cluster, former)
    assert Found.of(cluster.store) == undisturbed
    proven = undisturbed.certification.best
    assert proven and Schedule.load(tmp_path / "schedule.json").keep == proven.schedule.keep
    assert "FLOPs" in applied(tmp_path / "schedule.json")

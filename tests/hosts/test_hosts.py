"""A search across a network whose links fail: nothing lost, nothing counted twice, same schedule.

Workers on two hosts, the store on a third, the coordinator on a fourth. `make test-hosts`.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="needs ray")

from tests.chaos.coordinator import Search, subject
from tests.chaos.outcome import Undisturbed, outcome, undisturbed
from tests.chaos.scene import Scene, new_scene
from tests.chaos.witness import Witness
from tests.hosts.conftest import Site, until
from tests.hosts.network import HOSTS, ROOT
from tests.postgres import new_database

pytestmark = pytest.mark.full

CUT = 20
"""Seconds for which a link is cut."""

TASK = 1.0
"""Seconds that a task takes; so a search lasts longer than a cut."""

PATIENCE = 240.0


@pytest.fixture(scope="module")
def known() -> Undisturbed:
    with new_scene("sqlite") as scene:
        return undisturbed(scene)


@pytest.fixture
def nodes(site: Site) -> Site:
    """The site, with both nodes up: as a supervisor would, whoever was given up is started anew."""
    for host in HOSTS:
        site.net.link(host)
    if not site.has_ray("node"):
        site.net.end("node")
        site.start_ray("node")
    return site


@pytest.mark.parametrize("host", HOSTS)
def test_search_survives_a_cut_of_each_link(nodes, known, tmp_path, host):
    def cut(scene: Scene) -> None:
        nodes.net.link(host, loss=1.0)
        known_at = []
        for _ in range(CUT):
            scene.fault()  # what is in flight changes meanwhile
            time.sleep(1)
            known_at.append(sum(one.what == "stored" for one in scene.witness.events))
        nodes.net.link(host)
        scene.fault()
        if host != "node":  # without which the other host's worker goes on
            assert known_at[CUT // 2] == known_at[-1], "the link was not cut"

    survives(nodes, known, tmp_path, cut)


def test_search_survives_links_that_are_slow_and_lose_a_twentieth(nodes, known, tmp_path):
    def worsen(_scene: Scene) -> None:
        for host in HOSTS:
            nodes.net.link(host, delay=0.025, loss=0.025)  # two links are 50 ms and 5 %

    survives(nodes, known, tmp_path, worsen)


def test_who_has_no_token_or_comes_without_tls_is_refused(nodes, tmp_path):
    (tmp_path / "token").write_text("0" * 64)
    stranger = {**nodes.environment, "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    join = f"from schedsearch.execution.cluster.connection import connect; connect({nodes.ray!r})"
    assert "no Ray cluster could be joined" in said_by(nodes, join, stranger)
    plain = nodes.url.replace("sslmode=verify-full", "sslmode=disable")
    read = f"from schedsearch.store import open_store; open_store({plain!r})"
    assert "no encryption" in said_by(nodes, read, nodes.environment)


def said_by(site: Site, program: str, environment: dict[str, str]) -> str:
    """What a program that fails on the client's host says."""
    ended = subprocess.run(
        [*site.net.on("client"), sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode != 0
    return ended.stderr


def survives(site: Site, known: Undisturbed, folder: Path, harm: Callable[[Scene], None]) -> None:
    """Search on the client's host, do harm in the middle, and judge what has become of it."""
    witness = Witness(folder / "log", subject())
    store = new_database(site.server.url)
    across = site.url + store.removeprefix(site.server.url)
    arguments = [across, site.ray, str(witness.file), str(TASK)]
    with ExitStack() as stack:
        scene = Scene(
            "postgresql", folder, store, Search(across, witness), stack, server=site.server
        )
        with (folder / "said").open("w") as said:
            client = subprocess.Popen(
                [*site.net.on("client"), sys.executable, "-m", "tests.hosts.client", *arguments],
                cwd=ROOT,
                env=site.environment,
                stdout=said,
                stderr=said,
            )
        try:
            until(lambda: closed(scene) >= 2 or client.poll() is not None, PATIENCE, "it searches")
            assert client.poll() is None, said_at(site, folder)
            harm(scene)
            assert client.poll() is None, (
                f"it ended while its links were bad: {said_at(site, folder)}"
            )
            assert client.wait(PATIENCE) == 0, said_at(site, folder)
        finally:
            client.kill()
            client.wait()
            site.net.end("client")
        found = outcome(scene, known, 0)
    assert not found.broken
    assert (found.lost, found.twice, found.same_schedule) == (0, 0, True)


def said_at(site: Site, folder: Path) -> str:
    """What the client has said, and what Ray has on its behalf."""
    logs = sorted((site.folder / "session_latest" / "logs").glob("ray_client_server*"))
    return "\n".join([(folder / "said").read_text(), *(log.read_text()[-4000:] for log in logs)])


def closed(scene: Scene) -> int:
    return sum(one.what == "closed" for one in scene.witness.events)

"""The service as people have it: a process, and searches that outlive it."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.archives import demo_set, tar

EVERYWHERE = "0.0.0.0"  # noqa: S104 - refused
STUDY = """
study: small
model: demo
data:
  calibration: demo:calibration
  calibration_samples: 40
  certify: demo:certify
  certify_samples: 40
search: {tolerance: 0.2, floor: 40, first: 4}
"""


@dataclass
class Serving:
    """A service in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    token: str

    @property
    def client(self) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx2.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=30)


@contextmanager
def serving(folder: Path, token: str = "") -> Iterator[Serving]:
    command = [Path(sys.executable).with_name("schedsearch"), "serve", "--port", "0"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        said = process.stderr.readline()
        url = re.search(r"http://\S+", said).group()
        if not token:
            said = process.stderr.readline() + process.stderr.readline()
            token = re.search(r"schs_\S+", said).group()
            assert f"{url}/login?code=" in said
        yield Serving(process, url, token)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def events(answer: httpx2.Response) -> Iterator[tuple[str, dict]]:
    kind = ""
    for line in answer.iter_lines():
        if line.startswith("event:"):
            kind = line.partition(":")[2].strip()
        elif line.startswith("data:"):
            yield kind, json.loads(line.partition(":")[2])


def ended(client: httpx2.Client) -> dict:
    """The study once its search has ended; one that nobody came to claim begins 120 s late."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        study = client.get("/studies/small").json()
        if study["state"] in ("ended", "failed"):
            return study
        time.sleep(0.3)
    raise AssertionError(f"the search does not end: {study}")


@pytest.mark.full
def test_whole_life_of_a_study_by_rest(tmp_path):
    with serving(tmp_path) as service, service.client as client:
        kind = {"Content-Type": "application/x-tar"}
        sent = client.post(
            "/sets", params={"name": "mine"}, content=tar(demo_set(40)), headers=kind
        )
        assert sent.status_code == 201, sent.text
        study = STUDY.replace("demo:calibration", f"set:{sent.json()['digest']}")
        assert client.post("/studies", content=study).status_code == 201
        trials, states = [], []
        with client.stream("GET", "/studies/small/events", timeout=120) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert client.post("/studies/small/start").status_code == 202
            for kind, data in events(answer):
                if kind == "trial":
                    trials.append(data["number"])
                else:
                    states.append(data["state"])
                if states and states[-1] in ("ended", "failed"):
                    break
        study = client.get("/studies/small").json()
        assert (study["state"], study["ending"]) == ("ended", "finished"), study["reason"]
        assert trials == list(range(sum(study["trials"].values())))
        assert states[0] == "created"
        best = client.get("/studies/small/best").json()
        assert "proven with 95 % confidence" in best["claim"]
        places = [f"/studies/small/trials/{number}/exhibits" for number in trials]
        exhibits = [one for place in places for one in client.get(place).json()["exhibits"]]
        assert len(exhibits) == 8 and all(min(one["counts"]) < 64 for one in exhibits)
        schedule = tmp_path / "schedule.json"
        schedule.write_bytes(client.get("/studies/small/schedule").content)
    applied = subprocess.run(
        [
            Path(sys.executable).with_name("schedsearch"),
            *("apply", "demo", schedule, "--limit", "8", "--repeats", "1", "--json"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(applied.stdout)["flops_ratio"] == pytest.approx(best["flops_ratio"], abs=0.02)


MOMENTS: dict[str, Callable[[dict], bool]] = {
    "it is asked for": lambda _study: True,
    "its process begins": lambda study: study["started"] is not None,
    "it is at work": lambda study: study["holder"] is not None,
    "its first trial is complete": lambda study: study["trials"].get("COMPLETE", 0) >= 1,
    "its fifth trial is complete": lambda study: study["trials"].get("COMPLETE", 0) >= 5,
    "it has ended": lambda study: study["state"] == "ended",
}


@pytest.mark.full
@pytest.mark.parametrize("moment", MOMENTS)
def test_search_outlives_the_service_and_a_new_one_shows_it(tmp_path, moment):
    with serving(tmp_path) as first, first.client as client:
        study = client.post("/studies", content=STUDY, params={"start": True}).json()
        deadline = time.monotonic() + 60
        while not MOMENTS[moment](study):
            assert time.monotonic() < deadline, f"never came: {moment}"
            assert study["state"] != "ended", f"gone by: {moment}"
            time.sleep(0.02)
            study = client.get("/studies/small").json()
        token = first.token
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    if study["holder"] is not None:
        process = Path(f"/proc/{study['holder'].split()[1]}")
        assert process.exists(), "the search has ended with the service"
    with serving(tmp_path, token) as second, second.client as client:
        study = ended(client)
        assert (study["ending"], study["by"]) == ("finished", "browser (token 1)")
        trials = client.get("/studies/small/trials").json()["trials"]
        assert [one["number"] for one in trials] == list(range(sum(study["trials"].values())))
        for one in trials:
            tries = client.get(f"/studies/small/trials/{one['number']}").json()["attempts"]
            assert len(tries) <= 1, "nothing was done twice"
        assert "proven with 95 % confidence" in client.get("/studies/small/best").json()["claim"]


def test_service_ends_soon_when_it_is_asked_to_although_somebody_listens(tmp_path):
    with serving(tmp_path) as service, service.client as client:
        client.post("/studies", content=STUDY)
        streams = [client.stream("GET", path) for path in ("/events", "/studies/small/events")]
        with streams[0] as every, streams[1] as one:
            lines = [answer.iter_lines() for answer in (every, one)]
            assert [next(each) for each in lines] == ["event: study"] * 2
            service.process.terminate()
            assert [len(list(each)) for each in lines] == [3, 3], "and then they end in good order"
        assert service.process.wait(10) in (0, -signal.SIGTERM)
        assert service.process.stderr.read() == "", "nothing had to be cut off"


def test_requests_that_are_cut_off_leave_no_complaint(tmp_path):
    with serving(tmp_path) as service, service.client as client:
        host, port = service.url.removeprefix("http://").split(":")
        for path in ("studies", "studies:validate", "tokens"):
            with socket.create_connection((host, int(port))) as connection:
                head = f"POST /api/v1/{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 999\r\n"
                who = f"Authorization: Bearer {service.token}\r\n"
                connection.sendall(f"{head}{who}\r\nstudy: small".encode())
        assert client.get("/token").status_code == 200
        service.process.terminate()
        assert service.process.wait(10) in (0, -signal.SIGTERM)
        assert service.process.stderr.read() == ""


def test_service_that_others_can_reach_needs_a_token_first(tmp_path):
    command = [Path(sys.executable).with_name("schedsearch"), "serve", "--host", EVERYWHERE]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "schedsearch token create" in refused.stderr


def test_port_that_is_taken_is_named(tmp_path):
    with serving(tmp_path) as service:
        port = service.url.rpartition(":")[2]
        command = [Path(sys.executable).with_name("schedsearch"), "serve", "--port", port]
        refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert f"nobody can listen at 127.0.0.1:{port}" in refused.stderr

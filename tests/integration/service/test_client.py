"""The client against a service that listens at a port."""

import gzip
import json
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from pathlib import Path

import httpx2
import pytest
import uvicorn
import yaml
from PIL import Image

from schedsearch import InputError, RunError, Schedule
from schedsearch.app.study_view import StudyView
from schedsearch.app.tokens import create_token
from schedsearch.client import Client, Status, Study, UnreachableError
from schedsearch.client.archives import packed
from schedsearch.core.comparison import Loss
from schedsearch.core.progress import Progress, WorkerSeen
from schedsearch.core.trial import Trial
from schedsearch.execution.loop import run_study
from schedsearch.execution.scoring import Scoring
from schedsearch.service.app import make_app
from schedsearch.service.settings import ServiceSettings
from schedsearch.store.store import Store, open_store
from tests.integration.searched import searched_store
from tests.integration.service.conftest import STUDY, Noted
from tests.integration.service.test_trials import SETTINGS
from tests.unit.execution.synthetic import CHUNK, SEARCH, SUBJECT, evaluate, local, spec
from tests.unit.execution.synthetic import STUDY as SEARCHED
from tests.unit.store.strategies import COMPARISON


class Listening:
    """A service at a port, which can be ended and begun again there."""

    def __init__(self, folder: Path) -> None:
        self.backend = Noted()
        self._settings = ServiceSettings(str(folder / "store.db"), folder / "service")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> Store:
        assert self._app is not None
        return self._app.state.office.store

    def begin(self) -> "Listening":
        self._app = make_app(self._settings, self.backend)
        config = uvicorn.Config(
            self._app, port=self.port, log_level="critical", timeout_graceful_shutdown=1, ws="none"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        until(lambda: self._server.started)
        return self

    def end(self) -> None:
        if self._server is not None:
            self._server.should_exit = True
            self._thread.join()
        self._server = None

    def client(self, scope: str = "admin") -> Client:
        return Client(self.url, create_token(self.store.service, scope, scope, None).text)


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never held"
        time.sleep(0.02)


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Listening]:
    service = Listening(tmp_path).begin()
    yield service
    service.end()


@pytest.fixture
def client(listening: Listening) -> Iterator[Client]:
    with listening.client() as asking:
        yield asking


@contextmanager
def server(answers: list[Callable[[BaseHTTPRequestHandler], None]]) -> Iterator[tuple[str, list]]:
    """A server that gives these answers, one after the other, and keeps what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            size = int(self.headers.get("content-length", 0))
            asked.append((self.path, dict(self.headers), self.rfile.read(size)))
            self.close_connection = True
            answers.pop(0)(self)

        do_GET = do_POST = answer

        def log_message(self, *_args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}", asked
        made.shutdown()
        thread.join()


def ends(service: Listening, ending: str, reason: str = "") -> None:
    """Have the coordinator that was begun last end."""
    launch = service.backend.begun[-1]
    store = service.store.service
    store.claim(launch.study, launch.attempt, {"host": "h", "pid": 1})
    store.end_launch(launch.study, launch.attempt, ending, reason)


def test_study_is_created_from_path_text_and_mapping(client, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    from_path = client.studies.create(tmp_path / "study.yaml")
    from_name = client.studies.create(STUDY.replace("small", "two"))
    from_mapping = client.studies.create(yaml.safe_load(STUDY) | {"study": "three"})
    assert [one.state for one in (from_path, from_name, from_mapping)] == ["created"] * 3
    assert [one.name for one in client.studies.list()] == ["three", "two", "small"]
    contents = [dict(one.content()) for one in client.studies.list()]
    assert len({json.dumps(one | {"study": ""}, sort_keys=True) for one in contents}) == 1
    assert [one.name for one in client.studies.list("queued")] == []


def test_life_of_a_study_that_waits(listening, client):
    listening.backend.alive = None
    study = client.studies.create(STUDY, start=True)
    assert study.state in ("queued", "starting")
    other = client.studies.create(STUDY.replace("small", "other"), start=True)
    until(lambda: listening.backend.begun)
    assert other.stop().state == "created"
    assert other.start().state == "queued"
    assert other.pause().state == "created"
    copy = other.clone("copy", {"search": {"tolerance": 0.5}})
    assert copy.content()["search"]["tolerance"] == 0.5
    stale = client.studies.get("copy")
    copy.delete()
    with pytest.raises(InputError, match="there is no study `copy`"):
        stale.refresh()
    ends(listening, "finished")
    assert study.refresh().status.ending == "finished"


def test_wait_ends_with_the_search(listening, client):
    study, told = client.studies.create(STUDY, start=True), []
    until(lambda: listening.backend.begun)
    threading.Timer(0.5, ends, (listening, "finished")).start()
    assert study.wait(30, told.append) is study
    assert study.status.ending == "finished"
    assert {one.state for one in told} >= {"starting", "ended"}


def test_wait_raises_why_a_search_has_failed(listening, client):
    study = client.studies.create(STUDY, start=True)
    until(lambda: listening.backend.begun)
    threading.Timer(0.2, ends, (listening, "failed", "no memory")).start()
    with pytest.raises(RunError, match="has failed: no memory"):
        study.wait(30)


def test_wait_says_that_its_time_is_up(client):
    study = client.studies.create(STUDY, start=True)
    with pytest.raises(RunError, match=r"after 0\.5 s; wait for it again"):
        study.wait(0.5)


def test_wait_goes_on_when_the_service_begins_again(listening, client, caplog):
    study, told = client.studies.create(STUDY, start=True), []
    until(lambda: listening.backend.begun)
    waiting = threading.Thread(target=study.wait, args=(60, told.append))
    waiting.start()
    until(lambda: told)
    listening.end()
    until(lambda: "attempts to follow" in caplog.text)
    listening.begin()
    ends(listening, "finished")
    waiting.join()
    assert study.status.ending == "finished"
    assert "reached again" in caplog.text


def test_wait_does_not_take_an_older_look_for_the_end(listening, client):
    study = client.studies.create(STUDY)
    told = []
    follower = threading.Thread(
        target=client.studies.create(STUDY.replace("small", "other"), start=True).wait,
        args=(30, told.append),
    )
    follower.start()  # has the service look once a second, and show everybody the last look
    until(lambda: told)
    until(lambda: [one.study for one in listening.backend.begun] == ["other"])
    study.start()
    threading.Timer(0.3, ends, (listening, "finished")).start()
    until(lambda: len(listening.backend.begun) == 2)
    threading.Timer(0.3, ends, (listening, "finished")).start()
    assert study.wait(30).status.ending == "finished"
    follower.join()


@pytest.fixture
def searched(tmp_path: Path) -> Iterator[tuple[Study, Store]]:
    """A service whose store has a study that was searched without it."""
    with open_store(tmp_path / "store.db") as store:
        store.create_study(replace(spec(), search=SETTINGS.plain()))
        run_study(
            SEARCHED, SEARCH, Scoring(SEARCHED, SUBJECT, store, local(evaluate), CHUNK), store
        )
    service = Listening(tmp_path).begin()
    with service.client() as asking:
        yield asking.studies.get(SEARCHED), service.store
    service.end()


def test_trials_are_those_of_the_store(searched):
    study, store = searched
    own = store.trials(SEARCHED)
    assert len(own) > 3
    assert list(study.trials(page=3)) == own
    assert study.trial(own[2].number) == own[2]
    best = list(study.trials("COMPLETE", order="flops_ratio", max_drop=0.1))
    assert {one.state for one in best} == {"COMPLETE"}
    ratios = [one.measurement.flops_ratio for one in best]
    assert ratios == sorted(ratios)
    assert 0 < len(best) < len(own)
    assert list(study.trials(["PRUNED", "SCREENED"])) == [
        one for one in own if one.state in ("PRUNED", "SCREENED")
    ]


def test_saved_schedule_is_what_the_service_gives(searched, tmp_path):
    study, store = searched
    view = StudyView(store, SEARCHED)
    best = study.best()
    assert (best.trial, best.schedule) == (view.best_trial.number, view.best)
    assert (best.drop, best.loss) == (None, None)  # none but the samples that chose it were asked
    best.save(tmp_path / "schedule.json")
    assert (tmp_path / "schedule.json").read_bytes() == best.content
    assert Schedule.load(tmp_path / "schedule.json") == view.best
    assert study.best(budget=0.9).trial == view.pick(0.9).number
    assert study.best(max_drop=0.01).schedule == view.pick(None, 0.01).schedule
    with pytest.raises(InputError, match=r"schedule\.txt"):
        (tmp_path / "schedule.txt").write_text("irreplaceable")
        best.save(tmp_path / "schedule.txt")


def test_studies_are_compared(tmp_path):
    (tmp_path / "store.db").write_bytes(searched_store())
    listening = Listening(tmp_path).begin()
    try:
        with listening.client("read") as client:
            one, other = (found := client.studies.compare(SEARCHED, "other")).studies
            with pytest.raises(InputError, match="there is no study `none`"):
                client.studies.compare("none")
            held_out = replace(COMPARISON, schedule=StudyView(listening.store, "other").best)
            listening.store.put_comparison("other", held_out)
            measured = client.studies.get("other").best()
        best = StudyView(listening.store, SEARCHED).best_trial
        [proof] = listening.store.certifications(SEARCHED)
    finally:
        listening.end()
    assert (one.best, found.differ, other.held_out) == (best, (), ())
    assert measured.loss == Loss(COMPARISON.data, COMPARISON.drop)
    assert measured.drop == COMPARISON.drop.value
    assert other.reported is None
    assert (one.reported.rows, one.reported.current) == (COMPARISON.rows, False)
    assert (one.reported.data, one.reported.samples) == (COMPARISON.data, COMPARISON.samples)
    [row], link = one.held_out, proof.links[0]
    assert (row.schedule.keep, row.proven, row.samples) == (link.schedule.keep, True, proof.n)
    assert (row.drop.value, row.drop.high) == (link.drop.value, link.drop.high)


def test_trials_that_are_closed_while_somebody_waits_are_told(listening, client):
    content = STUDY.replace("small", SEARCHED)
    study, told = client.studies.create(content, start=True), []
    until(lambda: listening.backend.begun)
    waiting = threading.Thread(target=study.wait, args=(60, told.append))
    waiting.start()
    until(lambda: told)
    store = listening.store
    store.create_study(replace(spec(), search=SETTINGS.plain()))
    run_study(SEARCHED, SEARCH, Scoring(SEARCHED, SUBJECT, store, local(evaluate), CHUNK), store)
    time.sleep(1.5)  # a look at the store
    ends(listening, "finished")
    waiting.join()
    assert [one for one in told if isinstance(one, Trial)] == store.trials(SEARCHED)
    assert sum(told[-1].trials.values()) == len(store.trials(SEARCHED)) > 3


def test_progress_is_that_of_the_python_api():
    numbers = 3, 4, 12, "searching", 2, 1, 5, 3, 7, 40, 2.5, 16.0, 9.5, 0.7, 0.1
    standing = Progress(*numbers, workers=(WorkerSeen("node-1", 7, "works", 25, 3, 0.5),))
    sent = json.loads(json.dumps(asdict(standing))) | {"new": 1}
    told = Status.of({"name": "x", "state": "running", "progress": sent})
    assert told.progress == standing


def test_tokens_are_made_and_revoked(listening, client):
    made = client.tokens.create("mine", "read", days=1)
    assert made.token not in repr(made)
    with Client(listening.url, made.token) as reader:
        assert reader.tokens.own().name == "mine"
        with pytest.raises(InputError, match="needs a token of scope launch"):
            reader.studies.create(STUDY)
        assert made.id in [one.id for one in client.tokens.list()]
        client.tokens.revoke(made)
        with pytest.raises(InputError, match="revoked; set SCHEDSEARCH_TOKEN to one that is valid"):
            reader.tokens.own()


def test_address_and_token_come_from_the_environment(listening, monkeypatch):
    monkeypatch.setenv("SCHEDSEARCH_SERVER", f"{listening.url}/")
    with Client() as client, pytest.raises(InputError, match=r"needed.*set SCHEDSEARCH_TOKEN"):
        next(client.studies.list())
    token = create_token(listening.store.service, "me", "read", None).text
    monkeypatch.setenv("SCHEDSEARCH_TOKEN", f"{token}\n")
    with Client() as client:
        assert client.tokens.own().name == "me"


def test_validation_says_what_would_be_kept(client):
    kept = client.studies.validate(STUDY)
    assert list(client.studies.list()) == []
    assert client.studies.create(STUDY).content() == kept


@pytest.mark.parametrize("name", ["none", "a/b", "..", "\udcff", "x?y#z", "%2e"])
def test_names_of_no_study_are_not_found(client, name):
    with pytest.raises(InputError) as caught:
        client.studies.get(name)
    assert caught.value.status == 404


def test_mistakes_in_a_study_name_their_key(client):
    with pytest.raises(InputError, match=r"search\.tolerence") as caught:
        client.studies.create(STUDY.replace("tolerance", "tolerence"))
    assert (caught.value.status, caught.value.key) == (422, "search.tolerence")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://host",
        "http://me:secret@host",
        "http://host?x=1",
        "http://host/#",
        "http://[::1",
        "http://" + "a" * 300,
        "http://\udcff",
        "a b",
    ],
)
def test_addresses_that_are_none_are_refused(url, monkeypatch):
    monkeypatch.delenv("SCHEDSEARCH_SERVER", raising=False)
    with pytest.raises(InputError, match="address of a service") as caught:
        Client(url)
    assert "secret" not in str(caught.value)


def test_service_that_is_not_there_is_named(listening, client):
    listening.end()
    with pytest.raises(UnreachableError, match=rf"{listening.url}: .*cannot be reached.*serve"):
        client.studies.get("small")


def lost(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def answer(status: int, body: bytes, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def give(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        # Said, or the next request may be sent on a connection that is being closed.
        told = {"Content-Length": str(len(body)), "Connection": "close"}
        for name, value in (told | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return give


def test_create_and_start_are_sent_again_with_the_same_key(listening):
    """The first answer is lost after the service has done what was asked."""
    token = create_token(listening.store.service, "me", "launch", None).text

    def passed_on(loses: bool) -> Callable[[BaseHTTPRequestHandler], None]:
        def give(handler: BaseHTTPRequestHandler) -> None:
            path, headers, body = asked[-1]
            kept = {k: headers[k] for k in ("Authorization", "Idempotency-Key") if k in headers}
            found = httpx2.request(
                handler.command, listening.url + path, headers=kept, content=body
            )
            if loses:
                lost(handler)
            else:
                answer(found.status_code, found.content)(handler)

        return give

    with (
        server([passed_on(True), passed_on(False)] * 2) as (url, asked),
        Client(url, token) as client,
    ):
        study = client.studies.create(STUDY)
        assert study.start().status.active
    keys = [headers["Idempotency-Key"] for _, headers, _ in asked]
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert [one.study for one in listening.store.service.launches()] == ["small"]


def test_what_could_be_done_twice_is_not_sent_again():
    with server([lost]) as (url, asked), Client(url, "t") as client:
        with pytest.raises(UnreachableError):
            client.tokens.create("mine")
    assert len(asked) == 1


def test_token_is_not_sent_where_a_service_leads():
    with server([]) as (other, reached):
        redirect = answer(307, b"", Location=f"{other}/api/v1/studies/x")
        with server([redirect]) as (url, asked), Client(url, "secret") as client:
            with pytest.raises(InputError, match=f"leads to {other}"):
                client.studies.get("x")
        assert asked[0][1]["Authorization"] == "Bearer secret"
        assert reached == []


@pytest.mark.parametrize(
    ("given", "said", "kind"),
    [
        (answer(200, b"<html>", Content_Type="text/html"), "must be a service of", InputError),
        (answer(404, b"<html>", Content_Type="text/html"), "answers 404", InputError),
        (answer(500, b"oops"), "answers 500", RunError),
    ],
)
def test_answers_of_something_else_are_told(given, said, kind):
    with server([given]) as (url, _), Client(url) as client, pytest.raises(kind, match=said):
        client.studies.get("x")


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "images").mkdir(parents=True)
    for name in ("a.png", "b.png", "other.png"):
        (folder / "images" / name).write_bytes(name.encode() * 1000)
    rows = [{"image": "images/a.png"}, {"images": ["images/b.png", "images/a.png"]}]
    (folder / "samples.jsonl").write_text("\n".join(json.dumps(one) for one in rows) + "\n")
    return folder


def test_archive_has_the_samples_and_the_images_that_they_name(samples):
    whole = b"".join(packed(samples / "samples.jsonl", samples))
    with tarfile.open(fileobj=BytesIO(gzip.decompress(whole))) as archive:
        assert archive.getnames() == ["samples.jsonl", "images/a.png", "images/b.png"]
        assert archive.extractfile("images/b.png").read() == b"b.png" * 1000
    assert b"".join(packed(samples / "samples.jsonl", samples)) == whole


def test_images_elsewhere_are_not_sent(samples):
    (samples.parent / "secret").write_text("secret")
    for name in ("../secret", "link"):
        (samples / "link").unlink(missing_ok=True)
        (samples / "link").symlink_to(samples.parent / "secret")
        (samples / "samples.jsonl").write_text(json.dumps({"image": name}))
        with pytest.raises(InputError, match="images must lie in"):
            b"".join(packed(samples / "samples.jsonl", samples))


def test_folder_and_archive_are_uploaded_as_they_are(samples, tmp_path):
    made = answer(201, json.dumps({"digest": "d" * 64, "name": "mine", "samples": 2}).encode())
    archive = tmp_path / "mine.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(samples / "samples.jsonl", "samples.jsonl")
    with server([chunked(made), chunked(made)]) as (url, asked), Client(url, "t") as client:
        found = client.sets.upload(samples, "mine")
        client.sets.upload(archive)
        with pytest.raises(InputError, match=r"must be a folder with samples\.jsonl"):
            client.sets.upload(tmp_path / "store.db")
    assert found.reference == "set:" + "d" * 64
    assert [path for path, _, _ in asked] == [
        "/api/v1/sets?name=mine",
        "/api/v1/sets?name=mine.tar",
    ]
    assert [headers["Content-Type"] for _, headers, _ in asked] == [
        "application/gzip",
        "application/x-tar",
    ]


@pytest.mark.usefixtures("samples")
def test_samples_that_lie_here_are_sent_before_their_study(tmp_path):
    from schedsearch.app.config import read_study_file
    from schedsearch.cli.remote_search import _content

    file = tmp_path / "study.yaml"
    data = "{calibration: mine/samples.jsonl, held_out: demo:held-out, images: mine}"
    file.write_text(STUDY.replace(STUDY.splitlines()[3], f"data: {data}"))
    made = answer(201, json.dumps({"digest": "d" * 64, "name": "samples", "samples": 2}).encode())
    with server([chunked(made)]) as (url, asked), Client(url, "t") as client:
        content = _content(client, read_study_file(file), file)
    assert [path for path, _, _ in asked] == ["/api/v1/sets?name=samples"]
    assert content["data"] == {"calibration": "set:" + "d" * 64, "held_out": "demo:held-out"}
    assert content["search"]["tolerance"] == 1
    file.write_text(STUDY)
    assert _content(client, read_study_file(file), file) == file


def chunked(give: Callable[[BaseHTTPRequestHandler], None]):
    """The same, having read a body in chunks to its end."""

    def read(handler: BaseHTTPRequestHandler) -> None:
        while size := int(handler.rfile.readline(), 16):
            handler.rfile.read(size + 2)
        handler.rfile.readline()
        give(handler)

    return read


def test_samples_that_lie_here_are_searched_there(client, tmp_path):
    from schedsearch.app.config import read_study_file
    from schedsearch.cli.remote_search import _content

    folder = tmp_path / "mine"
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(6):
        Image.new("RGB", (64, 64), (200, 30, number)).save(folder / f"images/{number}.png")
        asked = {"question": "what color is at a1 ?", "answer": "red"}
        rows.append(asked | {"image": f"images/{number}.png"})
    (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, rows)))
    sent = client.sets.upload(folder, "mine")
    assert sent.samples == 6
    assert client.sets.upload(folder / "samples.jsonl").digest == sent.digest
    file = tmp_path / "study.yaml"
    file.write_text(
        "study: small\nmodel: demo\ndata: {calibration: mine/samples.jsonl}\nsearch: {tolerance: 1}"
    )
    content = _content(client, read_study_file(file), file)
    assert content["data"] == {"calibration": sent.reference}
    study = client.studies.create(content)
    assert sent.digest in study.content()["data"]["calibration"]
    assert study.content() == client.studies.validate(content)
    (folder / "samples.jsonl").write_text(json.dumps({"question": 1, "image": "images/0.png"}))
    with pytest.raises(InputError, match=r"samples\.jsonl:1: `question` must be a text"):
        client.sets.upload(folder)

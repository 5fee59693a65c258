"""Studies by REST: created, changed, queued, begun, stopped; and what they may not name."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from sqlalchemy import update

from schedsearch.app.permitted import Permitted
from schedsearch.store.launches import CLAIM_SECONDS, StateError
from schedsearch.store.tables import AnswerRow
from tests.integration.service.conftest import STUDY
from tests.integration.service.test_access import API, problem

NAMED = "study: small\nmodel: demo\ndata: {calibration: demo:calibration}\nsearch: {tolerance: 1}"


def create(service, content=STUDY, headers=None, **query):
    return service.client.post(
        f"{API}/studies", content=content, headers=headers or service.by("launch"), params=query
    )


def test_study_is_created_from_yaml_or_json(service):
    made = create(service)
    assert made.status_code == 201
    assert made.headers["location"] == f"{API}/studies/small"
    assert made.json()["state"] == "created"
    content = {"study": "other", "model": "demo", "search": {"tolerance": 0.01}}
    content["data"] = {"calibration": "demo:calibration"}
    assert create(service, json.dumps(content)).status_code == 201
    listed = service.client.get(f"{API}/studies", headers=service.by("read")).json()
    assert [one["name"] for one in listed["studies"]] == ["other", "small"]


def test_studies_come_page_by_page(service):
    for number in range(5):
        assert create(service, STUDY.replace("small", f"s{number}")).status_code == 201
    headers, names, cursor = service.by("read"), [], None
    while True:
        asked = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = service.client.get(f"{API}/studies", headers=headers, params=asked).json()
        assert page["total"] == 5
        names += [one["name"] for one in page["studies"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert names == ["s4", "s3", "s2", "s1", "s0"]


def test_validation_keeps_nothing(service):
    answer = service.client.post(
        f"{API}/studies:validate", content=STUDY, headers=service.by("launch")
    )
    assert answer.status_code == 200
    assert answer.json()["study"] == "small"
    assert service.store.service.launches() == []


@pytest.mark.parametrize(
    ("content", "said", "key"),
    [
        ("study: [", "not valid YAML", None),
        ("[1, 2]", "must be a mapping", None),
        (STUDY.replace("tolerance", "tolerence"), "tolerance", "search.tolerence"),
        (STUDY.replace("model: demo", "model: 7"), "must be a valid string", "model"),
        (STUDY + "run: {executor: ray, address: 'evil:1'}", "leave it out", "run"),
        (STUDY.replace("small", "../small"), "letters, digits", "study"),
        (STUDY.replace("small", "'<script>'"), "letters, digits", "study"),
        (STUDY.replace("small", '"x\'; DROP TABLE study; --"'), "letters, digits", "study"),
        (STUDY.replace("12", "999999"), "at most", "data.calibration_samples"),
    ],
)
def test_mistakes_are_named_with_their_key(service, content, said, key):
    answer = create(service, content)
    assert said in problem(answer, 422)
    if key is not None:
        assert answer.json()["key"] == key
    assert service.store.service.launches() == []


def test_study_files_that_are_no_text_are_refused(service):
    problem(create(service, b"study: \xff"), 400)


@pytest.mark.parametrize("content", ["[" * 100_000, "{a: " * 50_000, '{"a":' * 100_000])
def test_deeply_nested_study_files_are_refused(service, content):
    assert "nested too deeply" in problem(create(service, content), 422)


def test_large_bodies_are_refused(service):
    problem(create(service, STUDY + "#" * (2 << 20)), 413)

    def endless():
        for _ in range(64):
            yield b"#" * (64 << 10)

    problem(create(service, endless()), 413)


@pytest.mark.parametrize(
    "model",
    [
        "/etc",
        "../../etc",
        ".",
        "file:///etc/passwd",
        "http://169.254.169.254/latest",
        "evil/model",
        "link",
        "llava-hf/../evil",
        "//host/share",
        '"\\0"',
    ],
)
def test_models_elsewhere_cannot_be_named(service, tmp_path, model):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "models/link").symlink_to(tmp_path / "elsewhere")
    answer = create(service, NAMED.replace("model: demo", f"model: {model}"))
    problem(answer, 422)
    assert answer.json()["key"] == "model"


@pytest.mark.parametrize(
    "data",
    [
        "/etc/passwd",
        "../store.db",
        "link.jsonl",
        "http://169.254.169.254/x.jsonl",
        "missing.jsonl",
        "set:" + "0" * 64,
        "set:../../x",
    ],
)
def test_data_elsewhere_cannot_be_named(service, tmp_path, data):
    (tmp_path / "secret.jsonl").write_text("{}")
    (tmp_path / "data/link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    answer = create(service, NAMED.replace("demo:calibration", data))
    assert "secret" not in problem(answer, 422)


@pytest.mark.parametrize(
    ("search", "key"),
    [
        ("{sampler: bayes, budget: {milliseconds: 5}, latency: /etc/passwd}", "search.latency"),
        ("{sampler: bayes, budget: {flops: 0.5}, warm_start: [../s.json]}", "search.warm_start[0]"),
    ],
)
def test_searches_cannot_name_files_elsewhere(service, search, key):
    answer = create(service, NAMED.replace("{tolerance: 1}", search))
    problem(answer, 422)
    assert answer.json()["key"] == key


def test_models_and_data_of_the_service_can_be_named(service, tmp_path):
    (tmp_path / "models/mine").mkdir()
    (tmp_path / "data/mine.jsonl").write_text("{}")
    content = NAMED.replace("model: demo", "model: mine").replace("demo:calibration", "mine.jsonl")
    assert create(service, content).status_code == 201
    kept = service.store.service.launch("small").content
    assert kept["model"] == str(tmp_path / "models/mine")
    assert kept["data"]["calibration"] == str(tmp_path / "data/mine.jsonl")
    hub = NAMED.replace("model: demo", "model: llava-hf/llava-1.5-7b-hf").replace("small", "hub")
    assert create(service, hub).status_code == 201


def test_file_of_too_many_samples_has_to_be_asked_for_in_part(serve, tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}\n\n{}\n{}\n")
    service = serve(permitted=Permitted(data=(tmp_path,), samples=2))
    content = NAMED.replace("demo:calibration", "rows.jsonl")
    assert "more than 2 samples" in problem(create(service, content), 422)
    part = content.replace("rows.jsonl", "rows.jsonl, calibration_samples: 2")
    assert create(service, part).status_code == 201


def test_name_of_a_study_can_be_taken_once(service):
    create(service)
    assert "there is a study `small` already" in problem(create(service), 422)


def test_same_request_with_the_same_key_is_done_once(service):
    headers = service.by("launch") | {"Idempotency-Key": "k1"}
    first, second = create(service, headers=headers), create(service, headers=headers)
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert first.headers["etag"] == second.headers["etag"]
    other = create(service, STUDY.replace("small", "other"), headers)
    assert "another request" in problem(other, 409)
    assert [one.study for one in service.store.service.launches()] == ["small"]
    problem(
        create(
            service,
            STUDY.replace("model: demo", "model: /"),
            service.by("launch") | {"Idempotency-Key": "k2"},
        ),
        422,
    )
    again = create(
        service, STUDY.replace("small", "third"), service.by("launch") | {"Idempotency-Key": "k2"}
    )
    assert again.status_code == 201  # what was refused has used up no key


def make_older(service, age):
    """Have every key taken so long ago."""
    with service.store._database.writing() as connection:
        connection.execute(update(AnswerRow).values(created=datetime.now(UTC) - age))


@pytest.mark.parametrize(("age", "status"), [(timedelta(), 409), (timedelta(minutes=6), 201)])
def test_key_of_a_request_that_died_with_its_server_is_free_soon(serve, age, status):
    first, second = serve(), serve()
    headers = first.by("launch") | {"Idempotency-Key": "k1"}
    digest = sha256(f"POST {API}/studies\n{STUDY}".encode()).hexdigest()
    first.store.service.begin_reply("launch (token 1)", "k1", digest)
    make_older(first, age)
    answer = create(second, headers=headers)
    assert answer.status_code == status
    if status == 201:
        assert create(first, headers=headers).content == answer.content


def test_answer_is_remembered_for_longer_than_a_request_works(service):
    headers = service.by("launch") | {"Idempotency-Key": "k1"}
    made = create(service, headers=headers)
    make_older(service, timedelta(hours=23))
    assert create(service, headers=headers).content == made.content


def test_two_people_cannot_change_a_study_unseen(service):
    headers, tag = service.by("launch"), create(service).headers["etag"]
    place = f"{API}/studies/small/content"
    changed = STUDY.replace("tolerance: 1", "tolerance: 0.5")
    answer = service.client.put(place, content=changed, headers=headers | {"If-Match": tag})
    assert answer.status_code == 200
    assert answer.headers["etag"] != tag
    late = service.client.put(place, content=STUDY, headers=headers | {"If-Match": tag})
    assert "of version 2 by now" in problem(late, 412)
    kept = service.client.get(place, headers=headers)
    assert kept.json()["search"]["tolerance"] == 0.5
    assert kept.headers["etag"] == answer.headers["etag"]
    problem(service.client.delete(f"{API}/studies/small", headers=headers | {"If-Match": tag}), 412)


def test_clone_has_the_content_with_changes(service):
    create(service)
    body = {"study": "copy", "changes": {"search": {"tolerance": 0.5, "floor": None}}}
    answer = service.client.post(
        f"{API}/studies/small/clone", json=body, headers=service.by("launch")
    )
    assert answer.status_code == 201
    search = service.store.service.launch("copy").content["search"]
    assert (search["tolerance"], search["first"]) == (0.5, 7)
    assert search["floor"] == 0
    evil = {"study": "copy2", "changes": {"model": "/etc"}}
    problem(
        service.client.post(f"{API}/studies/small/clone", json=evil, headers=service.by("launch")),
        422,
    )


def test_clone_of_a_study_that_names_models_and_data_of_the_service(service, tmp_path):
    (tmp_path / "models/mine").mkdir()
    (tmp_path / "data/mine.jsonl").write_text("{}")
    content = NAMED.replace("model: demo", "model: mine").replace("demo:calibration", "mine.jsonl")
    assert create(service, content).status_code == 201
    headers, place = service.by("launch"), f"{API}/studies/small"
    answer = service.client.post(f"{place}/clone", json={"study": "copy"}, headers=headers)
    assert answer.status_code == 201
    kept = service.client.get(f"{place}/content", headers=headers)
    assert (
        service.client.put(f"{place}/content", content=kept.content, headers=headers).status_code
        == 200
    )


def tended(service):
    service.client.app.state.office.launching.tend()


def test_searches_beyond_the_bound_wait_for_their_turn(service):
    for name in ("one", "two", "three"):
        create(service, STUDY.replace("small", name), start=True)
    tended(service)
    assert [one.study for one in service.backend.begun] == ["one"]
    tended(service)
    assert len(service.backend.begun) == 1
    service.store.service.claim("one", 1, {"host": "h", "pid": 1})
    service.store.service.end_launch("one", 1, "finished")
    tended(service)
    assert [one.study for one in service.backend.begun] == ["one", "two"]
    states = {
        one["name"]: one["state"]
        for one in service.client.get(f"{API}/studies", headers=service.by("read")).json()[
            "studies"
        ]
    }
    assert states == {"one": "ended", "two": "starting", "three": "queued"}


def test_queue_outlives_the_service(serve):
    first = serve()
    for name in ("one", "two"):
        create(first, STUDY.replace("small", name), start=True)
    tended(first)
    second = serve()
    tended(second)
    assert second.backend.begun == []
    second.store.service.claim("one", 1, {"host": "h", "pid": 1})
    second.store.service.end_launch("one", 1, "finished")
    tended(second)
    assert [one.study for one in second.backend.begun + first.backend.begun[1:]] == ["two"]


def test_study_that_waits_can_be_stopped_and_started_again(service):
    for name in ("one", "two"):
        create(service, STUDY.replace("small", name), start=True)
    headers = service.by("launch")
    answer = service.client.post(f"{API}/studies/two/stop", headers=headers)
    assert (answer.status_code, answer.json()["state"]) == (202, "created")
    answer = service.client.post(f"{API}/studies/two/start", headers=headers)
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")


def test_search_whose_coordinator_has_not_come_can_be_stopped_and_started_again(service):
    create(service, start=True)
    assert service.store.service.take(1).attempt == 1
    headers = service.by("launch")
    answer = service.client.post(f"{API}/studies/small/stop", headers=headers)
    assert (answer.status_code, answer.json()["state"]) == (202, "ended")
    with pytest.raises(StateError, match="attempt 1 at `small` is not wanted any more"):
        service.store.service.claim("small", 1, {"host": "h", "pid": 1})
    answer = service.client.post(f"{API}/studies/small/start", headers=headers)
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    second = service.store.service.take(1)
    service.store.service.claim("small", second.attempt, {"host": "h", "pid": 1})
    answer = service.client.post(f"{API}/studies/small/stop", headers=headers)
    assert (answer.status_code, "is only beginning" in answer.json()["detail"]) == (409, True)


def test_search_whose_process_is_gone_has_failed(service):
    create(service, start=True)
    tended(service)
    service.store.service.claim("small", 1, {"host": "h", "pid": 1})
    service.backend.alive = None
    tended(service)
    assert service.store.service.launch("small").state == "STARTED"
    service.backend.alive = False
    tended(service)
    found = service.client.get(f"{API}/studies/small", headers=service.by("read")).json()
    assert (found["state"], found["ending"]) == ("failed", "failed")
    assert "ended without a word" in found["reason"]


def test_only_the_attempt_that_was_begun_may_claim_a_launch(service):
    from schedsearch.store.launches import StateError

    create(service, start=True)
    tended(service)
    with pytest.raises(StateError):
        service.store.service.claim("small", 2, {"host": "h", "pid": 1})
    service.store.service.claim("small", 1, {"host": "h", "pid": 1})
    with pytest.raises(StateError):
        service.store.service.claim("small", 1, {"host": "h", "pid": 2})


def test_launch_that_nobody_claims_waits_again(service, monkeypatch):
    from schedsearch.store import launches

    create(service, start=True)
    tended(service)
    assert CLAIM_SECONDS > 60
    monkeypatch.setattr(launches, "CLAIM_SECONDS", -1.0)
    tended(service)
    assert [one.attempt for one in service.backend.begun][:2] == [1, 2]


def test_study_that_is_at_work_cannot_be_changed_or_deleted(service):
    create(service, start=True)
    headers = service.by("launch")
    place = f"{API}/studies/small"
    problem(service.client.put(f"{place}/content", content=STUDY, headers=headers), 409)
    problem(service.client.delete(place, headers=headers), 409)


@pytest.mark.parametrize("path", ["", "/content", "/trials", "/best", "/schedule", "/events"])
def test_study_that_is_not_there_is_not_found(service, path):
    answer = service.client.get(f"{API}/studies/none{path}", headers=service.by("read"))
    assert "none" in problem(answer, 404)


def test_service_works_under_a_path_of_a_proxy(serve):
    service = serve(root_path="/tools/schedsearch")
    made = create(service)
    assert made.headers["location"] == f"/tools/schedsearch{API}/studies/small"
    answer = service.client.get("/", follow_redirects=False)
    assert answer.headers["location"] == "/tools/schedsearch/login"
    assert 'action="/tools/schedsearch/login"' in service.client.get("/login").text


def test_damage_to_the_store_is_no_study_that_is_not_there(service):
    from sqlalchemy import text

    create(service)
    with service.store._database.writing() as connection:
        connection.execute(text("UPDATE launch SET created = 'long ago'"))
    answer = service.client.get(f"{API}/studies/small", headers=service.by("read"))
    assert "damaged" in problem(answer, 503)

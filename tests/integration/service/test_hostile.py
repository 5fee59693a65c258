"""What people send who mean harm, at every place where it can be sent.

Tokens, sessions and hosts are in test_access.py, names of models and data in test_studies.py,
archives one by one in tests/unit/app/test_unpacking.py.
"""

import io
import socket
import stat
import tarfile
import zipfile
from collections.abc import Iterator

import pytest

from schedsearch.service.auth import COOKIE
from tests.archives import png, rows, tar, tar_of, zipped
from tests.integration.service.conftest import STUDY
from tests.integration.service.test_access import API, logged_in, problem
from tests.integration.service.test_uploads import GZIP, TAR, ZIP, left_over, sets, upload
from tests.pace import some

MARKUP = "<img src=x onerror=alert(1)>"
SQL = "'); DROP TABLE token; --"

TAKERS = {
    "/studies": "post",
    "/studies:validate": "post",
    "/studies/small/content": "put",
    "/studies/small/clone": "post",
    "/tokens": "post",
}


@pytest.mark.parametrize(
    ("content", "statuses"),
    [
        ("[" * 200_000, {400, 422}),
        ('{"study":' + '{"a":' * 200_000, {400, 422}),
        ('{"study": "x", "changes": ' + "[" * 9000 + "]" * 9000 + "}", {400, 422}),
        ('{"study": "' + "x" * (2 << 20) + '"}', {413}),
    ],
    ids=["nested list", "nested mapping", "nested value", "large"],
)
def test_deep_and_large_bodies_are_refused_wherever_one_is_taken(service, content, statuses):
    headers = service.by("admin")
    service.client.post(f"{API}/studies", content=STUDY, headers=headers)
    headers["Content-Type"] = "application/json"
    for path, method in TAKERS.items():
        answer = service.client.request(method, f"{API}{path}", content=content, headers=headers)
        assert answer.status_code in statuses, (path, answer.text[:300])
        problem(answer, answer.status_code)


def test_large_form_logs_nobody_in(service):
    answer = service.client.post("/login", data={"token": "x" * (2 << 20), "csrf": "x"})
    assert answer.status_code == 413


@pytest.mark.parametrize("name", [MARKUP, SQL])
def test_markup_and_sql_in_names_are_letters(service, name):
    admin = service.by("admin")
    made = service.client.post(f"{API}/tokens", json={"name": name}, headers=admin).json()
    digest = upload(service, tar({"r.jsonl": rows("a.png"), "a.png": png("red")}), TAR, name=name)
    assert digest.status_code == 201
    assert sets(service)[0]["name"] == name
    listed = service.client.get(f"{API}/tokens", headers=admin).json()
    assert [one["name"] for one in listed if one["id"] == made["id"]] == [name]
    answer = service.client.get(f"{API}/audits", headers=admin)
    assert answer.json()["audits"][0]["detail"]["name"] == name
    assert answer.headers["content-type"] == "application/json"
    cloned = {"study": name}
    service.client.post(f"{API}/studies", content=STUDY, headers=admin)
    refused = service.client.post(f"{API}/studies/small/clone", json=cloned, headers=admin)
    assert "letters, digits" in problem(refused, 422)
    missing = service.client.get(f"{API}/studies", params={"cursor": name}, headers=admin)
    assert "cursor" in problem(missing, 422)


def test_pages_show_markup_in_names_as_text(service):
    token = service.client.post(
        f"{API}/tokens", json={"name": MARKUP, "scope": "launch"}, headers=service.by("admin")
    ).json()["token"]
    by = {"Authorization": f"Bearer {token}"}
    service.client.post(f"{API}/studies", content=STUDY, headers=by)
    logged_in(service, token)
    for path in ("/studies", "/studies/small", f"/studies/{MARKUP}"):
        page = service.client.get(path)
        assert page.headers["content-type"].startswith("text/html"), path
        assert "<img src=x" not in page.text, path
    assert "&lt;img" in service.client.get("/studies/small").text


@pytest.mark.parametrize("form", [{}, {"csrf": ""}])
def test_form_without_its_token_does_nothing(service, form):
    service.client.get("/login")
    answer = service.client.post("/login", data={"token": service.token(), **form})
    assert answer.status_code in (403, 422)
    assert COOKIE not in service.client.cookies
    logged_in(service, service.token())
    assert service.client.post("/logout", data=form).status_code in (403, 422)
    assert service.client.get(f"{API}/studies").status_code == 200, "still logged in"


@pytest.mark.full
def test_a_thousand_logins_a_minute_by_the_form_are_told_to_wait(service):
    statuses = []
    for attempt in range(1000):
        if attempt < 12 or attempt > 996:
            csrf = service.client.get("/login").text.partition('name="csrf" value="')[2]
            csrf = csrf.partition('"')[0]
        form = {"token": f"schs_1_{attempt}", "csrf": csrf}
        answer = service.client.post("/login", data=form, follow_redirects=False)
        statuses.append(answer.status_code)
    assert statuses[:10] == [401] * 10
    assert statuses[10] == statuses[-1] == 429
    assert COOKIE not in service.client.cookies


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A place in the network that a service could be led to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        yield listening


@pytest.mark.parametrize(
    "image",
    some(
        [
            "http://127.0.0.1:{port}/a.png",
            "ftp://127.0.0.1:{port}/a.png",
            "//127.0.0.1:{port}/a.png",
            "file:///etc/passwd",
            "/etc/passwd",
            "../../../../../../etc/passwd",
        ],
        fast=["http://127.0.0.1:{port}/a.png"],
    ),
)
def test_images_elsewhere_are_neither_read_nor_fetched(service, listener, image):
    named = image.format(port=listener.getsockname()[1])
    detail = problem(upload(service, tar({"r.jsonl": rows(named)}), TAR), 422)
    assert detail.startswith("r.jsonl:1: ") and "root:" not in detail
    with pytest.raises(TimeoutError):
        listener.accept()


@pytest.mark.parametrize("key", ["model", "calibration"])
def test_models_and_data_are_fetched_from_nowhere(service, listener, key):
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
    for path in ("studies", "studies:validate"):
        content = STUDY.replace(": demo\n", f": {url}\n") if key == "model" else STUDY
        content = content.replace("demo:calibration", url) if key != "model" else content
        headers = service.by("launch")
        problem(service.client.post(f"{API}/{path}", content=content, headers=headers), 422)
    with pytest.raises(TimeoutError):
        listener.accept()


def link() -> bytes:
    """A zip in which a name is a link to elsewhere."""
    made, entry = io.BytesIO(), zipfile.ZipInfo("a.png")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("r.jsonl", rows("a.png"))
        archive.writestr(entry, "/etc/passwd")
    return made.getvalue()


def linked() -> bytes:
    """A tar in which a folder is a link to elsewhere, and a file lies in it."""
    folder = tarfile.TarInfo("images")
    folder.type, folder.linkname = tarfile.SYMTYPE, ".."
    return tar_of([(folder, b""), (tarfile.TarInfo("images/evil"), b"x")], "w:gz")


@pytest.mark.parametrize(
    ("kind", "archive", "said"),
    [
        (ZIP, zipped({"../evil": b"x"}), "without `..`"),
        (GZIP, linked(), "a link or a device"),
        pytest.param(
            ZIP, zipped({"/evil": b"x"}), "below the archive's top", marks=pytest.mark.full
        ),
        pytest.param(GZIP, tar({"../evil": b"x"}, "w:gz"), "without `..`", marks=pytest.mark.full),
        pytest.param(ZIP, link(), "a link or a device", marks=pytest.mark.full),
    ],
    ids=["zip slip", "tar link", "absolute", "tar slip", "zip link"],
)
def test_archives_that_lead_elsewhere_are_refused(service, kind, archive, said):
    before = {path.name for path in service.settings.folder.parent.rglob("*")}
    assert said in problem(upload(service, archive, kind), 422)
    assert {path.name for path in service.settings.folder.parent.rglob("*")} - before <= {".lock"}
    assert left_over(service) == []


@pytest.mark.parametrize("kind", [ZIP, GZIP])
def test_bomb_is_refused_and_leaves_nothing(serve, kind):
    service, files = serve(quota=1 << 20), {"r.jsonl": rows("a.png"), "a.png": bytes(64 << 20)}
    archive = zipped(files) if kind == ZIP else tar(files, "w:gz")
    assert len(archive) < 100_000
    assert "more room than" in problem(upload(service, archive, kind), 413)
    assert left_over(service) == []

"""The pages for comparing studies, of who searches, and of tokens."""

import re
import shutil
import sqlite3
from dataclasses import replace
from html import unescape

import pytest

from schedsearch.core.progress import WorkerSeen
from schedsearch.store.store import open_store
from tests.integration.service.conftest import STUDY
from tests.integration.service.test_access import logged_in
from tests.integration.service.test_study_page import searched  # noqa: F401
from tests.unit.store.strategies import PROGRESS

API = "/api/v1"


def csrf_of(page):
    return re.search(r'name="csrf" value="([^"]+)"', page).group(1)


def text_of(page):
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)))


def test_token_is_made_shown_once_and_revoked(service):
    logged_in(service, service.token("admin"))
    page = service.client.get("/tokens").text
    asked = {"csrf": csrf_of(page), "name": "<b>ci</b>", "scope": "launch", "days": "2"}
    answer = service.client.post("/tokens", data=asked)
    assert answer.status_code == 201
    secret = re.search(r"schs_\d+_[\w-]+", answer.text).group()
    assert "<b>ci</b>" not in answer.text
    by = {"Authorization": f"Bearer {secret}"}
    token = service.client.get(f"{API}/token", headers=by).json()
    assert (token["name"], token["scope"]) == ("<b>ci</b>", "launch")
    assert token["expires"] is not None
    page = service.client.get("/tokens").text
    assert secret not in page
    revoke = f"/tokens/{token['id']}/revoke"
    assert f'action="{revoke}"' in page
    assert service.client.post(revoke, data={"csrf": "guessed"}).status_code == 403
    assert service.client.get(f"{API}/token", headers=by).status_code == 200
    service.client.post(revoke, data={"csrf": csrf_of(page)})
    assert service.client.get(f"{API}/token", headers=by).status_code == 401
    page = service.client.get("/tokens").text
    assert f'action="{revoke}"' not in page
    assert "revoke token" in page
    assert secret not in str(service.store.service.audits())


@pytest.mark.parametrize(
    ("field", "value"), [("name", ""), ("scope", "root"), ("days", "soon"), ("days", "-1")]
)
def test_token_that_cannot_be_made_is_told_at_the_form(service, field, value):
    logged_in(service, service.token("admin"))
    page = service.client.get("/tokens").text
    before = len(service.store.service.tokens())
    asked = {"csrf": csrf_of(page), "name": "ci", "scope": "read", "days": ""} | {field: value}
    answer = service.client.post("/tokens", data=asked)
    assert answer.status_code == 422
    assert f"`{field}`" in answer.text
    assert len(service.store.service.tokens()) == before


def test_audits_are_paged(service):
    logged_in(service, service.token("admin"))
    for number in range(120):
        service.store.service.add_audit("w", "do", f"thing-{number}", "here", {"n": number})
    seen, place = [], "/tokens"
    while place:
        page = service.client.get(place).text
        seen += re.findall(r"<span>(thing-\d+)</span>", page)
        found = re.search(r'href="([^"]+)">Earlier<', page)
        place = unescape(found.group(1)) if found else ""
    assert seen == [f"thing-{number}" for number in reversed(range(120))]


@pytest.mark.parametrize("scope", ["read", "launch"])
def test_tokens_are_for_admins(service, scope):
    logged_in(service, service.token(scope))
    assert service.client.get("/tokens").status_code == 403
    page = service.client.get("/studies").text
    assert 'href="/tokens"' not in page
    csrf = csrf_of(page)
    assert service.client.post("/tokens", data={"csrf": csrf, "name": "x"}).status_code == 403
    assert service.client.post("/tokens/1/revoke", data={"csrf": csrf}).status_code == 403
    assert len(service.store.service.tokens()) == 1


def test_queue_and_who_searches_are_shown(serve, searched):  # noqa: F811
    service = serve(store=str(searched))
    logged_in(service, service.token("read"))
    page = text_of(service.client.get("/cluster").text)
    assert "Nobody searches now" in page
    assert "Start a study" not in page
    assert "Nothing waits" in page
    with open_store(searched) as store, store.lease("small") as held:
        workers = (
            WorkerSeen("gpu-2 (node 1f)", 77, "works", 25, 3, 0.4),
            WorkerSeen("", 0, "waits", 0, 0, 0.0),
            WorkerSeen("gpu-1 (node 0a)", 76, "opens", 0, 0, 0.2),
        )
        store.beat(held, replace(PROGRESS, workers=workers))
        crews = text_of(service.client.get("/cluster").text).partition("Workers on clusters 3")[2]
        assert re.search(
            r"2 nodes .*gpu-1 .* 76 small loads the model 0 .*gpu-2 .* 77 small "
            r"evaluates 25 samples 3 .* ago .*Without a node yet .* waits for room",
            crews,
        )
        holder = store.study("small").holder
        page = text_of(service.client.get("/cluster").text)
        assert holder.host in page
        assert f"small {holder.pid} " in page
        service.client.post(
            f"{API}/studies?start=true",
            content=STUDY.replace("small", "queued"),
            headers=service.by("launch"),
        )
        assert "queued" in text_of(service.client.get("/cluster").text).partition("Queue")[2]
        store.service.withdraw("queued")
        store.service.remove_launch("queued", None)


def test_studies_are_compared_by_what_they_found(serve, searched):  # noqa: F811
    service = serve(store=str(searched))
    logged_in(service, service.token("read"))
    page = service.client.get("/compare?study=small&study=small").text
    best = service.client.get(f"{API}/studies/small/best", headers=service.by("read")).json()
    assert f"{100 * best['flops_ratio']:.1f}\N{NARROW NO-BREAK SPACE}%" in page
    assert text_of(page).count("Nothing was certified") == 1
    assert 'id="curves"' in page
    assert service.client.get("/compare?study=none").status_code == 404
    many = "&".join(f"study=s{number}" for number in range(6))
    answer = service.client.get(f"/compare?study=small&{many}")
    assert answer.status_code == 200
    assert "7 studies are chosen, and at most 5 fit side by side" in answer.text
    assert 'value="small" checked' in answer.text
    assert "No study is chosen" not in answer.text
    assert service.client.get(f"/compare/curves.csv?{many}").status_code == 422
    assert "No study is chosen" in service.client.get("/compare").text


def test_comparing_needs_studies_that_have_begun(service):
    logged_in(service, service.token("read"))
    assert "Nothing to compare yet" in service.client.get("/compare").text
    service.client.post(f"{API}/studies", content=STUDY, headers=service.by("launch"))
    answer = service.client.get("/compare?study=small")
    assert answer.status_code == 200
    assert "No trial yet" in answer.text
    assert 'value="small" checked' in answer.text


def test_slash_in_a_name_is_a_letter(serve, searched, tmp_path):  # noqa: F811
    name, place = "a/b", "/studies/a%2Fb"
    shutil.copy(searched, tmp_path / "copy.db")
    with sqlite3.connect(tmp_path / "copy.db") as renamed:
        renamed.execute("UPDATE study SET name = ?1, spec = json_set(spec, '$.name', ?1)", (name,))
    service = serve(store=str(tmp_path / "copy.db"))
    answer = service.client.get(place, follow_redirects=False)
    assert answer.headers["location"].endswith("next=%2Fstudies%2Fa%252Fb")
    logged_in(service, service.token("launch"))
    assert f'href="{place}"' in service.client.get("/studies").text
    page = service.client.get(place).text
    assert f"<h1>{name}</h1>" in page
    for link in re.findall(f'href="(/[^"]*{place}[^"]*)"', page):
        assert service.client.get(unescape(link)).status_code == 200, link
    assert f'href="{place}/trials/0"' in page
    assert "<h1>Trial 0</h1>" in service.client.get(f"{place}/trials/0").text
    shown = service.client.get(f"{API}{place}", headers=service.by("read")).json()
    assert shown["name"] == name

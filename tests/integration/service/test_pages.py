"""What all pages have in common: logging in, links, files, failures."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from schedsearch.service.app import PAGES
from schedsearch.service.assets import FOLDER, version_of
from schedsearch.service.pages.page import PageRoute
from tests.integration.service.test_access import logged_in

VENDORED = (FOLDER / "vendor", Path(__file__).parents[2] / "e2e" / "pages" / "vendor")


def test_visitor_logs_in_and_comes_back_to_the_page_of_the_link(service):
    link = "/studies?q=a%20b&state=running"
    answer = service.client.get(link, follow_redirects=False)
    assert answer.status_code == 303
    form = service.client.get(answer.headers["location"]).text
    fields = dict(re.findall(r'name="(csrf|next)" value="([^"]*)"', form))
    fields["next"] = fields["next"].replace("&amp;", "&")
    token = service.token("read")
    answer = service.client.post("/login", data={"token": token} | fields, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, link)


@pytest.mark.parametrize(
    "target",
    [
        "https://elsewhere.example/",
        "//elsewhere.example/",
        "/\\elsewhere.example/",
        "\\\\elsewhere.example",
        "javascript:alert(1)",
        "/\telsewhere.example",
        "studies",
        "/studies\r\nSet-Cookie: a=b",
    ],
)
def test_logging_in_leads_to_no_other_site(service, target):
    form = service.client.get("/login", params={"next": target}).text
    csrf = re.search(r'name="csrf" value="([^"]+)"', form).group(1)
    data = {"token": service.token("read"), "csrf": csrf, "next": target}
    answer = service.client.post("/login", data=data, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_link_on_another_site_is_asked_for_once_more_from_here(service):
    logged_in(service, service.token("read"))
    cookies = dict(service.client.cookies)
    service.client.cookies.clear()
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    page = service.client.get("/studies?q=a", headers=elsewhere, follow_redirects=False)
    assert page.status_code == 200
    assert '<meta http-equiv="refresh" content="0; url=/studies?q=a">' in page.text
    service.client.cookies.update(cookies)
    assert "No study yet" in service.client.get("/studies?q=a").text


def test_pages_are_found_under_the_path_of_a_proxy(serve):
    service = serve(root_path="/tools/search")
    answer = service.client.get("/tools/search/studies", follow_redirects=False)
    assert answer.headers["location"] == "/tools/search/login?next=%2Ftools%2Fsearch%2Fstudies"
    page = service.client.get(answer.headers["location"]).text
    found = re.findall(r'(?:href|src|action)="([^"#]+)"', page)
    assert found
    assert all(one.startswith("/tools/search/") for one in found)
    for one in found:
        if "/static/" in one:
            assert service.client.get(one).status_code == 200


def test_nothing_in_pages_needs_a_laxer_policy(service):
    logged_in(service, service.token("admin"))
    answer = service.client.get("/studies")
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'self'" in policy
    assert " style=" not in answer.text
    assert not re.search(r"<script(?![^>]*\bsrc=)", answer.text)
    assert not re.search(r"\son\w+=", answer.text)


def test_files_are_kept_by_browsers_until_one_of_them_changes(service, tmp_path):
    page = service.client.get("/login").text
    style = re.search(r'href="([^"]+\.css)"', page).group(1)
    answer = service.client.get(style)
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    other = re.sub(r"/static/\w+/", "/static/0/", style)
    assert service.client.get(other).headers["cache-control"] == "no-cache"
    (tmp_path / "static").mkdir()
    file = tmp_path / "static" / "a.js"
    versions = set()
    for content in ("1", "2"):
        file.write_text(content)
        versions.add(version_of(tmp_path / "static"))
    file.rename(file.with_name("b.js"))
    assert len(versions | {version_of(tmp_path / "static")}) == 3


@pytest.mark.parametrize(
    "path", ["page.css/..%2f..%2fapp.py", "../app.py", "%2e%2e/app.py", "none"]
)
def test_no_other_files_are_served(service, path):
    version = service.client.app.state.assets.version
    assert service.client.get(f"/static/{version}/{path}").status_code == 404


@pytest.mark.parametrize("folder", VENDORED, ids=("pages", "tests"))
def test_vendored_files_are_those_of_their_packages(folder):
    listed = json.loads((folder / "packages.json").read_text())
    found = {
        f"{package}/{name}"
        for package, one in listed.items()
        for name in (*one["files"], one["licence_file"])
    }
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    there |= {path.relative_to(folder).as_posix() for path in folder.rglob("LICENSE")}
    assert there - {"packages.json"} == found
    for package, one in listed.items():
        assert re.fullmatch(r"sha512-[\w+/]{86}==", one["integrity"])
        for name, integrity in one["files"].items():
            content = (folder / package / name).read_bytes()
            digest = base64.b64encode(hashlib.sha384(content).digest()).decode()
            assert integrity == f"sha384-{digest}", name


def test_scripts_of_our_own_are_small():
    assert 10_000 < sum(path.stat().st_size for path in FOLDER.glob("*.js")) < 20_000


def test_page_that_is_not_there_says_so_as_a_page(service):
    logged_in(service, service.token("read"))
    answer = service.client.get("/studies?sort=beauty")
    assert answer.status_code == 422
    assert "This page cannot be shown" in answer.text
    assert "`sort`" in answer.text


def test_every_page_asks_for_a_login(service):
    every = [route for page in PAGES for route in page.router.routes]
    pages = [route for route in every if route.path not in ("/login", "/logout")]
    assert pages
    for route in pages:
        assert isinstance(route, PageRoute)
        place = re.sub(r"\{number[^}]*\}", "0", route.path)
        place = re.sub(r"\{[^}]*\}", "x", place)
        for method in route.methods:
            answer = service.client.request(method, place, follow_redirects=False)
            assert answer.status_code == 303, place
            assert answer.headers["location"].startswith("/login")

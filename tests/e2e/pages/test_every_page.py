"""What holds for every page there is, at every width and in both themes."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from schedsearch.app.config import parse_study
from schedsearch.app.configured import prepare
from schedsearch.service.app import PAGES
from schedsearch.store.store import open_store
from tests.e2e.pages.conftest import Site, Visit, cut, overflow, served, visiting
from tests.pace import some
from tests.unit.store.strategies import COMPARISON

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
NAME = "searched"
STUDY = """
study: searched
model: demo
data:
  calibration: demo:calibration
  calibration_samples: 12
  certify: demo:certify
  certify_samples: 40
search: {tolerance: 1, floor: 60, first: 7}
certify: {tolerance: 0.9}
"""
_PARTS = {"name": NAME, "number": "0"}


def places(visit: Visit) -> list[str]:
    """Paths of all pages, and of some that show other things by their query."""
    routes = [route for page in PAGES for route in page.router.routes if "GET" in route.methods]
    paths = [one.path for one in routes if set(re.findall(r"{(\w+)", one.path)) <= set(_PARTS)]
    paths = [re.sub(r"\{(\w+)[^}]*\}", lambda part: _PARTS[part[1]], one) for one in paths]
    pages = [one for one in paths if one != "/" and _is_page(visit, one)]
    queries = (f"/compare?study={NAME}", "/studies?q=none", "/studies/none", "/tokens?cursor=x")
    return [*pages, *queries]


def _is_page(visit: Visit, path: str) -> bool:
    answer = visit.page.request.get(visit.site.url + path)
    assert answer.status < 500, path
    shown = "content-disposition" not in answer.headers
    return answer.ok and shown and answer.text().lstrip().startswith("<!doctype html>")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service with a search that has ended, its certificate, and a comparison."""
    folder: Path = tmp_path_factory.mktemp("site")
    ready = prepare(parse_study(STUDY, "study"), folder, folder / "store.db")
    with ready.open() as study:
        study.run()
        assert ready.certify is not None
        study.certify(ready.certify, tolerance=0.9)
        compared = replace(COMPARISON, schedule=study.best, certified=None)
        study.store.put_comparison(NAME, compared)
    with served(folder / "store.db") as site:
        yield site


def violations(page: Page) -> list[tuple[str, str, list[str]]]:
    """What axe finds serious on a page: rule, what is wrong, and where."""
    page.evaluate(AXE.read_text())
    found: dict[str, Any] = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        (one["id"], one["help"], [node["html"][:200] for node in one["nodes"]])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def test_no_more_studies_can_be_ticked_than_fit(browser: Browser, site: Site) -> None:
    names = [f"more-{number}" for number in range(6)]
    with open_store(site.store) as store, visiting(browser, site) as visit:
        for name in names:
            store.service.add_launch(name, {"study": name}, "tester", "local")
        page = visit.go("/studies")
        boxes = page.locator("input[name=study]")
        for name in names[:5]:
            page.get_by_label(f"Compare {name}", exact=True).check()
        expect(boxes.and_(page.locator(":enabled"))).to_have_count(5)
        page.get_by_label("Compare more-0", exact=True).uncheck()
        expect(boxes.and_(page.locator(":enabled"))).to_have_count(7)
        visit.go("/compare?" + "&".join(f"study={name}" for name in names))
        expect(page.get_by_text("6 studies are chosen, and at most 5 fit")).to_be_visible()
        expect(boxes.and_(page.locator(":enabled"))).to_have_count(6)
        for name in names:
            store.service.remove_launch(name, None)


LONG = (
    "a-rather-long-name-of-a-study-1",
    "llava-1.5-7b-textvqa-tolerance-0.01-seed-2",
    "internvl3-8b_docvqa_budget_40_percent_bayes",
    "x" * 60,
    "five words and a tail.of.dots",
)
RENAMED = "UPDATE study SET name = ?1, spec = json_set(spec, '$.name', ?1) WHERE name = ?2"


def test_long_names_fit_side_by_side(browser: Browser, tmp_path: Path, site: Site) -> None:
    path = tmp_path / "store.db"
    for name in LONG:
        with open_store(site.store, read_only=True) as known, open_store(path) as store:
            known.copy_to(store, (NAME,))
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(RENAMED, (name, NAME))
    query = "&".join(f"study={quote(name)}" for name in LONG)
    with served(path) as renamed, visiting(browser, renamed) as visit:
        for place in (f"/compare?{query}", "/studies", "/cluster", f"/studies/{LONG[3]}"):
            page = visit.go(place)
            page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
            for width in (380, 800, 900, 1440):
                page.set_viewport_size({"width": width, "height": 900})
                assert overflow(page) == 0, (place, width)
                assert cut(page) == [], (place, width)


def test_axe_finds_what_is_wrong(browser: Browser, site: Site) -> None:
    with visiting(browser, site) as visit:
        page = visit.go("/studies")
        page.evaluate("document.querySelector('h1').innerHTML = '<img src=\"/none.svg\">'")
        visit.forgiven = ("404",)
        assert "image-alt" in [rule for rule, _, _ in violations(page)]


@pytest.mark.parametrize(
    ("width", "theme"),
    some(
        [(380, "light"), (1440, "dark"), (380, "dark"), (1440, "light")],
        [(380, "light")],
    ),
)
def test_every_page_is_accessible_and_fits(
    browser: Browser, site: Site, width: int, theme: str
) -> None:
    with visiting(browser, site, width, color_scheme=theme) as visit:
        visit.forgiven = ("404 (Not Found)", "422 (Unprocessable")
        every = places(visit)
        for place in every:
            page = visit.go(place)
            page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
            assert violations(page) == [], place
            assert overflow(page) == 0, place
            assert cut(page) == [], place
        expected = {"login", "studies", "compare", "start", "cluster", "tokens", f"studies/{NAME}"}
        assert {f"/{one}" for one in expected} <= set(every)

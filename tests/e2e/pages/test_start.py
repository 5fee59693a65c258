"""A study from its form to its schedule, in a browser and then on the command line."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect

from schedsearch import Schedule
from schedsearch.app.study_view import StudyView
from schedsearch.store.store import open_store
from tests.e2e.pages.conftest import Site, served, visiting
from tests.e2e.pages.test_trial import DRAWN
from tests.integration.service.test_study_page import SEARCHED

PROGRAM = Path(sys.executable).with_name("schedsearch")
DEMO = Path(__file__).parents[3] / "studies" / "demo.yaml"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    store = tmp_path_factory.mktemp("site") / "store.db"
    open_store(store).close()
    with served(store) as site:
        yield site


def write(page: Page, text: str) -> None:
    page.get_by_label("Study file", exact=True).fill(text)


def file_of(page: Page) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(
        page.get_by_label("Study file", exact=True).input_value()
    )
    return found


def watched(page: Page, name: str, folder: Path, limit: float) -> Path:
    """Wait for the end of a search on its page, and take its schedule away."""
    page.wait_for_url(f"**/studies/{name}")
    expect(page.locator("#head .badge")).to_have_text("ended", timeout=1000 * limit)
    expect(page.locator("#curve")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Schedule (JSON)").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def applied(schedule: Path) -> str:
    command = [PROGRAM, "apply", "demo", schedule, "--limit", "8", "--repeats", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.full
def test_study_goes_from_the_form_to_a_schedule_that_applies(
    browser: Browser, site: Site, tmp_path: Path
) -> None:
    with visiting(browser, site) as visit:
        page = visit.page
        page.get_by_role("navigation").get_by_role("link", name="Start").click()
        write(page, SEARCHED.replace("small", "walked").replace("first: 4", "first: 7"))
        expect(page.get_by_label("Name")).to_have_value("walked")
        page.get_by_label("Samples of it").fill("12")
        page.get_by_role("button", name="Create and start").click()  # before it is written
        schedule = watched(page, "walked", tmp_path, 120)
        with open_store(site.store, read_only=True) as store:
            content = store.service.launch("walked").content  # type: ignore[union-attr]
            best = StudyView(store, "walked").best
        assert content["data"]["calibration_samples"] == 12
        assert Schedule.load(schedule).keep == best.keep
        assert "FLOPs" in applied(schedule)
        page.goto("about:blank")


def test_form_follows_what_is_typed(browser: Browser, site: Site) -> None:
    with visiting(browser, site) as visit:
        page = visit.go("/start")
        verdict = page.locator("#verdict")
        expect(verdict).to_contain_text("can be started")
        drop = page.get_by_label("Greatest drop")
        drop.fill("-1")
        expect(verdict).to_contain_text("`search.tolerance`")
        expect(drop).to_have_attribute("aria-invalid", "")
        assert file_of(page)["search"] == {"sampler": "g-search", "tolerance": -1}
        drop.fill("0.02")
        expect(verdict).to_contain_text("can be started")
        expect(page.get_by_label("Budget")).to_be_hidden()
        page.get_by_label("Sampler").select_option("bayes")
        expect(verdict).to_contain_text("`search.budget` is missing")
        page.get_by_label("Budget").fill("0.5")
        expect(verdict).to_contain_text("can be started")
        assert file_of(page)["search"] == {"sampler": "bayes", "budget": {"flops": 0.5}}
        page.get_by_label("Name").fill("by-field")
        page.get_by_label("Name").press("Enter")  # starts nothing
        file = page.get_by_label("Study file", exact=True)
        expect(file).to_have_value(re.compile("^study: by-field\n"))
        expect(verdict).to_contain_text("can be started")
        write(page, "study: [")
        expect(verdict).to_contain_text("not valid YAML")
        with open_store(site.store, read_only=True) as store:
            assert store.service.launch("by-field") is None


def test_reader_sees_no_way_to_start(browser: Browser, site: Site) -> None:
    with visiting(browser, site) as visit:
        page = visit.go("/tokens")
        page.get_by_label("Name", exact=True).fill("reader")
        page.get_by_role("button", name="Make it").click()
        secret = page.locator(".secret").inner_text()
        page.reload()
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Token").fill(secret)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/studies")
        names = page.get_by_role("navigation").get_by_role("link").all_inner_texts()
        assert names == ["Studies", "Compare", "Cluster"]


@pytest.mark.full
def test_demo_study_is_cloned_from_its_page_and_its_export_applies(
    browser: Browser, site: Site, tmp_path: Path
) -> None:
    with visiting(browser, site) as visit:
        page = visit.go("/start")
        write(page, DEMO.read_text())
        page.get_by_role("button", name="Create and start").click()
        schedule = watched(page, "demo", tmp_path, 1200)
        assert "FLOPs" in applied(schedule)
        page.locator("#rows tr.best").get_by_role("link").click()
        expect(page.locator("#head .badge.best")).to_be_visible()
        slider, canvas = page.get_by_label(re.compile("^Layer")), page.locator(".seen canvas").first
        page.wait_for_function("() => document.querySelector('.seen canvas').width == 8")
        seen = set()
        for key in ("Home", "ArrowRight", "End"):  # layer 0 keeps all, later ones fewer and fewer
            slider.press(key)
            seen.add(tuple(canvas.evaluate(DRAWN)))
        assert len(seen) == 3
        with page.expect_download() as download:
            page.get_by_role("link", name="Schedule (JSON)").click()
        download.value.save_as(tmp_path / "trial.json")
        assert "FLOPs" in applied(tmp_path / "trial.json")
        page.go_back()
        page.get_by_text("Specification").click()
        page.get_by_role("link", name="Clone into a new study").click()
        expect(page.get_by_label("Name")).to_have_value("demo-2")
        expect(page.locator("#verdict")).to_contain_text("Judged by demo")
        page.get_by_label("Name").fill("planned")
        page.get_by_role("button", name="Plan it").click()  # before it is written
        expect(page.locator("#verdict")).to_contain_text("Judged by searching stand-ins")
        expect(page.get_by_label("Name")).to_have_value("planned")
        page.goto("about:blank")

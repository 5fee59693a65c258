"""Looking at studies in a browser, while they are searched and the server comes and goes."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from schedsearch.app.config import parse_study
from schedsearch.app.configured import prepare
from schedsearch.app.study_view import StudyView
from schedsearch.core.pareto import full, pareto
from schedsearch.store.store import open_store
from tests.e2e.pages.conftest import WIDTHS, Site, cut, overflow, served, visiting
from tests.integration.service.conftest import STUDY
from tests.integration.service.test_study_page import SEARCHED
from tests.pace import some

NAME = "small"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service with a finished search."""
    folder: Path = tmp_path_factory.mktemp("site")
    with prepare(parse_study(SEARCHED, "study"), folder, folder / "store.db").open() as study:
        study.run()
    with closing(sqlite3.connect(folder / "store.db")) as connection, connection:
        named = "'process', 'process of a name that is several dozen letters long'"
        connection.execute(f"UPDATE attempt SET workers = replace(workers, {named})")  # noqa: S608
    with served(folder / "store.db") as site:
        yield site


@pytest.mark.parametrize(
    ("width", "theme"),
    some(product(WIDTHS, ("light", "dark")), [(1440, "light")]),
)
def test_pages_fit_every_width_and_theme(
    browser: Browser, site: Site, width: int, theme: str
) -> None:
    with visiting(browser, site, width, color_scheme=theme) as visit:
        for place in ("/studies", "/studies?q=none", f"/studies/{NAME}"):
            page = visit.go(place)
            for closed in page.locator("details > summary").all():
                closed.click()
            assert overflow(page) == 0, place
            assert cut(page) == []


def test_points_of_the_plot_lead_to_their_trials(browser: Browser, site: Site) -> None:
    with visiting(browser, site) as visit:
        page = visit.go(f"/studies/{NAME}")
        over = page.locator("#scatter .u-over")
        expect(over).to_be_visible()
        with open_store(site.store, read_only=True) as store:
            trials = [one for one in store.trials(NAME) if one.measurement]
        worst = max(trials, key=lambda one: one.measurement.drop)  # type: ignore[union-attr]
        assert worst.measurement is not None
        where = page.evaluate(
            """async (trial) => {
              const over = document.querySelector("#scatter .u-over");
              const box = over.getBoundingClientRect();
              for (let x = 1; x < box.width; x += 3) for (let y = 1; y < box.height; y += 3) {
                const at = { clientX: box.x + x, clientY: box.y + y, bubbles: true };
                over.dispatchEvent(new MouseEvent("mousemove", at));
                await null;
                const tip = document.querySelector("#scatter .tip");
                if (tip.textContent.startsWith(`Trial ${trial}\\n`)) return [x, y];
              }
              return null;
            }""",
            worst.number,
        )
        assert where, "no place on the plot is that trial's"
        back = page.get_by_role("button", name="Show all")
        expect(back).to_be_hidden()
        over.scroll_into_view_if_needed()
        corner = over.bounding_box()
        assert corner is not None
        page.mouse.move(corner["x"] + 40, corner["y"] + 40)
        page.mouse.down()
        page.mouse.move(corner["x"] + 240, corner["y"] + 240, steps=4)
        page.mouse.up()
        back.click()
        expect(back).to_be_hidden()
        over.hover(position={"x": where[0], "y": where[1]})
        expect(page.locator("#scatter .tip")).to_contain_text(f"drop {worst.measurement.drop:.4f}")
        with page.expect_navigation(url=re.compile(rf"/trials/{worst.number}$")):
            over.click(position={"x": where[0], "y": where[1]})
        page.go_back()
        expect(page.get_by_role("heading", name=NAME)).to_be_visible()


def test_keyboard_reaches_every_point_of_the_plot(browser: Browser, site: Site) -> None:
    with open_store(site.store, read_only=True) as store:
        view = StudyView(store, NAME)
        measured = [one.number for one in view.trials if full(one)]
        front = [one.number for one in pareto(view.trials, view.costs)]
    with visiting(browser, site) as visit:
        page = visit.go(f"/studies/{NAME}")
        tip = page.locator("#scatter [role=status]")
        expect(page.locator("#scatter .u-over")).to_be_visible()
        page.locator("#costs .downloads a").last.focus()
        page.keyboard.press("Tab")
        expect(page.locator("#scatter")).to_be_focused()
        expect(tip).to_have_text("")
        for number in front:
            page.keyboard.press("ArrowRight")
            expect(tip).to_contain_text(f"Trial {number}\n")
            expect(tip).to_be_visible()
        page.keyboard.press("ArrowRight")  # there is none
        page.keyboard.press("ArrowLeft")
        expect(tip).to_contain_text(f"Trial {front[-2]}\n")
        page.keyboard.press("Tab")
        expect(tip).to_be_hidden()
        page.keyboard.press("Shift+Tab")
        met = {front[-2]}
        for key in ("ArrowDown", "ArrowUp"):
            for _ in measured:
                page.keyboard.press(key)
                met.add(int(re.findall(r"Trial (\d+)", tip.inner_text())[0]))
        assert met == set(measured)
        last = int(re.findall(r"Trial (\d+)", tip.inner_text())[0])
        with page.expect_navigation(url=re.compile(rf"/trials/{last}$")):
            page.keyboard.press("Enter")


def test_keyboard_reaches_content_and_moves_on(browser: Browser, site: Site) -> None:
    with visiting(browser, site) as visit:
        page = visit.go("/studies")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent") == NAME:
                break
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", "the focus is seen"
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/studies/{NAME}")


def test_order_and_filter_are_part_of_the_link(browser: Browser, site: Site) -> None:
    with visiting(browser, site) as visit:
        page = visit.go(f"/studies/{NAME}")
        page.get_by_label("Hide pruned and failed").check()
        page.wait_for_url("**hide=true**")
        expect(page.locator("#rows .badge.pruned")).to_have_count(0)
        page.locator("#rows").get_by_role("link", name="FLOPs").click()
        page.wait_for_url("**sort=flops_ratio**")
        assert "hide=true" in page.url
        with visiting(browser, site) as other:
            other.page.goto(page.url)
            expect(other.page.locator("th[aria-sort]")).to_contain_text("FLOPs")
        page.go_back()
        expect(page.locator("th[aria-sort]")).to_contain_text("Trial")


def test_times_are_those_of_the_reader(browser: Browser, site: Site) -> None:
    shown = []
    for zone in ("Asia/Tokyo", "America/Lima"):
        with visiting(browser, site, timezone_id=zone) as visit:
            times = visit.go("/studies").locator("td time")
            shown.append(times.first.inner_text())
            assert times.first.get_attribute("datetime", timeout=5000).endswith("Z")  # type: ignore[union-attr]
    assert shown[0] != shown[1]


def test_page_waits_for_nothing_while_much_is_read(browser: Browser, site: Site) -> None:
    """What takes long comes by itself after what does not."""
    with visiting(browser, site) as visit:
        page = visit.page
        page.route(f"**/studies/{NAME}", _unfinished)
        visit.go(f"/studies/{NAME}")
        expect(page.locator("#curve")).to_be_visible()
        assert page.locator(".skeleton").count() == 0


def _unfinished(route: Route) -> None:
    """Answer as for many trials."""
    answer = route.fetch()
    begun, _, rest = answer.text().partition('<div id="findings" class="findings" data-live>')
    _, _, after = rest.partition('<figure class="card" id="costs">')
    skeleton = (
        '<div id="findings" class="findings" data-live data-unfinished>'
        '<div class="skeleton">Reading</div></div><figure class="card" id="costs">'
    )
    route.fulfill(response=answer, body=begun + skeleton + after)


MOVES = """
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) (window.moved ??= []).push([one.value, ...one.sources.map(
    (source) => source.node?.outerHTML?.slice(0, 200))]);
}).observe({ type: "layout-shift", buffered: true });
"""
HEIGHTS = "['head', 'standing'].map((one) => document.getElementById(one).offsetHeight)"


@pytest.mark.full
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_moves_while_a_study_is_searched(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    store = tmp_path / "store.db"
    open_store(store).close()
    with served(store) as site, visiting(browser, site, width) as visit:
        page, headers = visit.page, {"Authorization": f"Bearer {site.token}"}
        page.add_init_script(MOVES)
        asked = f"{site.url}/api/v1/studies?start=true"
        assert page.request.post(asked, data=STUDY, headers=headers).status == 201
        visit.go(f"/studies/{NAME}")
        expect(page.locator("#rows")).to_be_visible(timeout=60_000)
        page.wait_for_load_state()  # with its style
        heights = page.evaluate(HEIGHTS)
        expect(page.locator("#head .badge")).to_have_text("ended", timeout=120_000)
        expect(page.locator("#standing")).to_contain_text("The search has ended")
        assert page.evaluate("window.moved ?? []") == []
        assert page.evaluate(HEIGHTS) == heights
        page.goto("about:blank")


@pytest.mark.full
def test_open_page_follows_a_search_through_the_end_of_its_server(
    browser: Browser, tmp_path: Path
) -> None:
    store = tmp_path / "store.db"
    open_store(store).close()
    with served(store) as first, visiting(browser, first) as visit:
        page = visit.page
        visit.forgiven = (  # what a browser says of answers that are cut off at any point
            "ERR_CONNECTION_REFUSED",
            "ERR_CONNECTION_RESET",
            "ERR_CONTENT_LENGTH_MISMATCH",
            "ERR_EMPTY_RESPONSE",
            "ERR_INCOMPLETE_CHUNKED",
        )
        expect(page.get_by_text("No study yet")).to_be_visible()
        headers = {"Authorization": f"Bearer {first.token}"}
        made = page.request.post(
            f"{first.url}/api/v1/studies?start=true", data=SEARCHED, headers=headers
        )
        assert made.status == 201
        expect(page.get_by_role("link", name=NAME)).to_be_visible()  # by itself
        page.get_by_role("link", name=NAME).click()
        expect(page.locator("#head .badge")).to_have_text("running", timeout=60_000)
        expect(page.locator("#rows")).to_be_visible(timeout=60_000)
        page.evaluate("window.opened = 1")
        first.kill()
        expect(page.locator("#connection")).to_contain_text("connection is lost")
        with served(store, first.port):
            expect(page.locator("#connection")).to_be_hidden(timeout=60_000)
            expect(page.locator("#head .badge")).to_have_text("ended", timeout=120_000)
            expect(page.locator("#curve")).to_be_visible()
            assert page.evaluate("window.opened") == 1, "nobody has loaded it again"
            with open_store(store, read_only=True) as opened:
                trials = len(opened.trials(NAME))
            expect(page.locator("#rows")).to_contain_text(f"{trials} trials")
            page.goto("about:blank")

"""People open the best trial of a real search, look at it layer by layer, and take it away."""

import json
import re

import pytest

from schedsearch import Schedule, open_study
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.store.store import open_store
from tests.e2e.pages.conftest import WIDTHS, cut, overflow, served, visiting
from tests.engine.embedded import REDUCED, embedded
from tests.pace import some

STUDY = "a/b ? c & d"
DRAWN = """canvas => {
  const { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const pixels = copy.getImageData(0, 0, width, height).data;
  let drawn = 0;
  for (let at = 3; at < pixels.length; at += 4) drawn += pixels[at] > 0;
  return [drawn / (width * height), canvas.toDataURL()];
}"""
"""Share of a canvas that is drawn on, and what is drawn."""

SIZES = """[...document.querySelectorAll('.seen img')].map((one) =>
  [one.naturalWidth, one.naturalHeight, one.getAttribute("width"), one.getAttribute("height")])"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A store with exhibits of two trials, and the number of the best."""
    path = tmp_path_factory.mktemp("trial") / "s.db"
    model, processor = embedded()
    settings = {"sampler": {"tolerance": 0.5, "first": 6, "floor": 60}, "store": path}
    data = ShapesVQA("calibration", 12)
    with open_study(model, data, processor=processor, name=STUDY, **settings) as study:
        study.enqueue(REDUCED)
        study.run()
        study.exhibit(0, samples=6)
        return path, study.exhibit(samples=2).trial


@pytest.fixture(scope="module")
def site(searched):
    with served(searched[0]) as running:
        yield running


def place(number: int) -> str:
    return f"/studies/a%2Fb%20%3F%20c%20%26%20d/trials/{number}"


@pytest.mark.parametrize("width", some(WIDTHS, (380,)))
def test_slider_shows_other_tokens_layer_by_layer(browser, site, searched, width):
    with open_store(searched[0], read_only=True) as store:
        exhibits = store.exhibits(STUDY, 0)
    with visiting(browser, site, width) as visit:
        page = visit.go(place(0))
        slider, told = page.get_by_label(re.compile("^Layer")), page.locator(".told")
        canvas = page.locator(".seen canvas")
        page.wait_for_function("() => document.querySelector('.seen canvas').width == 8")
        assert told.count() == len(exhibits) == 6
        slider.focus()
        seen = []
        for layer in (6, 5, 4, 3, 2, 1):
            page.keyboard.press("ArrowLeft" if seen else "Home")
            for _ in range(0 if seen else 6):
                page.keyboard.press("ArrowRight")
            words = f"layer {layer} keeps {REDUCED.counts(64)[layer]} of 64 tokens"
            assert told.all_inner_texts() == [words] * 6
            assert slider.get_attribute("aria-valuetext") == words
            drawn, pixels = canvas.nth(2).evaluate(DRAWN)
            assert drawn == 1 - exhibits[2].counts[layer] / 64  # a pixel for each token
            seen.append(pixels)
        assert seen[0] != seen[2] != seen[4] != seen[5]
        assert exhibits[0].full_answer in page.locator(".exhibits li").first.inner_text()
        page.locator(".seen img").last.scroll_into_view_if_needed()
        page.wait_for_function(
            "() => [...document.querySelectorAll('.seen img')].every(i => i.complete)"
        )
        sizes = page.evaluate(SIZES)
        assert sizes == [[64, 64, "64", "64"]] * 6  # as the page was told, so that nothing moves
        box, picture = (one.bounding_box() for one in (canvas.first, page.locator(".seen").first))
        assert box == pytest.approx(picture, abs=0.1)
        assert overflow(page) <= 0
        assert cut(page) == []


def test_best_trial_is_taken_away_and_runs(browser, site, searched, tmp_path):
    with visiting(browser, site) as visit:
        page = visit.go(place(searched[1]))
        assert page.locator(".badge.best").count() == 1
        with page.expect_download() as download:
            page.get_by_role("link", name="Schedule (JSON)").click()
        download.value.save_as(tmp_path / "s.json")
        assert json.loads((tmp_path / "s.json").read_text())["provenance"]["study"] == STUDY
        loaded = Schedule.load(tmp_path / "s.json")
        page.get_by_text("Table", exact=True).click()
        cells = page.locator("#layers tbody tr td:nth-child(3)").all_inner_texts()
        assert tuple(map(int, cells)) == loaded.counts(64)
        page = visit.go(place(1))  # of which nobody has asked for any
        assert page.get_by_text("schedsearch exhibit STUDY.yaml --trial 1").is_visible()
        assert page.locator("#layer").count() == 0
        page.get_by_role("link", name=STUDY).click()
        page.wait_for_url("**/studies/*")

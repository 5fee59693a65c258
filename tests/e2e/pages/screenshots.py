"""Pictures of every page, at both widths and in both themes: `make screenshots`.

python -m tests.e2e.pages.screenshots FOLDER [STORE] [--docs]

Without a store one is made, in the folder, and taken again the next time. With --docs the pictures
of README and docs are replaced.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from schedsearch.app.bootstrap import silent
from schedsearch.app.compare import compare
from schedsearch.app.config import check_study
from schedsearch.app.configured import prepare
from schedsearch.app.launching import merged
from schedsearch.app.report import write_report
from schedsearch.store.store import open_store
from tests.e2e.pages.conftest import CHROMIUM, WIDTHS, overflow, served, visiting

FILE = Path(__file__).parents[3] / "studies" / "demo.yaml"
STUDIES: Mapping[str, Mapping[str, Any]] = {
    "demo-cheaper": {"search": {"tolerance": 0.02}, "data": {"calibration_samples": 300}},
    "demo-last": {"ranker": "last", "ranker_params": None, "data": {"calibration_samples": 300}},
    "demo": {},
}
"""Studies by their names, the one that is looked at last: how they differ from the file."""

_FEWER = {"data": {"held_out_samples": 1000}}
_DOCS = {
    "page-study": ("study-1440-light", (1440, 1500)),
    "page-trial": ("trial-1440-light", (1440, 1700)),
    "page-start": ("start-1440-light", (1440, 1000)),
    "page-study-narrow": ("study-380-dark", (380, 1500)),
}
"""Pictures of README and docs: what they show, and how much of it from the top."""


def make(folder: Path, store: Path) -> None:
    """A store with searches that have ended, their certificates, exhibits and reports."""
    written = yaml.safe_load(FILE.read_text())
    for name, changes in STUDIES.items():
        content = merged(merged(written, _FEWER), {"study": name, **changes})
        ready = prepare(check_study(content, name), folder, store)
        assert ready.certify and ready.held_out and ready.config.certify
        with ready.open() as study:
            study.run()
            study.certify(ready.certify, **ready.config.certify.model_dump())
            study.exhibit(samples=8)
            compared = compare(study, ready.held_out, study.best, silent)
            write_report(study, compared, folder / name)


def show_in_docs(folder: Path, docs: Path) -> None:
    """Put the pictures that stand in README and docs there, small."""
    for name, (source, size) in _DOCS.items():
        with Image.open(folder / f"{source}.png") as whole:
            part = whole.convert("RGB").crop((0, 0, size[0], min(size[1], whole.height)))
        if part.width > 1080:
            part = part.resize((1080, part.height * 1080 // part.width), Image.Resampling.LANCZOS)
        part.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE).save(
            docs / f"{name}.png", optimize=True
        )


def places(page: Page, studies: list[str]) -> dict[str, str]:
    """Name and path of every page: what navigation has, a study, and its best trial."""
    study = studies[0]
    found = {"studies": "/studies", "study": f"/studies/{study}"}
    for link in page.locator("nav a").all():
        path = link.get_attribute("href") or ""
        found.setdefault(path.strip("/").replace("/", "-"), path)
    page.goto(page.url.partition("/studies")[0] + f"/studies/{study}")
    trial = page.locator("tr.best a").first.get_attribute("href") or ""
    if not trial.startswith("/api"):
        found["trial"] = trial
    found["compare"] += "?" + "&".join(f"study={one}" for one in studies[:3])
    return found


def complete(page: Page) -> None:
    """Wait until a page has all that it shows, also what is only read when it comes into view."""
    while page.get_by_text("being read for the first time").count():
        page.wait_for_timeout(1000)
        page.reload()
    page.evaluate("for (const one of document.images) one.loading = 'eager'")
    page.wait_for_function("() => [...document.images].every((one) => one.complete)")
    page.wait_for_timeout(500)


def main() -> None:
    """Take them."""
    given = [one for one in sys.argv[1:] if one != "--docs"]
    folder = Path(given[0])
    folder.mkdir(parents=True, exist_ok=True)
    store = Path(given[1]) if len(given) > 1 else folder / "store.db"
    if not store.exists():
        make(folder, store)
    with sync_playwright() as playwright:
        with open_store(store) as opened:
            names = [one.spec.name for one in opened.studies()]
        names.sort(key=lambda name: (name != "demo", name))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with served(store) as site:
            for width in WIDTHS:
                for theme in ("light", "dark"):
                    with visiting(browser, site, width, color_scheme=theme) as visit:
                        for page, place in places(visit.page, names).items():
                            complete(visit.go(place))
                            assert overflow(visit.page) == 0, place
                            file = folder / f"{page}-{width}-{theme}.png"
                            visit.page.screenshot(path=file, full_page=True)
        browser.close()
    if "--docs" in sys.argv:
        show_in_docs(folder, FILE.parents[1] / "docs" / "images")


if __name__ == "__main__":
    main()

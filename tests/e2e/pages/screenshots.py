"""Pictures of every page, at both widths and in both themes: `make screenshots`.

python -m tests.e2e.pages.screenshots FOLDER [STORE]
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from schedsearch.app.config import read_study_file
from schedsearch.app.configured import prepare
from schedsearch.store.store import open_store
from tests.e2e.pages.conftest import CHROMIUM, WIDTHS, overflow, served, visiting

STUDY = Path(__file__).parents[3] / "studies" / "demo.yaml"


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


def main() -> None:
    """Take them."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        store = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(made) / "store.db"
        if not store.exists():
            with prepare(read_study_file(STUDY), Path(made), store).open() as study:
                study.run()
                study.exhibit(samples=8)
        with open_store(store) as opened:
            most = sorted(opened.studies(), key=lambda one: -sum(one.trials.values()))
        names = [one.spec.name for one in most]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with served(store) as site:
            for width in WIDTHS:
                for theme in ("light", "dark"):
                    with visiting(browser, site, width, color_scheme=theme) as visit:
                        for page, place in places(visit.page, names).items():
                            visit.go(place)
                            visit.page.wait_for_timeout(1000)
                            assert overflow(visit.page) == 0, place
                            file = folder / f"{page}-{width}-{theme}.png"
                            visit.page.screenshot(path=file, full_page=True)
        browser.close()


if __name__ == "__main__":
    main()

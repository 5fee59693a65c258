"""What a page about 10,000 trials of 32 layers costs in a browser, beside optuna-dashboard.

    python bench/dashboard.py --out bench/results/dashboard.json
    python bench/dashboard.py --optuna-dashboard FOLDER/bin/optuna-dashboard

The same trials, written by a search whose workers make their answers up, are exported as Optuna's
database for optuna-dashboard, which is a program of its own; without it only ours is measured.
Both are looked at by the same Chromium, in turn and from an empty cache; medians.
"""

import argparse
import json
import os
import platform
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import coordinator
from playwright.sync_api import Browser, Page, sync_playwright

from schedsearch.app.optuna_export import export_to_optuna
from schedsearch.app.study_view import StudyView
from schedsearch.app.tokens import create_token
from schedsearch.core.trial import SampleScore
from schedsearch.execution.executor import Outcome
from schedsearch.store.store import open_store

SAMPLES = 64
PAINT = """() => {
  const seen = performance.getEntriesByName("first-contentful-paint")[0];
  const page = performance.getEntriesByType("navigation")[0];
  const files = performance.getEntriesByType("resource");
  return {
    first_paint_ms: seen?.startTime ?? null,
    bytes: [page, ...files].reduce((sum, one) => sum + one.transferSize, 0),
    layout_shift: window.shifted ?? 0,
  };
}"""
SHIFTS = """new PerformanceObserver((list) => {
  for (const one of list.getEntries()) window.shifted = (window.shifted ?? 0) + one.value;
}).observe({ type: "layout-shift", buffered: true });"""


class Answering(coordinator.Instant):
    """Workers whose answers are the worse, the less a schedule keeps."""

    def next(self) -> Outcome:
        """One of those at work."""
        with self._clock.others():
            ticket, task = self._flying.pop(0)
            keep = task.schedule.keep
            needs = [0.9 * (1 - layer / len(keep)) ** 1.5 for layer in range(len(keep))]
            lost = sum(max(0.0, n - k) for n, k in zip(needs, keep, strict=True)) / len(keep)
            found = []
            for name in task.sample_ids:
                drawn = random.Random(f"{name} {keep}").random()
                found.append(SampleScore(name, float(drawn > 0.03 + lost), "yes"))
            return Outcome(ticket, task, tuple(found))


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(command: list[str], address: str) -> Iterator[None]:
    """A server until the block ends."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(address, timeout=60).close()  # noqa: S310
                    break
                except (urllib.error.URLError, ConnectionError):
                    time.sleep(0.1)
            yield
        finally:
            process.kill()


def looked_at(
    browser: Browser, address: str, ready: Callable[[Page], None], before: Callable[[Page], None]
) -> dict[str, float]:
    """First paint, time until all is drawn, bytes and layout shift of a page, nothing cached."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    before(page)
    context.add_init_script(SHIFTS)
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.clearBrowserCache")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    began = time.perf_counter()
    page.goto(address, wait_until="commit", timeout=300_000)
    ready(page)
    complete = 1e3 * (time.perf_counter() - began)
    page.wait_for_timeout(500)
    found = page.evaluate(PAINT)
    context.close()
    return {**found, "complete_ms": complete}


def ours(store: Path, port: int, browser: Browser, token: str) -> Iterator[dict[str, float]]:
    """Looks at our page: the first after the start of the service, then others."""
    url = f"http://127.0.0.1:{port}"

    def log_in(page: Page) -> None:
        page.goto(f"{url}/login")
        page.fill("input[name=token]", token)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/studies")

    def ready(page: Page) -> None:
        page.wait_for_selector("#curve", timeout=300_000)
        page.wait_for_selector("#scatter canvas", timeout=300_000)

    program = str(Path(sys.executable).with_name("schedsearch"))
    serve = [program, "serve", "--store", str(store), "--port", str(port)]
    while True:
        with running(serve, f"{url}/healthz"):
            first = looked_at(browser, f"{url}/studies/{coordinator.STUDY}", ready, log_in)
            again = looked_at(browser, f"{url}/studies/{coordinator.STUDY}", ready, log_in)
        yield {**first, "again_complete_ms": again["complete_ms"]}


def theirs(database: Path, port: int, browser: Browser, program: str) -> Iterator[dict[str, float]]:
    """Looks at optuna-dashboard's page of the study."""
    url = f"http://127.0.0.1:{port}"

    def ready(page: Page) -> None:
        page.wait_for_selector(".js-plotly-plot .main-svg", timeout=300_000)

    while True:
        with running([program, f"sqlite:///{database}", "--port", str(port)], url):
            yield looked_at(browser, f"{url}/dashboard/studies/1", ready, lambda _page: None)


def medians(looks: list[dict[str, float]]) -> dict[str, float]:
    """Of each figure."""
    known = {name: [one[name] for one in looks if one.get(name) is not None] for name in looks[0]}
    return {name: round(statistics.median(of), 3) for name, of in known.items() if of}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--store", type=Path, help="one of an earlier run; made where it lacks")
    parser.add_argument("--optuna-dashboard", default=shutil.which("optuna-dashboard"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = options.store or Path(folder) / "store.db"
        if not store.exists():
            coordinator.Instant = Answering  # type: ignore[misc]
            coordinator.run(options.trials, SAMPLES, 1, str(store))
        with open_store(store) as opened:
            token = create_token(opened.service, "bench", "read").text
            view = StudyView(opened, coordinator.STUDY)
            if options.optuna_dashboard:
                database = Path(folder) / "optuna.db"
                export_to_optuna(view, f"sqlite:///{database}")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            looks = {"schedsearch": ours(store, free_port(), browser, token)}
            if options.optuna_dashboard:
                program = options.optuna_dashboard
                looks["optuna-dashboard"] = theirs(database, free_port(), browser, program)
            seen: dict[str, list[dict[str, float]]] = {name: [] for name in looks}
            for _ in range(options.repeats):
                for name, one in looks.items():
                    seen[name].append(next(one))
            for one in looks.values():
                one.close()
            version = browser.version
            browser.close()
    found = {
        "trials": options.trials,
        "layers": coordinator.LAYERS,
        "repeats": options.repeats,
        **{name: medians(one) for name, one in seen.items()},
        "chromium": version,
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }
    written = json.dumps(found, indent=2)
    print(written)
    if options.out:
        options.out.write_text(written + "\n")


if __name__ == "__main__":
    main()

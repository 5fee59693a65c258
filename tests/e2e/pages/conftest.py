"""A real service and a real browser, in which nothing may go wrong unnoticed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from schedsearch.app.tokens import create_token
from schedsearch.store.store import open_store

CHROMIUM = shutil.which("chromium")
WIDTHS = (380, 1440)


@dataclass
class Site:
    """A service in a process of its own.

    Attributes:
        store: Its store.
        token: Of scope admin.
        port: Where it listens.
        process: That serves.
    """

    store: Path
    token: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """End the process as a failing machine would."""
        self.process.kill()
        self.process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def served(store: Path, port: int = 0, *options: str) -> Iterator[Site]:
    """Serve a store until the block ends."""
    with open_store(store) as opened:
        token = create_token(opened.service, "tester", "admin").text
    port = port or _free_port()
    program = Path(sys.executable).with_name("schedsearch")
    command = [str(program), "serve", "--store", str(store)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen([*command, "--port", str(port), *options], env=environment) as process:
        site = Site(store, token, port, process)
        try:
            _wait(site)
            yield site
        finally:
            process.send_signal(signal.SIGKILL)  # open streams would have it wait


def _wait(site: Site) -> None:
    for _ in range(600):
        assert site.process.poll() is None, "the service has ended"
        try:
            with urllib.request.urlopen(f"{site.url}/healthz", timeout=5):  # noqa: S310
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise AssertionError("the service does not answer")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; of a module alone, since its loop occupies the thread."""
    if CHROMIUM is None:
        pytest.skip("Chromium is missing; `make setup-system` brings it")
    expect.set_options(timeout=30_000)  # machines that test are busy
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Visit:
    """Somebody who has logged in and looks around.

    Attributes:
        site: What is visited.
        context: Of the browser.
        page: Where the visitor is.
        foreign: Requests to anywhere else, all of which were refused.
        complaints: What the console said.
        forgiven: Words in complaints that a test expects.
    """

    site: Site
    context: BrowserContext
    page: Page
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    forgiven: tuple[str, ...] = ()

    def go(self, path: str) -> Page:
        """To a page of the site."""
        self.page.goto(self.site.url + path)
        return self.page

    def log_in(self) -> None:
        """By the form."""
        self.go("/login")
        self.page.fill("input[name=token]", self.site.token)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url("**/studies")

    def check(self) -> None:
        """Assert that nothing went wrong."""
        left = [one for one in self.complaints if not any(words in one for words in self.forgiven)]
        assert not self.foreign
        assert not left, left


@contextmanager
def visiting(browser: Browser, site: Site, width: int = 1440, **options: object) -> Iterator[Visit]:
    """A visitor; when the block ends nothing may have gone wrong."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)  # type: ignore[arg-type]
    visit = Visit(site, context, context.new_page())

    def pass_on(route: Route) -> None:
        if route.request.url.startswith((f"{site.url}/", "data:", "blob:")):
            route.continue_()
        else:
            visit.foreign.append(route.request.url)
            route.abort()

    context.route("**/*", pass_on)
    visit.page.on(
        "console",
        lambda said: visit.complaints.append(said.text) if said.type in _BAD else None,
    )
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.log_in()
    try:
        yield visit
        visit.check()
    finally:
        context.close()


_BAD = ("error", "warning")


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than the window."""
    wide: int = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return max(0, wide)


CUT = """() => [...document.querySelectorAll("main *")].filter((one) => {
  const style = getComputedStyle(one);
  return one.checkVisibility() && one.textContent.trim() && style.overflowX === "hidden"
    && style.clipPath === "none" && one.scrollWidth > one.clientWidth + 1;
}).map((one) => one.outerHTML.slice(0, 200))"""


def cut(page: Page) -> list[str]:
    """Elements whose text does not fit into them."""
    found: list[str] = page.evaluate(CUT)
    return found

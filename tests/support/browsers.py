"""A server of its own, a browser, and pages that are watched, for the tests of the web page."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    sync_playwright,
)

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
#: Chromium alone on this machine: no sandbox inside a container, and no call home.
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 30_000  # milliseconds, for a machine that is shared

# Keeps every state that a lane was in, for it may be too short to be seen from outside.
STATES = """
window.states = {};
new MutationObserver(seen => seen.forEach(({target, oldValue}) => {
  const states = window.states[target.dataset.lane] ??= [];
  for (const state of [oldValue, target.dataset.state]) {
    if (state && !states.includes(state)) states.push(state);
  }
})).observe(document, {subtree: true, attributeFilter: ["data-state"], attributeOldValue: true});
"""

# A browser is no Python package, so that no extra can bring one: install_system.sh does.
needs_a_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium or Chrome on the PATH; tests/support/install_system.sh"
)


@dataclass(frozen=True)
class Serving:
    """A ``kmeans-lab serve`` that runs: its address and its process."""

    url: str
    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self.process.pid


@contextmanager
def serving(*arguments: str) -> Iterator[Serving]:
    """Run ``kmeans-lab serve`` on a free port."""
    command = [sys.executable, "-m", "kmeans_lab", "serve", "--port", "0", "--json", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # it was asked for
    try:
        yield Serving(json.loads(process.stdout.readline())["url"], process)
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@cache
def _one_server(config: pytest.Config) -> Serving:
    running = ExitStack()
    config.add_cleanup(running.close)
    return running.enter_context(serving())


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Serving:
    """One for all modules, since each measures the machine when it is first asked for that."""
    return _one_server(request.config)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as it:
        chromium = it.chromium.launch(executable_path=BROWSER, args=QUIET)
        yield chromium
        chromium.close()


@dataclass
class Watch:
    """What pages did that they must not do."""

    complaints: list[str] = field(default_factory=list)
    away: list[str] = field(default_factory=list)
    expected: tuple[int, ...] = ()  # statuses that a test brings about

    def look_at(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        known = any(f"status of {status}" in message.text for status in self.expected)
        if message.type in ("error", "warning") and not known:
            self.complaints.append(message.text)

    def _request(self, request: Request) -> None:
        where = urlsplit(request.url)
        if where.scheme not in ("data", "blob") and where.hostname != "127.0.0.1":
            self.away.append(request.url)


@dataclass
class Opener:
    """Opens pages of a server, each in a profile of its own, and watches them."""

    browser: Browser
    url: str
    watch: Watch = field(default_factory=Watch)
    contexts: list[BrowserContext] = field(default_factory=list)

    def __call__(
        self, query: str = "", *, width: int = 1440, ready: bool = True, **options: Any
    ) -> Page:
        """Open a page; options are those of Playwright's ``new_context``."""
        context = self.browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.add_init_script(STATES)
        self.watch.look_at(page)
        page.goto(self.url + query)
        if ready:
            page.wait_for_selector("body[data-ready]")
        return page


@pytest.fixture
def open_page(browser: Browser, server: Serving) -> Iterator[Opener]:
    """Open pages; at the end none may have complained."""
    opener = Opener(browser, server.url)
    yield opener
    for context in opener.contexts:
        context.close()
    assert opener.watch.complaints == []
    assert opener.watch.away == []


def small(*kernels: str, **more: object) -> str:
    """Return a query string: a race that takes no time."""
    query: dict[str, object] = {"lanes": ",".join(kernels), "n": 1500, "d": 2, "k": 5}
    query |= {"start": "random"} | more
    return "?" + "&".join(f"{name}={value}" for name, value in query.items())


def finished(page: Page) -> None:
    """Wait until the race on the stage is over and can be saved."""
    page.wait_for_selector("#save:not([hidden])")


def in_state(page: Page, lane: int, state: str) -> None:
    """Wait for a state of a lane."""
    page.wait_for_selector(f"[data-lane='{lane}'][data-state='{state}']")


def wait_until(page: Page, code: str) -> None:
    """Wait until an expression holds; the page's policy forbids Playwright's own way, ``eval``."""
    for _ in range(PATIENCE // 20):
        if page.evaluate(code):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"never came true: {code}")


def workers_of(server: Serving) -> list[int]:
    """Return the processes that compute for a server: each leads a session of its own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[1]) == server.pid and int(fields[3]) == int(entry.name):
            found.append(int(entry.name))
    return sorted(found)


def kill(process: int) -> None:
    """End a process as the system does when memory runs out."""
    os.kill(process, 9)

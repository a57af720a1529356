"""A server of its own, a browser, and pages that are watched, for the tests of the web page."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

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


@contextmanager
def serving(*arguments):
    """Run ``kmeans-lab serve`` on a free port; the process, which knows its address as ``url``."""
    command = [sys.executable, "-m", "kmeans_lab", "serve", "--port", "0", "--json", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        process.url = json.loads(process.stdout.readline())["url"]
        yield process
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@cache
def _one_server(config):
    running = ExitStack()
    config.add_cleanup(running.close)
    return running.enter_context(serving())


@pytest.fixture(scope="module")
def server(request):
    """One for all modules, since each measures the machine when it is first asked for that."""
    return _one_server(request.config)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as it:
        chromium = it.chromium.launch(executable_path=BROWSER, args=QUIET)
        yield chromium
        chromium.close()


class Watch:
    """What pages did that they must not do."""

    def __init__(self):
        self.complaints = []
        self.away = []
        self.expected = ()  # statuses that a test brings about

    def look_at(self, page):
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._request)

    def _console(self, message):
        known = any(f"status of {status}" in message.text for status in self.expected)
        if message.type in ("error", "warning") and not known:
            self.complaints.append(message.text)

    def _request(self, request):
        where = urlsplit(request.url)
        if where.scheme not in ("data", "blob") and where.hostname != "127.0.0.1":
            self.away.append(request.url)


@pytest.fixture
def open_page(browser, server):
    """Open pages, each in a profile of its own; at the end none may have complained."""
    watch = Watch()
    contexts = []

    def open_one(query="", *, width=1440, ready=True, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.add_init_script(STATES)
        watch.look_at(page)
        page.goto(server.url + query)
        if ready:
            page.wait_for_selector("body[data-ready]")
        return page

    open_one.watch = watch
    yield open_one
    for context in contexts:
        context.close()
    assert watch.complaints == []
    assert watch.away == []


def small(*kernels, **more):
    """Return a query string: a race that takes no time."""
    query = {"lanes": ",".join(kernels), "n": 1500, "d": 2, "k": 5, "start": "random"} | more
    return "?" + "&".join(f"{name}={value}" for name, value in query.items())


def finished(page):
    """Wait until the race on the stage is over and can be saved."""
    page.wait_for_selector("#save:not([hidden])")


def in_state(page, lane, state):
    """Wait for a state of a lane."""
    page.wait_for_selector(f"[data-lane='{lane}'][data-state='{state}']")


def wait_until(page, code):
    """Wait until an expression holds; the page's policy forbids Playwright's own way, ``eval``."""
    for _ in range(PATIENCE // 20):
        if page.evaluate(code):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"never came true: {code}")


def workers_of(server):
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


def kill(process):
    """End a process as the system does when memory runs out."""
    os.kill(process, 9)

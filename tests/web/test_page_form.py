"""The form of the race: what is typed stays as it is, and what is wrong is said beside it."""

import json
import signal
import subprocess
import sys

import pytest

from kmeans_lab.presets import PRESETS
from tests.support.browsers import (  # noqa: F401 (fixtures)
    PATIENCE,
    browser,
    finished,
    needs_a_browser,
    open_page,
    server,
    small,
    wait_until,
)

pytestmark = needs_a_browser

LONG = {"n": 16_250, "d": 10, "k": 25, "max_iter": 60}


def typed(page, field, keys):
    """Type into an empty field, key by key; return what it holds then, and its sentence."""
    page.fill(field, "")
    page.locator(field).press_sequentially(keys)
    wrong = page.locator(f"{field}-wrong")
    return page.input_value(field), wrong.inner_text() if wrong.count() else ""


@pytest.mark.parametrize(
    ("field", "keys", "sentence"),
    [
        ("#max_iter", "2.5", "Iterations must be a whole number."),
        ("#max_iter", "-10", "Iterations must be at least 1."),
        ("#max_iter", "1e2", ""),
        ("#max_iter", "9999", "Iterations must be at most 300 on this server."),
        ("#start_seed", "2.5", "Seed of the start must be a whole number."),
        ("#start_seed", "-10", "Seed of the start must be at least 0."),
        ("#own-k", "2.5", "Clusters must be a whole number."),
        ("#own-n", "10000000", "Rows must be at most 1,000,000 on this server."),
    ],
)
def test_what_is_typed_stays_and_is_judged_beside_the_field(open_page, field, keys, sentence):  # noqa: F811
    page = open_page(small("numpy:1", start="random"))
    assert typed(page, field, keys) == (keys, sentence)
    if sentence:
        page.click("#run")
        assert page.evaluate("document.activeElement.id") == field[1:]
        assert page.locator("#stage").is_hidden()
        page.fill(field, "5")
        assert page.locator(f"{field}-wrong").inner_text() == ""
        assert page.get_attribute(field, "aria-invalid") is None
    else:
        asked = page.evaluate("location.search")
        assert "max_iter=1e2" in asked


def test_too_many_threads_are_refused_and_not_corrected(open_page):  # noqa: F811
    page = open_page(small("cpp-simd:1", "numpy:1"))
    page.fill("#threads-0", "99")
    page.press("#threads-0", "Tab")
    assert page.input_value("#threads-0") == "99"
    assert "must be at most" in page.inner_text("#threads-0-wrong")
    assert "cores of this machine" in page.inner_text("#threads-0-wrong")
    page.click("#run")
    assert page.evaluate("document.activeElement.id") == "threads-0"


def test_the_keyboard_keeps_its_place_when_a_lane_changes(open_page):  # noqa: F811
    page = open_page(small("cpp-simd:1", "numpy:1"))
    page.focus("#threads-0")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "base-0"
    page.focus("#kernel-1")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.id") == "kernel-1"


def test_an_arrow_key_is_one_iteration_of_the_replay(open_page):  # noqa: F811
    page = open_page(small("numpy:1", "cpp:1", max_iter=6), reduced_motion="reduce")
    page.click("#run")
    finished(page)
    page.select_option("#pace", "steps")
    page.focus("#scrub")
    page.keyboard.press("Home")
    for expected in ("1", "2"):
        page.keyboard.press("ArrowRight")
        assert page.inner_text("#position").startswith(f"iteration {expected} of")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#position").startswith("iteration 1 of")


def test_back_returns_to_the_tab_before(open_page):  # noqa: F811
    page = open_page(small("numpy:1"))
    page.click("#tab-studies")
    page.click("#tab-kernels")
    page.go_back()
    assert page.get_attribute("#tab-studies", "aria-selected") == "true"
    page.go_back()
    assert page.get_attribute("#tab-race", "aria-selected") == "true"


def test_every_preset_can_be_run_with_the_lanes_that_the_page_chooses(open_page):  # noqa: F811
    page = open_page()
    names = page.locator("#preset option").all_inner_texts()
    assert {*names} <= {*PRESETS}
    for name in names:
        page.select_option("#preset", name)
        assert page.is_enabled("#run"), (name, page.inner_text("#obstacle"))
        lanes = page.locator("#lane-list select").evaluate_all("all => all.map(it => it.value)")
        size = PRESETS[name]
        work = size.n_samples * size.n_features * size.n_clusters * size.max_iter
        assert ("python" in lanes) == (work <= 300_000_000), name


def test_a_lane_that_would_take_too_long_is_named_before_anything_runs(open_page):  # noqa: F811
    page = open_page("?lanes=python:1,cpp:1&preset=wide-64-256")
    assert page.is_disabled("#run")
    assert "python is too slow for these data here" in page.inner_text("#obstacle")
    page.select_option("#kernel-0", "cpp-simd")
    assert page.is_enabled("#run")
    assert page.locator("#obstacle").is_hidden()


@pytest.mark.slow
def test_a_server_that_was_killed_and_started_again_does_not_jam_the_page(browser, open_page):  # noqa: F811
    command = [sys.executable, "-m", "kmeans_lab", "serve", "--json", "--port"]

    def started(port):
        process = subprocess.Popen([*command, port], stdout=subprocess.PIPE, text=True)
        with process.stdout as told:
            return process, json.loads(told.readline())["url"]

    process, url = started("0")
    context = browser.new_context()
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(url + small("python:1", **LONG))
        page.click("#run")
        wait_until(page, "document.querySelector('.lane')?.dataset.state === 'running'")
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_until(page, "document.querySelector('#headline').textContent.includes('not answer')")
        before = page.inner_text(".clock")
        page.wait_for_timeout(300)
        assert page.inner_text(".clock") == before  # a dead lane's clock stands still
        process, _ = started(url.rpartition(":")[2].strip("/"))
        wait_until(page, "document.querySelector('#headline').textContent.includes('restarted')")
        assert page.is_disabled("#stop")
        assert page.get_attribute(".lane", "data-state") == "stopped"
        assert page.locator("#save").is_hidden()
        page.fill("#max_iter", "2")
        page.click("#run")
        finished(page)
    finally:
        process.kill()
        process.wait()
        context.close()

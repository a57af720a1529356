"""The page of ``kmeans-lab serve`` in a real browser: races are run, stopped, broken and shared."""

import json
import re

import pytest

from tests.support.browsers import (  # noqa: F401 (fixtures)
    browser,
    finished,
    in_state,
    kill,
    needs_a_browser,
    open_page,
    server,
    small,
    wait_until,
    workers_of,
)

pytestmark = needs_a_browser

# Rows for which plain Python needs seconds, and compiled code hardly any time.
LONG = {"n": 16_250, "d": 10, "k": 25, "max_iter": 60}


def text(page, selector):
    return page.locator(selector).inner_text()


def picture(page, lane):
    return page.evaluate(
        "lane => document.querySelector(`[data-lane='${lane}'] canvas`).toDataURL()", lane
    )


def choices(page):
    """Return what every control of the form holds."""
    return page.evaluate(
        """() => [...document.querySelectorAll("#form select, #form input")].map(it =>
        [it.id || it.name + it.value, it.type === "radio" ? it.checked : it.value])"""
    )


def test_a_measured_race_goes_through_its_states_and_ends_with_a_verdict(open_page):  # noqa: F811
    page = open_page(small("numpy:1", "cpp:1", "cpp-simd:2", mode="measure"))
    page.click("#run")
    finished(page)
    states = page.evaluate("window.states")
    way = ["waiting", "starting", "preparing", "running"]
    for lane in ("0", "1"):
        assert states[lane] == [*way, "replaying", "done"], lane
    assert states["2"] == [*way, "done"]  # nobody is left to wait for
    assert re.search(r"(faster than|slower than|no difference found) ", text(page, "#headline"))
    assert "all labels agree" in text(page, "#agree")
    assert page.locator(".proof strong").all_inner_texts() == ["✓ valid"] * 3
    assert page.locator("#bars .dot-row").count() == 3
    assert page.locator("#inertia polyline").count() == 3
    assert "All 1,500 points are drawn." in text(page, "#facts")
    inertias = page.locator(".lane dl div:nth-child(3) dd").all_inner_texts()
    assert len(set(inertias)) == 1


@pytest.mark.slow
def test_a_replay_ends_at_the_measured_times_and_shows_equal_iterations_alike(open_page):  # noqa: F811
    page = open_page(small("numpy:1", "cpp:1") + "#run")
    finished(page)
    pace = page.locator("#pace option").first.inner_text()
    assert re.match(r"slowed down [\d.,]+ ×, the same for all", pace)
    wait_until(page, "document.querySelector('#scrub').value === '1000'")
    measured = page.locator(".lane dl div:nth-child(1) dd").all_inner_texts()
    shown = page.locator(".clock").all_inner_texts()
    assert [it.split(" median")[0] for it in measured] == shown
    page.select_option("#pace", "steps")
    page.focus("#scrub")
    page.keyboard.press("Home")
    before = picture(page, 0)
    assert before == picture(page, 1)
    page.keyboard.press("End")
    assert picture(page, 0) == picture(page, 1) != before
    assert text(page, "[data-lane='0'] .where") == text(page, "[data-lane='1'] .where")
    page.click("#again")
    assert text(page, "#again") == "Pause"
    page.click("#again")
    assert text(page, "#again") == "Replay"


def test_a_lane_is_stopped_and_the_other_goes_on(open_page):  # noqa: F811
    page = open_page(small("python:1", "cpp:1", mode="race", **LONG) + "#run")
    in_state(page, 0, "running")
    page.click("[data-lane='0'] header button")
    in_state(page, 0, "stopped")
    finished(page)
    in_state(page, 1, "done")
    assert page.locator("[data-lane='1'] .proof").count() == 1
    assert page.locator("[data-lane='0'] .clock").inner_text() != ""


def test_stop_ends_the_race_and_its_process(open_page, server):  # noqa: F811
    page = open_page(small("python:1", "cpp:1", **LONG) + "#run")
    in_state(page, 0, "running")
    assert page.is_disabled("#run")
    page.click("#stop")
    page.wait_for_selector("#run:enabled")
    in_state(page, 0, "stopped")
    assert text(page, "#headline") == "Stopped."
    assert workers_of(server) == []


@pytest.mark.slow  # what the server says then is a test of the server
def test_a_killed_worker_ends_its_lane_with_a_sentence(open_page, server):  # noqa: F811
    rows = LONG | {"max_iter": 8}
    page = open_page(small("python:1", "python:1", mode="race", **rows) + "#run")
    in_state(page, 0, "running")
    in_state(page, 1, "running")
    kill(workers_of(server)[0])
    finished(page)
    states = page.evaluate(
        "[...document.querySelectorAll('.lane')].map(it => it.dataset.state).sort()"
    )
    assert states == ["done", "failed"]
    assert "signal 9" in text(page, ".lane[data-state=failed] .sentence")


def test_the_address_brings_the_form_back(open_page):  # noqa: F811
    page = open_page()
    page.select_option("#kernel-0", "cython")
    page.click("#add")
    page.fill("#threads-3", "2")
    page.check("li:nth-child(2) .base input")
    page.check("[name=source][value=own]")
    for name, value in {"n": 4321, "d": 5, "k": 9, "spread": 0.75, "seed": 11}.items():
        page.fill(f"#own-{name}", str(value))
    page.select_option("#start", "random-partition")
    page.fill("#start_seed", "3")
    page.fill("#max_iter", "17")
    page.check("[name=mode][value=race]")
    before, address = choices(page), page.url
    assert ["own-n", "4321"] in before
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert choices(page) == before
    assert page.url == address
    assert choices(open_page(address.split("/")[-1])) == before


def test_an_address_that_makes_no_sense_gives_a_form_that_does(open_page):  # noqa: F811
    page = open_page("?mode=fly&lanes=fortran:3,cpp:999&baseline=7&preset=none&start=x&max_iter=")
    assert page.input_value("#kernel-0") == "cpp"
    assert int(page.input_value("#threads-0")) <= 1024
    assert page.is_checked("input[name=mode][value=measure]")


@pytest.mark.slow  # what the server says then is a test of the server
def test_a_second_page_is_told_that_a_race_is_on(open_page):  # noqa: F811
    first = open_page(small("python:1", "cpp:1", **LONG) + "#run")
    in_state(first, 0, "running")
    open_page.watch.expected = (503,)
    second = open_page(small("cpp:1", "numpy:1"))
    second.click("#run")
    second.wait_for_selector("#problem:not([hidden])")
    assert "another race is on" in text(second, "#problem")
    second.click("#watch")
    in_state(second, 0, "running")
    second.click("#stop")
    in_state(first, 0, "stopped")
    second.click("#run")
    wait_until(second, "document.querySelectorAll('.lane[data-state=done]').length === 2")


def test_what_the_server_refuses_is_said_in_the_form(open_page):  # noqa: F811
    open_page.watch.expected = (422,)
    page = open_page(small("cpp:1", "numpy:1", n=3, k=5))
    page.click("#run")
    page.wait_for_selector("#problem:not([hidden])")
    assert "n_clusters=5" in text(page, "#problem")
    assert page.is_enabled("#run")
    page.fill("#own-n", "900")
    page.click("#run")
    finished(page)
    assert page.is_hidden("#problem")


def test_a_race_is_kept_and_shown_again(open_page):  # noqa: F811
    page = open_page(small("cpp:1", "cython:1", seed=91) + "#run")
    finished(page)
    headline = text(page, "#headline")
    again = open_page()
    again.click("#past button >> nth=0")
    finished(again)
    assert text(again, "#headline") == headline
    with again.expect_download() as kept:
        again.click("#json")
    record = json.loads(kept.value.path().read_text())
    assert [lane["kernel"] for lane in record["lanes"]] == ["cpp", "cython"]
    with again.expect_download() as kept:
        again.click("#report")
    assert kept.value.suggested_filename.endswith(".html")
    assert "cython" in kept.value.path().read_text()


def test_a_kernel_that_cannot_run_is_shown_with_its_reason(open_page):  # noqa: F811
    page = open_page(ready=False)

    def without_numba(route):
        kernels = route.fetch().json()
        for kernel in kernels:
            if kernel["name"] == "numba":
                kernel |= {"state": "unavailable", "reason": "numba is not installed"}
        route.fulfill(json=kernels)

    page.route("**/api/kernels", without_numba)
    page.reload()
    page.wait_for_selector("body[data-ready]")
    option = page.locator("#kernel-0 option[value=numba]")
    assert option.is_disabled()
    assert "numba is not installed" in option.inner_text()
    assert text(page, "#missing").startswith("numba cannot run here: numba is not installed.")


def test_a_server_that_is_gone_is_named(open_page):  # noqa: F811
    page = open_page(small("cpp:1", "numpy:1"))
    page.route("**/api/races", lambda route: route.abort())
    open_page.watch.complaints.clear()
    page.click("#run")
    page.wait_for_selector("#problem:not([hidden])")
    assert "the server does not answer" in text(page, "#problem")
    assert page.is_enabled("#run")
    assert all("ERR_FAILED" in line for line in open_page.watch.complaints)
    open_page.watch.complaints.clear()


@pytest.mark.slow
def test_a_kernel_is_explained_beside_its_source(open_page):  # noqa: F811
    page = open_page("#kernels/cpp")
    assert page.input_value("#which") == "cpp"
    page.wait_for_selector("#source pre")
    assert "namespace" in text(page, "#source pre >> nth=0")
    page.wait_for_selector("#ladder .dot-row")
    assert page.locator("#ladder .dot-row").count() > 5
    assert "cpp-simd" in text(page, "#costs")
    assert "not on this machine" in text(page, "#costs-note")
    page.click("#explain")
    page.wait_for_selector("#explained .verdict")
    assert "assign" in text(page, "#explained table")
    assert page.url.endswith("#kernels/cpp")


def test_studies_are_shown_with_their_claims(open_page):  # noqa: F811
    page = open_page("#studies")
    page.wait_for_selector(".study figure img")
    wait_until(page, "[...document.images].slice(0, 1).every(it => it.naturalWidth > 0)")
    assert page.locator(".study").first.locator("tbody tr").count() > 0


def test_a_race_that_cannot_be_followed_can_still_be_stopped(open_page, server):  # noqa: F811
    page = open_page(small("python:1", "cpp:1", **LONG))
    open_page.watch.expected = (404,)
    page.route("**/events", lambda route: route.fulfill(status=404, json={}))
    page.click("#run")
    wait_until(page, "document.querySelector('#headline').textContent.includes('not know')")
    with page.expect_response(lambda it: it.request.method == "DELETE") as gone:
        page.click("#stop")
    assert gone.value.json()["state"] == "stopped"
    assert workers_of(server) == []

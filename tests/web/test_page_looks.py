"""The page's looks in a real browser: widths, colours, keys, motion, weight and access for all."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.support.browsers import (  # noqa: F401 (fixtures)
    browser,
    finished,
    needs_a_browser,
    open_page,
    server,
    small,
    wait_until,
)

pytestmark = needs_a_browser

RACE = small("numpy:1", "cpp:1", "cython:1", "cpp-simd:1") + "#run"


def picture(page):
    return page.evaluate("document.querySelector('.lane canvas').toDataURL()")


def troubles(page):
    """Return what axe-core finds against WCAG 2.2 A and AA and its own best practices."""
    found = Axe().run(page).response["violations"]
    return [(it["id"], node["html"][:120]) for it in found for node in it["nodes"]]


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_everybody_can_use_every_tab(open_page, scheme):  # noqa: F811
    page = open_page(small("numpy:1", "cpp:1"), color_scheme=scheme, reduced_motion="reduce")
    assert troubles(page) == []
    page.click("#run")
    finished(page)
    page.click("summary")
    assert troubles(page) == []
    page.click("#tab-kernels")
    page.wait_for_selector("#source pre")
    page.wait_for_selector("#ladder .dot-row")
    assert troubles(page) == []
    page.click("#tab-studies")
    page.wait_for_selector(".study")
    assert troubles(page) == []


@pytest.mark.parametrize(
    "width", [390, *(pytest.param(width, marks=pytest.mark.slow) for width in (980, 1440))]
)
def test_nothing_sticks_out(open_page, width):  # noqa: F811
    page = open_page(RACE, width=width, reduced_motion="reduce")
    finished(page)
    for tab in ("race", "kernels", "studies"):
        page.click(f"#tab-{tab}")
        if tab == "kernels":
            page.wait_for_selector("#source pre")
            page.wait_for_selector("#ladder .dot-row")
        if tab == "studies":
            page.wait_for_selector(".study")
        outside = page.evaluate(
            """() => [...document.querySelectorAll("main *:not(svg *):not(.hidden)")].filter(it => {
              if (it.closest("pre, .scroll, select, .hidden") || !it.offsetParent) return false;
              const box = it.getBoundingClientRect();
              return box.width && (box.right > document.documentElement.clientWidth + 1
                || box.left < -1 || it.scrollWidth > it.clientWidth + 1
                  && ["LI", "P", "H2", "H3", "DD", "BUTTON"].includes(it.tagName));
            }).map(it => it.outerHTML.slice(0, 90))"""
        )
        assert outside == [], tab
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("#tab-race")
    columns = page.evaluate(
        "getComputedStyle(document.querySelector('.race')).gridTemplateColumns.split(' ').length"
    )
    assert columns == (2 if width >= 980 else 1)


def test_keys_alone_run_a_race(open_page):  # noqa: F811
    page = open_page(small("numpy:1", "cpp:1"))
    on = "document.activeElement.id"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate(on) == "run":
            break
    assert page.evaluate(on) == "run"
    ring = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert ring == "3px"
    page.keyboard.press("Enter")
    finished(page)
    page.focus("#tab-race")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(on) == "tab-kernels"
    assert page.is_visible("#kernels")
    page.keyboard.press("End")
    assert page.is_visible("#studies")
    page.keyboard.press("ArrowRight")
    assert page.is_visible("#race")
    assert page.locator("[role=tab][tabindex='0']").count() == 1


def test_dark_is_chosen_by_the_system_or_by_hand_and_kept(open_page):  # noqa: F811
    page = open_page(color_scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.click("#theme")
    light = page.evaluate(paper)
    assert dark != light
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.evaluate(paper) == light
    assert page.inner_text("#theme") == "Dark"


@pytest.mark.parametrize(
    "motion", ["reduce", pytest.param("no-preference", marks=pytest.mark.slow)]
)
def test_centers_glide_only_where_motion_is_wanted(open_page, motion):  # noqa: F811
    page = open_page(small("numpy:1", "cpp:1") + "#run", reduced_motion=motion)
    finished(page)
    at = page.evaluate("Number(document.querySelector('#scrub').value)")
    if motion == "reduce":
        assert at == 1000  # nothing plays by itself
    page.select_option("#pace", "steps")
    page.evaluate(
        """() => { window.seek = to => { const it = document.querySelector("#scrub");
        const last = Number(document.querySelector("#position").textContent.split(" ").at(-1));
        it.value = 1000 * to / last; it.dispatchEvent(new Event("input")); }; seek(1.05); }"""
    )
    first = picture(page)
    page.evaluate("seek(1.6)")
    assert (picture(page) == first) is (motion == "reduce")


def test_the_page_is_light_and_soon_there(open_page, record_property):  # noqa: F811
    page = open_page()
    wait_until(page, "performance.getEntriesByName('first-contentful-paint').length")
    sizes = page.evaluate(
        """() => [...performance.getEntriesByType("navigation"),
        ...performance.getEntriesByType("resource")].map(it => it.transferSize)"""
    )
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    record_property("transferred_bytes", sum(sizes))
    record_property("first_paint_milliseconds", paint)
    print(f"{sum(sizes):,} bytes in {len(sizes)} answers; first paint after {paint:.0f} ms")
    assert len(sizes) > 15
    assert 0 < sum(sizes) <= 300_000


@pytest.mark.slow
def test_four_lanes_of_five_thousand_points_move(open_page, record_property):  # noqa: F811
    query = small("cpp:1", "numpy:1", "cython:1", "cpp-simd:1", n=20_000, d=4, k=30, max_iter=60)
    page = open_page(query + "#run")
    finished(page)
    facts = page.inner_text("#facts")
    assert "5,000 of 20,000 points are drawn, in the plane of the first two principal" in facts
    page.select_option("#pace", "steps")
    rate = page.evaluate(
        """() => new Promise(tell => {
          document.querySelector("#scrub").value = 0;
          document.querySelector("#scrub").dispatchEvent(new Event("input"));
          document.querySelector("#again").click();
          let frames = 0, begin = 0;
          requestAnimationFrame(function count(now) {
            begin ||= now;
            if (now - begin > 1500) tell(1000 * frames / (now - begin));
            else { frames += 1; requestAnimationFrame(count); }
          });
        })"""
    )
    record_property("frames_per_second", rate)
    print(f"{rate:.1f} frames a second")
    assert rate > 3  # a floor for a busy machine without a graphics card; the number is reported

"""The page in a real browser, where there is one: nothing sticks out, nothing is hidden."""

import json
import os
import re
import shutil
import subprocess
from html import unescape

import pytest

from kmeans_lab.pages.bench import page
from kmeans_lab.winners.page import page as map_page
from tests.support.maps.made_up import made_up_map

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)

# Shown in a frame of each width; a script of the test's own looks at what was laid out.
FRAME = """<!doctype html><iframe src="page.html" style="width:{width}px;height:900px;border:0">
</iframe><pre id="found"></pre><script>
const frame = document.querySelector("iframe");
frame.onload = () => {{
  const page = frame.contentDocument, view = page.documentElement;
  const inside = element => {{
    for (let up = element; up; up = up.parentElement) if (up.matches(".scroll, pre")) return true;
    const box = element.getBoundingClientRect(), card = element.closest("section");
    return !card || box.right <= card.getBoundingClientRect().right + 1 && box.left >= 0;
  }};
  const all = [...page.querySelectorAll("main *:not(svg *)")];
  const names = [...page.querySelectorAll(".area")].map(area =>
    [...area.querySelectorAll("span")].map(it => it.getBoundingClientRect())
      .sort((a, b) => a.top - b.top));
  const overlaps = names.flatMap(boxes =>
    boxes.slice(1).map((box, i) => boxes[i].bottom - box.top));
  const boxes = [...page.querySelectorAll(".map tbody td")];
  const scrolled = [...page.querySelectorAll(".scroll:has(.map)")].filter(it =>
    it.scrollWidth > it.clientWidth + 1);
  const cut = box => [box, ...box.querySelectorAll("*")].some(it =>
    (it.clientWidth && it.scrollWidth > it.clientWidth + 1) ||
    it.scrollHeight > box.clientHeight + 1);
  document.querySelector("#found").textContent = JSON.stringify({{
    width: view.clientWidth, scrolls: view.scrollWidth,
    outside: all.filter(it => !inside(it)).map(it => it.outerHTML.slice(0, 90)),
    boxes: boxes.length, scrolled: scrolled.length,
    hidden: boxes.filter(cut).map(it => it.textContent),
    charts: names.length, overlap: Math.max(...overlaps),
    loaded: performance.getEntriesByType("resource").length,
  }});
}};
</script>"""


# A browser is no Python package, so that no extra can bring one; test_bench_page.py needs none.
needs_a_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on the PATH")


def laid_out(content, width, folder):
    """Return what a browser makes of a page in a frame of some width."""
    (folder / "page.html").write_text(content, encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")
    command = [
        BROWSER, "--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync",
        "--allow-file-access-from-files", "--virtual-time-budget=4000",
        f"--user-data-dir={folder / 'profile'}", "--dump-dom", (folder / "frame.html").as_uri(),
    ]  # fmt: skip
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env=dict(os.environ)
    )
    (text,) = re.findall(r'<pre id="found">(.*?)</pre>', run.stdout, re.DOTALL)
    return json.loads(unescape(text))


@needs_a_browser
@pytest.mark.parametrize("width", [360, 390, 820, 1280])
def test_the_page_fits_every_width(data, scalings, tmp_path, width):
    found = laid_out(page(data, scalings), width, tmp_path)
    assert (found["width"], found["scrolls"]) == (width, width)
    assert found["outside"] == []
    assert found["charts"] == 3
    assert found["overlap"] <= 1  # of neighbouring names, in pixels
    assert found["loaded"] == 0


@needs_a_browser
@pytest.mark.parametrize("width", [360, 390, 820, 1280])
def test_a_map_fits_every_width(tmp_path, width):
    found = laid_out(map_page(made_up_map()), width, tmp_path)
    assert (found["width"], found["scrolls"]) == (width, width)
    assert found["outside"] == []
    assert (found["boxes"], found["hidden"]) == (18, [])  # no word is cut off in its cell
    assert found["scrolled"] == 0 or width < 390
    assert found["loaded"] == 0

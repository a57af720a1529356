"""The page in a real browser, where there is one: nothing sticks out, nothing is hidden."""

import json
import os
import re
import shutil
import subprocess
from html import unescape

import pytest

from kmeans_lab.pages.bench import page

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
  document.querySelector("#found").textContent = JSON.stringify({{
    width: view.clientWidth, scrolls: view.scrollWidth,
    outside: all.filter(it => !inside(it)).map(it => it.outerHTML.slice(0, 90)),
    charts: names.length, overlap: Math.max(...overlaps),
    loaded: performance.getEntriesByType("resource").length,
  }});
}};
</script>"""


# A browser is no Python package, so that no extra can bring one; test_bench_page.py needs none.
@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on the PATH")
@pytest.mark.parametrize("width", [360, 390, 820, 1280])
def test_the_page_fits_every_width(data, scalings, tmp_path, width):
    (tmp_path / "page.html").write_text(page(data, scalings), encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")
    command = [
        BROWSER, "--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync",
        "--allow-file-access-from-files", "--virtual-time-budget=4000",
        f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "frame.html").as_uri(),
    ]  # fmt: skip
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env=dict(os.environ)
    )
    (text,) = re.findall(r'<pre id="found">(.*?)</pre>', run.stdout, re.DOTALL)
    found = json.loads(unescape(text))
    assert (found["width"], found["scrolls"]) == (width, width)
    assert found["outside"] == []
    assert found["charts"] == 3
    assert found["overlap"] <= 1  # of neighbouring names, in pixels

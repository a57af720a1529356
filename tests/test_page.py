"""``kmeans-lab report``: one page that needs nothing else and shows what was measured, no more."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from math import log10
from pathlib import Path
from statistics import median

import pytest

from kmeans_lab import __main__ as cli
from kmeans_lab.measure import record
from kmeans_lab.measure.page import headline, page
from kmeans_lab.registry import KERNELS

RUN = Path(__file__).parent.parent / "docs" / "runs" / "standard.json"
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Checker(HTMLParser):
    """Follows tags: each one that opens has to close, in order."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture
def data():
    return record.read(RUN)


def find(data, name):
    (it,) = [it for it in data["runs"][0]["contestants"] if it["name"] == name]
    return it


def text_of(html, name):
    """Return the words beside a kernel's mark on the axis of ratios."""
    (row,) = re.findall(rf"<span>{name}</span><div class=.track.>.*?</span></div>", html)
    return re.sub(r"<[^>]+>", " ", row)


def test_the_page_is_well_formed_and_fetches_nothing(data):
    html = page(data)
    checker = Checker()
    checker.feed(html)
    assert (checker.wrong, checker.open, checker.links) == ([], [], [])
    for word in ("<script", "url(", "@import", "http:", "https:"):
        assert word not in html.partition("<h2>The kernels</h2>")[0]
    assert len(html) < 400_000


def test_every_kernel_is_there_with_its_ratio_and_its_source(data):
    html = page(data)
    for name in KERNELS:
        assert f"<span>{name}</span>" in html
        assert f"<summary>{name} <small>" in html
    fastest = find(data, "cpp-simd")
    words = f"{1 / fastest['ratio']['middle']:.1f} × faster"
    assert words in text_of(html, "cpp-simd")
    assert "the baseline" in text_of(html, "cpp")
    assert "the same again" in text_of(html, "cpp again")
    ms = f"{median(fastest['seconds']) * 1e3:.4g}"
    assert f"cpp-simd is the fastest: {ms} ms, {words} than cpp (" in html


def test_marks_lie_where_the_ratios_say(data):
    html = page(data)
    places = {
        name: [float(x) for x in re.findall(r"left:([\d.]+)%", row)]
        for name, row in re.findall(r"<span>([\w -]+)</span><div class=.track.>(.*?)</div>", html)
    }
    assert places["python"][-1] < places["cpp"][-1] < places["numba-tiled"][-1] < 100
    ticks = re.findall(r"<i style=.left:([\d.]+)%", html)
    steps = [float(b) - float(a) for a, b in pairwise(ticks)]
    assert max(steps) - min(steps) < 0.02  # a logarithmic axis
    tenfold = steps[0]
    it = find(data, "cpp-simd")
    expected = places["cpp"][-1] - tenfold * log10(it["ratio"]["middle"])
    assert places["cpp-simd"][-1] == pytest.approx(expected, abs=0.05)


def test_what_is_not_resolved_says_so(data):
    find(data, "cython")["ratio"] |= {"low": 0.99, "middle": 1.0, "high": 1.01}
    assert "not resolved" in text_of(page(data), "cython")


def reject(data, name):
    nothing = {"seconds": [], "rounds": [], "ratio": None}
    find(data, name).update(state="INVALID", why="labels <b>differ</b>", **nothing)


def test_what_has_no_certificate_has_no_number_on_the_page(data):
    reject(data, "cpp-simd")
    html = page(data)
    words = text_of(html, "cpp-simd")
    assert "INVALID" in words
    assert "×" not in words
    assert "labels &lt;b&gt;differ&lt;/b&gt;" in html
    assert "is the fastest" in html
    assert "cpp-simd is the fastest" not in html


def test_a_void_or_partial_run_says_so_first(data):
    run = data["runs"][0]
    run["partial"] = True
    assert "Partial: the run was interrupted." in page(data)
    run["void"] = "the machine changed"
    html = page(data)
    assert headline(run) == "No number of this run counts."
    assert "VOID: the machine changed." in html
    assert "Speed beside" not in html


def test_a_run_without_any_number_still_makes_a_page(data):
    for it in data["runs"][0]["contestants"]:
        it |= {"state": "broken", "why": "x", "seconds": [], "rounds": [], "ratio": None}
    data["runs"][0]["floor"] = None
    assert "No kernel has a certified number." in page(data)


def test_the_command_writes_the_page_once(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report", str(RUN), "-o", "page.html"]) == 0
    assert capsys.readouterr().out == "page.html\n"
    assert Path("page.html").read_text().startswith("<!doctype html>")
    assert cli.main(["report", str(RUN), "-o", "page.html"]) == 2
    assert "page.html exists; use --force to replace it" in capsys.readouterr().err
    assert cli.main(["report", str(RUN), "-o", "page.html", "--force", "--json"]) == 0
    assert cli.main(["report", str(RUN), "-o", "page.txt"]) == 2
    assert "--output page.txt must end in .html" in capsys.readouterr().err
    Path("bad.json").write_text("{}")
    assert cli.main(["report", "bad.json", "-o", "other.html"]) == 2
    assert not Path("other.html").exists()

"""``kmeans-lab report``: one page that needs nothing else and shows what was measured, no more."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from math import log10
from pathlib import Path
from statistics import median

import pytest

from kmeans_lab.choosing import costs
from kmeans_lab.choosing import record as overhead_record
from kmeans_lab.cli import main as cli
from kmeans_lab.formatting import milliseconds
from kmeans_lab.measure import record
from kmeans_lab.pages.bench import headline, page
from kmeans_lab.registry import KERNELS
from tests.support.helpers import ready_kernels

RUN = Path(__file__).parents[2] / "docs" / "runs" / "standard.json"
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


def find(data, name):
    (it,) = [it for it in data["runs"][0]["contestants"] if it["name"] == name]
    return it


def text_of(html, name):
    """Return the words beside a kernel's mark on the axis of ratios."""
    (row,) = re.findall(rf"<span>{name}</span><div class=.track.>.*?</span></div>", html)
    return re.sub(r"<[^>]+>", " ", row)


def test_the_page_is_well_formed_and_fetches_nothing(data, scalings):
    html = page(data, scalings)
    checker = Checker()
    checker.feed(html)
    assert (checker.wrong, checker.open, checker.links) == ([], [], [])
    for word in ("<script", "url(", "@import", "http:", "https:"):
        assert word not in html.partition("<h2>The kernels</h2>")[0]
    sources = sum(len(it) for it in re.findall(r"<pre>.*?</pre>", html, re.DOTALL))
    assert len(html) - sources < 45_000  # the sources are as long as they are


def test_every_kernel_is_there_with_its_ratio_and_its_source(data):
    html = page(data)
    for name in KERNELS:
        assert f"<span>{name}</span>" in html
    for name in ready_kernels():
        assert f"<summary>{name} <small>" in html
    fastest = find(data, "cpp-simd")
    words = f"{1 / fastest['ratio']['middle']:.1f} × faster"
    assert words in text_of(html, "cpp-simd")
    assert "the baseline" in text_of(html, "cpp")
    assert "the same again" in text_of(html, "cpp again")
    ms = milliseconds(median(fastest["seconds"]))
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


def plotted(html, heading):
    """Return the chart below a heading: names by mark, lines by look."""
    chart = html.partition(f"<h3>{heading}")[2].partition("axis-title below")[0]
    assert chart, heading
    return chart


def test_marks_lie_against_the_roof_where_the_rates_say(data):
    run = data["runs"][0]
    chart = plotted(page(data), "Against the machine")
    roof, it = run["roof"], find(data, "python")
    (line,) = re.findall(r'<polyline class="roof" points="([^"]+)"', chart)
    slope, ridge, end = [tuple(map(float, at.split(","))) for at in line.split()]
    assert ridge[1] == end[1] < slope[1]
    assert slope[0] == 0
    # Two places give the scale of each axis: the ridge, and the grid line of 1.
    (x, y), *_ = [
        tuple(map(float, found))
        for found in re.findall(r'<u class="python" style="left:([\d.]+)%;top:([\d.]+)%"', chart)
    ]
    (one,) = re.findall(r'<b class="y" style="top:([\d.]+)%">1<', chart)
    (ten,) = re.findall(r'<b class="y" style="top:([\d.]+)%">10<', chart)
    tenfold = float(one) - float(ten)
    operations = 3 * 16_250 * 10 * 25 * it["n_iter"] / median(it["phases"]["assign"])
    assert y == pytest.approx(float(one) - tenfold * log10(operations / 1e9), abs=0.05)
    peak = roof["operations"]["float64"]
    assert ridge[1] == pytest.approx(float(one) - tenfold * log10(peak / 1e9), abs=0.05)
    (ones,) = re.findall(r'<b class="x" style="left:([\d.]+)%">1<', chart)
    (tens,) = re.findall(r'<b class="x" style="left:([\d.]+)%">10<', chart)
    tenfold = float(tens) - float(ones)
    assert x == pytest.approx(float(ones) + tenfold * log10(3 * 25 / 8), abs=0.05)
    assert ridge[0] == pytest.approx(float(ones) + tenfold * log10(peak / roof["read"]), abs=0.05)


def test_repetitions_have_no_roofline(data):
    data["runs"][0]["n_init"] = 3  # phases add up all, iterations are those of the best
    assert "Against the machine" not in page(data)


def test_a_machine_whose_limits_are_not_known_has_no_roof(data):
    data["runs"][0]["roof"] = None
    assert "Against the machine" not in page(data)


def test_lines_of_fits_begin_at_the_start_and_end_at_its_fits(data):
    it = find(data, "numba-tiled")
    it["start"] |= {"import": 2.0, "compile": 7.99}
    it["seconds"] = [0.01]
    chart = plotted(page(data), "Before the first fit")
    lines = re.findall(r'<polyline class="numba tuned" points="([^"]+)"', chart)
    (line,) = lines
    first, *_, last = [tuple(map(float, at.split(","))) for at in line.split()]
    grid = dict(re.findall(r'<b class="y" style="top:([\d.]+)%">([\d.,]+)<', chart))
    at = {float(value.replace(",", "")): float(place) for place, value in grid.items()}
    assert first == (0.0, at[10])  # 2 + 7.99 + 0.01
    assert last[0] == 100
    assert last[1] == pytest.approx(at[100] - (at[10] - at[100]) * log10(1.0999), abs=0.05)


def test_speedups_are_drawn_beside_what_the_machine_had_to_give(data, scalings):
    chart = plotted(page(data, scalings), "standard: how many times")
    for name in ("cpp", "cpp-simd, proc.", "the machine", "ideal"):
        assert f">{name}</span>" in chart
    grid = dict(re.findall(r'<b class="y" style="top:([\d.]+)%">([\d.]+)<', chart))
    (two,) = [float(place) for place, value in grid.items() if value == "2"]
    (line,) = re.findall(r'<polyline class="roof" points="([^"]+)"', chart)
    tops = [float(at.split(",")[1]) for at in line.split()]
    assert tops[1:] == [two, two]
    html = page(data, scalings)
    assert "<td>1.80 (1.62–1.98)</td>" in html
    assert (
        "cpp, d = 8, k = 16: time grows as n^1.00 (0.90–1.10, 95%) from n = 1,000 to 2,000" in html
    )


def test_a_source_that_was_not_measured_is_not_shown(data):
    find(data, "cpp")["source"] = find(data, "cpp again")["source"] = "0" * 16
    html = page(data)
    assert "<b>cpp</b> <small>the source that was measured is not here" in html
    assert "<summary>cpp <small>" not in html
    assert "<summary>cython <small>" in html


def test_what_is_not_resolved_says_so(data):
    find(data, "cython")["ratio"] |= {"low": 0.99, "middle": 1.0, "high": 1.01}
    assert "not resolved" in text_of(page(data), "cython")


def test_the_fastest_is_not_praised_for_what_is_not_resolved(data):
    for it in data["runs"][0]["contestants"]:
        if it["ratio"] and it["name"] != "cpp again":
            it["ratio"] |= {"low": 0.99, "middle": 1.0, "high": 1.01}
    ms = milliseconds(median(find(data, "cpp-simd")["seconds"]))
    assert headline(data["runs"][0]) == (
        f"cpp-simd has the shortest median, {ms} ms, which is not resolved from that of cpp "
        "(0.990–1.010)."
    )


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


def test_the_command_writes_the_page_once(capsys, tmp_path, monkeypatch, scalings):
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert cli.main(["report", str(RUN), "-o", "page.html"]) == 0
    assert capsys.readouterr().out == "page.html\n"
    assert Path("page.html").read_text().startswith("<!doctype html>")
    assert cli.main(["report", str(RUN), "-o", "page.html"]) == 2
    assert "page.html exists and is kept; use --force to replace it" in capsys.readouterr().err
    assert cli.main(["report", str(RUN), "-o", "page.html", "--force", "--json"]) == 0
    assert cli.main(["report", str(RUN), "-o", "page.txt"]) == 2
    assert (
        "page.txt has the suffix '.txt' and must have .html; name it so" in capsys.readouterr().err
    )
    Path("bad.json").write_text("{}")
    again = ("report", str(RUN), "-o", "other.html", "--scaling", "bad.json")
    assert cli.main([*again]) == 2
    assert "bad.json is not a scaling of kmeans-lab; give a file that scaling" in (
        capsys.readouterr().err
    )
    Path("bad.json").write_text(record.dumps(scalings[0]).replace('"cores": ', '"cores": 9'))
    assert cli.main([*again]) == 2
    assert "bad.json is from another machine (cores 9" in capsys.readouterr().err
    Path("good.json").write_text(record.dumps(scalings[0]))
    assert cli.main([*again[:-1], "good.json"]) == 0
    assert "standard: how many times" in Path("other.html").read_text()
    Path("other.html").unlink()
    Path("bad.json").write_text("{}")
    assert cli.main(["report", "bad.json", "-o", "other.html"]) == 2
    assert not Path("other.html").exists()


def test_the_costs_beside_the_speed_are_on_the_page_where_they_are_given():
    data = record.read(RUN)
    (told,) = costs.measure(["python"], n_rounds=1)
    gone = costs.Costs("gone<", "unavailable", "it is <b>not</b> here", "gil", "", "")
    beside = overhead_record.to_dict([told, gone], data["machine"])
    text = page(data, costs=beside)
    assert "Beside the speed" not in page(data)
    assert "Calls that do nothing" in text
    assert "gone&lt;: it is &lt;b&gt;not&lt;/b&gt; here" in text
    assert told.debugging in text
    checker = Checker()
    checker.feed(text)
    assert (checker.open, checker.wrong) == ([], [])


def test_report_takes_the_costs_of_the_same_machine_only(tmp_path, capsys):
    data = record.read(RUN)
    gone = costs.Costs("gone", "unavailable", "it is not here", "gil", "", "")
    path = tmp_path / "overhead.json"
    for cpu, status in ((data["machine"]["cpu"], 0), ("another", 2)):
        beside = overhead_record.to_dict([gone], {**data["machine"], "cpu": cpu})
        path.write_text(json.dumps(beside))
        target = str(tmp_path / f"{status}.html")
        asked = ["report", str(RUN), "--overhead", str(path), "-o", target]
        assert cli.main(asked) == status
        assert Path(target).exists() == (status == 0)
    assert "another machine" in capsys.readouterr().err

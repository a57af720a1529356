"""Drawings and pages of a map: each measured cell is there, and no other."""

import re
from math import log
from pathlib import Path

import pytest

from kmeans_lab.io.errors import MissingExtra
from kmeans_lab.pages import document
from kmeans_lab.registry import KERNELS
from kmeans_lab.winners import draw, words
from kmeans_lab.winners.page import headline, page
from kmeans_lab.winners.record import cell_of, verdicts_of
from kmeans_lab.winners.verdict import Verdict
from tests.support.maps.made_up import GRID

STYLE = (Path(document.__file__).parent / "page.css").read_text(encoding="utf-8")


def labels_of(data):
    """Return what each cell that has leaders should say."""
    verdicts = verdicts_of(data)
    behind = {cell_of(it): it["behind"] for it in data["cells"]}
    return {cell: words.by_how_much(it, behind[cell]) for cell, it in verdicts.items()}


def drawn(data, monkeypatch):
    """Return the words of each panel of the figure, by its title, and where they are."""
    seen = {}

    def keep(figure, kind):
        for axis in figure.axes:
            seen[axis.get_title("left")] = [
                (it.get_text(), getattr(it, "xy", it.get_position())) for it in axis.texts
            ]
        return b""

    monkeypatch.setattr(draw, "rendered", keep)
    draw.draw(data, "png")
    return seen


def test_the_figure_has_each_cell_with_its_label_in_its_place(data, monkeypatch):
    panels = drawn(data, monkeypatch)
    assert set(panels) == {"d = 2", "d = 16"}
    labels = labels_of(data)
    for cell, label in labels.items():
        here = [
            text
            for text, (x, y) in panels[f"d = {cell.d}"]
            if abs(log(x / cell.n)) < 0.6 and abs(log(y / cell.k)) < 1.0
        ]
        verdict = verdicts_of(data)[cell]
        if verdict.winner:
            assert here == [label, verdict.winner]
        elif verdict.leaders:
            assert set(here) == {f"≈ {name}" for name in verdict.leaders}
        else:
            assert here == ["void"]
    blank = [text for texts in panels.values() for text, _ in texts if text == "not\nmeasured"]
    assert len(blank) == len(list(GRID.cells())) - len(labels) == 1


def test_a_cell_that_is_not_resolved_has_no_number(data, monkeypatch):
    (cell,) = (cell for cell, it in verdicts_of(data).items() if it.kind == "not resolved")
    assert labels_of(data)[cell] == "≈"
    (box,) = re.findall(r'<td class="open".*?</td>', page(data))
    assert re.findall(r"<small.*?>(.*?)</small>", box) == ["cpp-simd", "cython-tiled"]
    assert not re.search(r"\d ×", re.sub(r'title=".*?"', "", box))


def test_figures_are_files_of_their_kind_and_the_same_each_time(data):
    assert draw.draw(data, "png").startswith(b"\x89PNG")
    svg = draw.draw(data, "svg")
    assert b"<svg" in svg
    assert svg == draw.draw(data, "svg")


def test_without_matplotlib_the_sentence_names_the_extra(data, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"matplotlib.*kmeans-lab\[studies\]"):
        draw.draw(data, "png")


def test_cells_meet_halfway_between_their_sizes():
    assert draw.edges((100, 10_000)) == pytest.approx([10, 1000, 100_000])
    assert draw.edges((100,)) == [50, 200]


def test_colours_are_those_of_the_pages():
    light = STYLE[: STYLE.index("@media")]
    names = {"python": "soft", "other": "ink"}
    for hue, color in draw.COLORS.items():
        assert f"--{names.get(hue, hue)}: {color};" in light
    assert "28%" in STYLE
    assert draw.PALE == 0.28


def test_every_kernel_has_a_colour_of_its_own_and_readable_words():
    colors = {name: draw.color_of(name) for name in KERNELS}
    alike = {"numpy-broadcast": "numpy"}  # of one family; their names are in the cells
    assert len(set(colors.values())) == len(colors) - len(alike)
    assert colors["numpy-broadcast"] == colors["numpy"]
    for color in colors.values():
        assert contrast(color, draw.ink_on(color)) >= 4.5


def contrast(one, other):
    """Return the contrast of two colours by WCAG 2.2."""

    def light(color):
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_page_has_a_box_for_each_cell(data):
    html = page(data)
    verdicts, labels = verdicts_of(data), labels_of(data)
    won = [labels[cell] for cell, it in verdicts.items() if it.winner]
    assert sorted(re.findall(r"<b>(.*?)</b>", html)) == sorted(
        it.replace(">", "&gt;") for it in won
    )
    assert html.count("not measured</small>") == 1
    assert "<script" not in html
    assert "http" not in html.replace("http-equiv", "")


def test_the_page_escapes_names(data):
    for it in data["cells"][0]["run"]["contestants"]:
        if it["kernel"] == "cython-tiled":
            it["name"] = it["kernel"] = "<b>x"
    assert "<b>x" not in page(data)


def test_the_headline_counts():
    grid, cells = GRID, list(GRID.cells())
    known = {cells[0]: Verdict("won", ("a",)), cells[1]: Verdict("not resolved", ("a", "b"))}
    assert headline(grid, known) == "a wins 1 of 18 cells; 1 not resolved, 16 not measured."
    assert headline(grid, {}) == "No cell has a winner."


def test_each_thread_count_has_a_panel(data, monkeypatch):
    data["grid"]["threads"] = [1, 2]
    assert len(drawn(data, monkeypatch)) == 4
    assert page(data).count("<figcaption>") == 4

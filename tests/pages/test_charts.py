"""Charts: places follow from values, names keep clear of each other."""

import re
from itertools import pairwise

import pytest

from kmeans_lab.pages.charts import Axis, Series, decades, plot, spread


def test_an_axis_is_logarithmic():
    axis = Axis(0.1, 1000.0, [], "")
    assert [axis.at(value) for value in (0.1, 1, 10, 1000)] == pytest.approx([0, 25, 50, 100])


def test_ticks_are_the_powers_of_ten_between_the_ends():
    axis = decades([0.3, 40.0], "seconds", more=1.5)
    assert (axis.low, axis.high, axis.title) == (pytest.approx(0.2), 60.0, "seconds")
    assert list(axis.ticks) == [1.0, 10.0]


@pytest.mark.parametrize(
    "places", [[50.0], [50.0, 50.0, 50.0], [3.0, 1.0, 2.0], [99.0, 100.0, 98.0, 20.0], [100.0] * 9]
)
def test_names_move_apart_in_their_order_and_stay_on_the_chart(places):
    moved = spread(places, gap=6.0)
    assert len(moved) == len(places)
    assert min(moved) >= 0
    assert max(moved) <= 100
    order = sorted(range(len(places)), key=lambda i: places[i])
    assert all(moved[b] - moved[a] >= 6 - 1e-9 for a, b in pairwise(order))


def test_names_that_are_apart_stay_where_they_are():
    assert spread([10.0, 90.0, 50.0]) == [10.0, 90.0, 50.0]


def test_lines_marks_and_names_lie_where_the_values_say():
    axis = Axis(1.0, 100.0, [1.0, 10.0, 100.0], "x & y")
    line = Series("a <b>", [(1.0, 1.0), (10.0, 100.0)], "cpp", bars=[(10.0, 1.0, 10.0)])
    html = plot(axis, axis, [line])
    assert 'class="cpp" points="0.00,100.00 50.00,0.00"' in html
    assert 'class="bar cpp" points="50.00,100.00 50.00,50.00"' in html
    assert re.findall(r'<u class="cpp" style="left:([\d.]+)%;top:([\d.]+)%"', html) == [
        ("0.00", "100.00"), ("50.00", "0.00"),
    ]  # fmt: skip
    assert '<span class="cpp" style="top:0.00%">a &lt;b&gt;</span>' in html
    assert html.count("x &amp; y") == 2
    assert [re.findall(rf'<b class="{side}"[^>]*>(\d+)<', html) for side in "xy"] == [
        ["1", "10", "100"],
        ["1", "10", "100"],
    ]

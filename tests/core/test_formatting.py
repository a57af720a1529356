"""Numbers in words: the digits that count, and what is rounded up to the next power of ten."""

import sys
from math import inf, nan

import pytest

from kmeans_lab.formatting import (
    as_text,
    digits,
    duration,
    faster,
    faster_between,
    make_table,
    memory_size,
    milliseconds,
    milliseconds_of_part,
    plural,
)
from kmeans_lab.io.errors import MissingExtra
from tests.support.numbers import DIGITS, DURATIONS


@pytest.mark.parametrize(("value", "words"), DIGITS)
def test_three_digits_count(value, words):
    assert digits(value) == words


@pytest.mark.parametrize(
    ("value", "count", "words"),
    [(9.96, 2, "10"), (0.0996, 2, "0.10"), (1e-13, 3, "0.000000000000"), (5, 1, "5"),
     (1234.56, 6, "1,234.56"), (1e22, 3, "10,000,000,000,000,000,000,000")],
)  # fmt: skip
def test_another_count_of_digits(value, count, words):
    assert digits(value, count) == words


def test_milliseconds():
    assert milliseconds(0.00402149) == "4.021"
    assert milliseconds(10.4404) == "10,440"
    assert milliseconds(0.9999996) == "1,000"
    assert milliseconds_of_part(3.4e-6) == "0.003"
    assert milliseconds_of_part(9.996e-3) == "10.0"
    assert milliseconds_of_part(0.0) == "0"


@pytest.mark.parametrize(("seconds", "words"), DURATIONS)
def test_a_duration_has_the_unit_that_suits_it(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 KiB"), (512, "0.500 KiB"), (999.6 * 2**10, "0.976 MiB"), (1.5 * 2**30, "1.50 GiB"),
     (2**60, "1,048,576 TiB")],
)  # fmt: skip
def test_memory_has_binary_units(size, words):
    assert memory_size(size) == words


@pytest.mark.parametrize(
    ("times", "words"),
    [(1.0, "1.00 × faster"), (9.996, "10.0 × faster"), (0.5, "2.00 × slower"),
     (1 / 99.96, "100 × slower"), (2633.9, "2,634 × faster"), (0.0, "∞ × slower"),
     (inf, "∞ × faster"), (nan, "–")],
)  # fmt: skip
def test_how_many_times_faster_or_slower(times, words):
    assert faster(times) == words


def test_bounds_have_the_direction_of_the_words():
    assert faster_between(2.0, 1.6, 2.5) == ("2.00 × faster", "1.60–2.50")
    assert faster_between(0.5, 0.4, 0.625) == ("2.00 × slower", "1.60–2.50")


def test_nouns_have_a_plural():
    assert [plural(count, "thread") for count in (0, 1, 1000)] == [
        "0 threads", "1 thread", "1,000 threads",
    ]  # fmt: skip


def test_columns_are_flush_right_where_that_is_asked_for():
    table = make_table("kernel", "ms", right=["ms"], whole=["kernel"])
    table.add_row("cpp", "1")
    table.add_row("python", "1,000")
    assert as_text(table).splitlines()[2:] == ["cpp         1", "python  1,000"]
    assert [column.no_wrap for column in table.columns] == [True, False]


def test_without_rich_a_table_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"] + ["rich"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match="need the package rich"):
        make_table()

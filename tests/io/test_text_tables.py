"""Text files of numbers: read as they are meant, or refused with the options to type."""

import csv
import random
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from kmeans_lab.io.datafiles import read_rows
from kmeans_lab.io.errors import Refused
from tests.support.text_tables import OUT, POINTS, RULE, read, refusal, write


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# --- read without options -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("1,2\n3,4", [[1, 2], [3, 4]]),
        ("1,2\r\n\r\n3,4\r\n", [[1, 2], [3, 4]]),
        ("1,2\r3,4\r", [[1, 2], [3, 4]]),
        ("\ufeff1,2\n", [[1, 2]]),
        ("1\n2\n3\n", [[1], [2], [3]]),
        (" -1.5e3 , .5\n", [[-1500, 0.5]]),
        ("1,5,2,5\n", [[1, 5, 2, 5]]),
        ('"1","2"\n', [[1, 2]]),
        ('1, "2.5"\n', [[1, 2.5]]),
        ("100,200\n300,400\n", [[100, 200], [300, 400]]),
        # the delimiter is what there is, where decimals have a point
        ("1;2\n3;4\n", [[1, 2], [3, 4]]),
        ("1.5;2.25\n", [[1.5, 2.25]]),
        ("1.234\t0.5\n", [[1.234, 0.5]]),
        ("1|2\n", [[1, 2]]),
        ("  1   2\n 3    4.5 \n", [[1, 2], [3, 4.5]]),
        ("sep=;\n1;2\n", [[1, 2]]),
        ("x;a, b\n1;2\n", [[1, 2]]),
        # headers and comments
        ("x,y\n1,2\n", [[1, 2]]),
        ("x, y \n1,2\n", [[1, 2]]),
        (",x,y\n0,1,2\n", [[0, 1, 2]]),
        ('"a,b",c\n1,2\n', [[1, 2]]),
        ('"two\nlines",c\n1,2\n', [[1, 2]]),
        ("# by hand\nx,y\n1,2\n# end\n", [[1, 2]]),
        ("# x y\n1 2\n3 4\n", [[1, 2], [3, 4]]),
        ("2023-01,2023-02\n1,2\n", [[1, 2]]),
        # a delimiter at the end of each line
        ("1,2,\n3,4,\n", [[1, 2], [3, 4]]),
        ("x,y,\n1,2,\n", [[1, 2]]),
        ("x;y\n1;2;\n", [[1, 2]]),
    ],
)
def test_plain_tables_are_read(text, expected):
    assert read(text) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_any_unicode_is_read(encoding, newline):
    text = newline.join(["größe\tn", "1.5\t2", "3\t4", ""])
    beginning = text.encode(encoding) if encoding != "utf-8" else text.encode()
    if encoding in ("utf-16-le", "utf-16-be"):  # told by its zero bytes: ASCII comes first
        beginning = text.replace("größe", "size").encode(encoding)
    assert read(beginning) == [[1.5, 2], [3, 4]]


def test_names_in_an_older_encoding_do_no_harm():
    content = "größe,n\n1,2\n".encode("cp1252")
    assert read(content) == [[1, 2]]
    assert read(content, columns=["größe"]) == [[1]]
    assert read(b"\x81\x8f\n1\n") == [[1]]


def test_the_rows_are_those_of_the_standard_library():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 3)) * 10.0 ** rng.integers(-300, 150, size=(5000, 1))
    for delimiter in ",;\t |":
        with Path("a.csv").open("w", newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows(X.tolist())
        np.testing.assert_array_equal(read_rows(Path("a.csv")), X)
        np.testing.assert_array_equal(read_rows(Path("a.csv"), columns=["3", "1"]), X[:, [2, 0]])
    text = Path("a.csv").read_text().replace("|", ";").replace(".", ",")
    np.testing.assert_array_equal(read_rows(write(text), decimal=","), X)


# --- what is not certain is asked --------------------------------------------------------------


ASKED = [
    ("1,5;2,5\n3,5;4,5\n", POINTS, {"--delimiter ';' --decimal ','": [1.5, 2.5]}),
    ("x;y\n1,5;2\n", POINTS, {"--delimiter ';' --decimal ','": [1.5, 2]}),
    ("1,5\t2,5\n", POINTS, {"--delimiter tab --decimal ','": [1.5, 2.5]}),
    ("d;x\n01.02.2024;1,5\n", POINTS, {"--delimiter ';' --decimal ','": ["01.02.2024", 1.5]}),
    (
        "x\n1,5\n2,5\n",
        "does not have as many columns as the header has names",
        {"--decimal ','": [1.5]},
    ),
    ("1,5 2,5\n", POINTS, {"--delimiter ' ' --decimal ','": [1.5, 2.5]}),
    ("sep=;\n1,5;2,5\n", POINTS, {"--decimal ','": [1.5, 2.5]}),
    (
        '"1,000",2\n"3,000",4\n',
        POINTS,
        {"--thousands ','": [1000, 2], "--delimiter ',' --decimal ','": [1, 2]},
    ),
    ('"1,5",2\n', POINTS, {"--delimiter ',' --decimal ','": [1.5, 2]}),
    ('"1,234.5",2\n', POINTS, {"--thousands ','": [1234.5, 2]}),
    (
        "1 000,2\n3 000,4\n",
        POINTS,
        {"--thousands ' '": [1000, 2], "--decimal ',' --thousands ' '": [1000.2]},
    ),
    (
        "1,000;2,000\n",
        POINTS,
        {
            "--delimiter ';' --decimal ','": [1, 2],
            "--delimiter ';' --thousands ','": [1000, 2000],
        },
    ),
    (
        "1.234,5;6\n",
        POINTS,
        {"--delimiter ';' --decimal ',' --thousands '.'": [1234.5, 6]},
    ),
    (
        "1\u00a0234,5;6\n",
        POINTS,
        {"--delimiter ';' --decimal ',' --thousands ' '": [1234.5, 6]},
    ),
    ("1'234.5;6\n", POINTS, {"""--delimiter ';' --thousands "'\"""": [1234.5, 6]}),
    ("1_234;6\n", POINTS, {"--delimiter ';' --thousands '_'": [1234, 6]}),
    (
        "1.000;2.000\n",
        "can be read in more than one way",
        {
            "--delimiter ';'": [1, 2],
            "--delimiter ';' --decimal ',' --thousands '.'": [1000, 2000],
        },
    ),
    (
        "1 000\n3 500\n",
        "can be read in more than one way",
        {"--delimiter ' '": [1, 0], "--thousands ' '": [1000]},
    ),
    (
        "1,05\n2,07\n",
        "can be read in more than one way",
        {"--delimiter ','": [1, 5], "--decimal ','": [1.05]},
    ),
    (
        "1,000\n2,000\n",
        "can be read in more than one way",
        {"--delimiter ','": [1, 0], "--decimal ','": [1], "--thousands ','": [1000]},
    ),
]


@pytest.mark.parametrize(("text", "why", "ways"), ASKED)
def test_another_notation_is_refused_with_options_that_give_its_numbers(text, why, ways):
    line = next(i for i, it in enumerate(text.splitlines(), 1) if it[-1].isdigit())
    shown = text.splitlines()[line - 1]
    told = ", or ".join(
        f"{way} to read " + " | ".join(repr(it) if isinstance(it, str) else f"{it:g}" for it in row)
        for way, row in ways.items()
    )
    title = ", or --skip-rows 1 if line 1 is a title" if "the header has names" in why else ""
    assert refusal(text) == f"a.csv, line {line}: {shown!r} {why}; give {told}{title}"
    for way, row in ways.items():
        numbers = [i for i, it in enumerate(row, 1) if not isinstance(it, str)]
        columns = [str(i) for i in numbers]
        assert read(text, **typed(way), columns=columns)[0] == [row[i - 1] for i in numbers]


def test_numbers_that_commas_cut_in_two_are_not_taken_for_columns():
    why = refusal("1,000,2\n3,000,4\n")
    assert why == (
        "a.csv, line 1: '1,000,2' may have numbers cut in two, since none begins like '000'; give "
        "--delimiter ',' if each comma separates columns, or save the file with another delimiter"
    )
    assert read("1,000,2\n3,000,4\n", delimiter=",") == [[1, 0, 2], [3, 0, 4]]
    assert read("2024,01,15\n2024,02,1\n") == [[2024, 1, 15], [2024, 2, 1]]


def test_one_sign_cannot_do_two_things_without_quotes():
    for option in ("decimal", "thousands"):
        assert refusal("1,000,2\n", delimiter=",", **{option: ","}) == (
            "a.csv has no quotes, without which ',' cannot both separate columns and be part of a "
            "number; leave one of the options out"
        )
    rows = "".join(f"{i},2\n" for i in range(300))
    assert read(rows + '"1,000",2\n', thousands=",")[-2:] == [[299, 2], [1000, 2]]
    why = refusal("1,000,2\n", thousands=",")
    assert why.startswith("a.csv, line 1, column 1 holds '1,000,2' and every value must be")


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ({"decimal": ","}, "1,5\n2\n", [[1.5], [2]]),
        ({"decimal": "comma", "delimiter": "semicolon"}, "1,5;2,5\n", [[1.5, 2.5]]),
        ({"decimal": ",", "delimiter": "\\t"}, "1,5\t2,5\n", [[1.5, 2.5]]),
        ({"decimal": ",", "delimiter": "tab"}, "1,5\t-2,5e-1\n", [[1.5, -0.25]]),
        ({"decimal": "','", "delimiter": "';'"}, "1,5;2,5\n", [[1.5, 2.5]]),
        ({"thousands": "space"}, "1\u202f000\t2\n", [[1000, 2]]),
        ({"thousands": "\u2019"}, "1'000;2\u2019000\n", [[1000, 2000]]),
        ({"thousands": ","}, '"1,234,567",2\n', [[1234567, 2]]),
        ({"delimiter": "space"}, "1  2\n", [[1, 2]]),
        ({"delimiter": ":"}, "1:2\n", [[1, 2]]),
    ],
)
def test_what_the_user_says_is_done(options, text, expected):
    assert read(text, **options) == expected


@pytest.mark.parametrize(
    ("options", "text", "why"),
    [
        (
            {"decimal": ","},
            "1,5;2.5\n",
            f"a.csv, line 1, column 2 holds '2.5' {RULE} with a decimal comma; correct it, {OUT} 2",
        ),
        (
            {"thousands": ","},
            "1,00;2\n",
            f"a.csv, line 1, column 1 holds '1,00' {RULE}; correct it, {OUT} 1",
        ),
        (
            {"delimiter": "ab"},
            "1\n",
            "--delimiter 'ab' must be one character that is no part of a number, like ';', or one "
            "of comma, semicolon, tab, space and pipe",
        ),
        ({"decimal": "x"}, "1\n", "--decimal 'x' must be '.' or ','"),
        ({"thousands": "x"}, "1\n", "--thousands 'x' must be one of , . ' _ and space"),
        (
            {"thousands": "."},
            "1\n",
            "--thousands '.' is the decimal sign, too, and must be another; give --decimal ',' "
            "with it",
        ),
        ({"header": "x"}, "1\n", "--header x must be one of auto, yes, no"),
    ],
)
def test_what_the_user_says_is_held_against_the_file(options, text, why):
    assert refusal(text, **options) == why


def test_a_notation_that_comes_late_is_named_at_its_place():
    rows = "1.5;2\n" * 300
    assert refusal(rows + "1,5;2\n") == (
        f"a.csv, line 301, column 1 holds '1,5' {RULE}; give --delimiter ';' --decimal ',' to read "
        "1.5"
    )
    assert refusal("1;2\n" * 300 + "1 000;2\n").endswith("--thousands ' ' to read 1000")


NOTATIONS = [
    (delimiter, decimal, thousands)
    for delimiter in ",;\t| "
    for decimal in ".,"
    for thousands in (None, ",", ".", " ", "'")
    if decimal != thousands
    and not (delimiter == thousands == " ")
    and (delimiter == ";" or thousands != ".")  # elsewhere, 1.234 is taken for 1.234
]


def written(value, decimal, thousands):
    """Return a number as some country writes it."""
    text = f"{value:,}" if thousands else f"{value}"
    return text.translate({ord(","): thousands, ord("."): decimal})


@pytest.mark.parametrize(("delimiter", "decimal", "thousands"), NOTATIONS)
def test_no_notation_is_ever_read_as_other_numbers(delimiter, decimal, thousands):
    chance = random.Random(f"{delimiter}{decimal}{thousands}")
    for _ in range(12):
        width, digits = chance.randrange(2, 4), chance.randrange(4)
        rows = [
            [
                round(chance.choice([1, 9, 2000, 10**7]) * chance.random(), digits or None)
                for _ in range(width)
            ]
            for _ in range(chance.randrange(1, 4))
        ]
        with Path("a.csv").open("w", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            if chance.random() < 0.5:
                writer.writerow(["x", "y", "z"][:width])
            writer.writerows([[written(it, decimal, thousands) for it in row] for row in rows])
        text = Path("a.csv").read_text()
        told = {"delimiter": delimiter, "decimal": decimal, "thousands": thousands}
        if '"' in text or delimiter not in (decimal, thousands):
            assert read(text, **told) == rows, text
        found = list(followed(text, {}))
        assert rows in found, (text, found)
        assert len(found) > 1 or found == [rows]


def followed(text, options):
    """Yield what is read without options, or with all that refusals say, one after the other."""
    try:
        yield read(text, **options)
    except Refused as error:
        for way in re.findall(r"(--.+?) to read", str(error)):
            yield from followed(text, options | typed(way))


def typed(way):
    """Return the options of a command line as those of the function."""
    flags = shlex.split(way)
    return dict(zip([it[2:] for it in flags[::2]], flags[1::2], strict=True))

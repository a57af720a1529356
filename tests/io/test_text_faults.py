"""What is wrong with a text file is said with its place."""

import re
from pathlib import Path

import numpy as np
import pytest

from kmeans_lab.cli import main as cli
from kmeans_lab.io.datafiles import read_rows
from kmeans_lab.io.errors import Refused
from tests.support.text_tables import FINITE, OUT, RULE, read, refusal, write


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1,2\n\n3,four\n", f", line 3, column 2 holds 'four' {RULE}; correct it, {OUT} 2"),
        (
            "1,2\n3," + 40 * "y",
            f", line 2, column 2 holds '{30 * 'y'}…' {RULE}; correct it, {OUT} 2",
        ),
        # Full-width digits: Python's float takes them, NumPy does not.
        ("1,2\n１,2\n", f", line 2, column 1 holds '１' {RULE}; correct it, {OUT} 1"),
        ("1,2\n3,4#5\n", f", line 2, column 2 holds '4#5' {RULE}; correct it, {OUT} 2"),
        ("1,2\n1e5,0x1\n", f", line 2, column 2 holds '0x1' {RULE}; correct it, {OUT} 2"),
        ("a\n1\nb\n", f", line 3, column 1 ('a') holds 'b' {RULE}; correct it or drop the line"),
        (
            "x,y\n1,2\n3\n",
            ", line 3 has 1 column and must have 2 like line 2; correct it, with quotes around "
            "numbers that have a comma in them",
        ),
        ("1;2\n3\n", ", line 2 has 1 column and must have 2 like line 1; correct it or drop it"),
        (
            "1,2\n3\n",
            ", line 2 has 1 column and must have 2 like line 1; correct it, or give --decimal ',' "
            "to read 1.2",
        ),
        (
            "1\n2,3\n",
            ", line 2 has 2 columns and must have 1 like line 1; correct it, or give --decimal ',' "
            "to read 2.3",
        ),
        ("1,2,3\n1,,2\n", f", line 2, column 2 is empty {FINITE}; fill it in, {OUT} 2"),
        (
            "x,y z\n1,\n,2\n3,NA\n",
            f", line 2, column 2 ('y z') is empty {FINITE} (3 in all are not); fill it in, {OUT} 2",
        ),
        (
            "1,2\n,\n",
            f", line 2, column 1 is empty {FINITE} (2 in all are not); fill it in, {OUT} 1",
        ),
        ('1\n""\n', f", line 2, column 1 is empty {FINITE}; fill it in or drop the line"),
        (
            "1,2,\n3,4,5\n",
            f", line 2, column 3 holds '5' and is empty in line 1, {RULE}; fill it in",
        ),
        (
            '1,"2\n3,4\n',
            ", line 1 cannot be split into columns (unexpected end of data); correct it",
        ),
        (
            'x,y\n1,"2\n3,4\n',
            ", line 2 cannot be split into columns (unexpected end of data); correct it",
        ),
        (
            "12,34,567;5\n",
            f", line 1, column 3 holds '567;5' {RULE}; correct it, or say with --delimiter what "
            "separates columns",
        ),
        (
            "%title\n1,2\n",
            ", line 2: '1,2' does not have as many columns as the header has names; give --decimal "
            "',' to read 1.2, or --skip-rows 1 if line 1 is a title",
        ),
        ("(1,2)\n(3,4)\n", f", line 2, column 1 ('(1') holds '(3' {RULE}; correct it, {OUT} 1"),
        ("", " has no row of numbers and needs one; check the file"),
        ("\n\n", " has no row of numbers and needs one; check the file"),
        ("x,y\n", " has no row of numbers and needs one; check the file"),
        (
            b"PK\x03\x04",
            " is a workbook, an archive or a document and must be text; save its table as CSV",
        ),
        (
            b"\xff\xfe1",
            " begins as UTF-16 text but is not valid ('utf-16-le' codec can't decode byte 0x31 in "
            "position 0: truncated data); save it as UTF-8",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(text, why):
    assert refusal(text) == "a.csv" + why


@pytest.mark.parametrize(
    "cell",
    [
        *("nan", "NaN", "-nan", "NA", "N/A", "#N/A", "null", "None", "-", "?", "#DIV/0!", ""),
        *("inf", "-Infinity", "1e999"),
    ],
)
def test_what_is_no_finite_number_has_file_line_and_column(cell):
    what = f"holds {cell!r}" if cell else "is empty"
    mend = "correct it" if re.search("inf|9", cell, re.I) else "fill it in"
    told = f"{what} {FINITE}; {mend}, {OUT}"
    assert refusal(f"1,2\n3,{cell}\n") == f"a.csv, line 2, column 2 {told} 2"
    assert refusal(f"x,y\n\n3,{cell}\n") == f"a.csv, line 3, column 2 ('y') {told} y"
    assert read(f"x,y\n3,{cell}\n", columns=["x"]) == [[3]]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x,y\n9007199254740993,1\n9007199254740992,2\n", "9007199254740993"),
        ("x,y\n-1234567890123456789,1\n", "-1234567890123456789"),
        ("x;y\n9.007.199.254.740.993;1\n", "9.007.199.254.740.993"),
    ],
)
def test_integers_that_float64_does_not_hold_are_said_with_their_place(text, shown):
    signs = {"decimal": ",", "thousands": "."} if ";" in text else {}
    told = (
        f"^a.csv, line 2, column 1 \\('x'\\) holds '{re.escape(shown)}', which float64 rounds, so "
        r"that different values beyond 2\*\*53 may become equal; subtract what they have in common"
    )
    with pytest.warns(UserWarning, match=f"{told}, or leave the column out with --drop-columns x$"):
        read(text, **signs)
    with pytest.warns(UserWarning, match=f"{told}$"):
        read(text, columns=["x"], **signs)
    assert read(text, columns=["y"], **signs)[0] == [1]  # warnings are errors here


def test_large_numbers_that_are_held_pass_without_a_word():
    assert read("9007199254740992,123456789012345680000\n1,1e300\n")[0] == [
        2**53,
        123456789012345680000.0,
    ]


def test_a_delimiter_that_no_line_has_is_said():
    rule = "is not a row of numbers with decimal points; give another --delimiter than"
    assert refusal("1;2\n", delimiter=",") == f"a.csv, line 1: '1;2' {rule} ',', which no line has"
    assert refusal("1,2\n", delimiter="tab") == (
        f"a.csv, line 1: '1,2' {rule} tab, which no line has, or --decimal ',' to read 1.2"
    )
    assert read("1\n2\n", delimiter=";") == [[1], [2]]


def test_long_text_is_not_quoted_whole():
    told = refusal(f"1 000,5;{900 * 'x'}\n")
    assert f"to read 1000.5 | '{30 * 'x'}…'" in told
    assert len(told) < 300


def test_no_row_is_left():
    told = "a.csv has no row of numbers left and needs one; check --skip-rows"
    assert refusal("x,y\n", skip_rows=1) == told
    assert refusal("1,2\n", skip_rows=10**30) == told
    with pytest.raises(Refused, match=r"^--skip-rows -1 must be at least 0$"):
        read_rows(write("1\n"), -1)


@pytest.mark.parametrize("suffix", [".csv", ".CSV", ".tsv", ".txt"])
def test_suffixes_of_text(suffix):
    assert read_rows(write("x\ty\n1\t2\n", f"a{suffix}")).tolist() == [[1, 2]]


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_what_a_fit_writes_can_be_read_back(kind):
    X = np.random.default_rng(0).normal(size=(50, 3)).astype(kind)
    np.save("X.npy", X)
    assert cli.main(["fit", "X.npy", "-k", "4", "--seed", "0", "-q", "-o", "r.csv"]) == 0
    assert cli.main(["fit", "X.npy", "-k", "4", "--seed", "0", "-q", "-o", "r.npz"]) == 0
    with np.load("r.npz") as whole:
        np.testing.assert_array_equal(read_rows(Path("r.csv")).ravel(), whole["labels"])
        centers = read_rows(Path("r.centers.csv")).astype(kind)
        np.testing.assert_array_equal(centers, whole["centers"], strict=True)

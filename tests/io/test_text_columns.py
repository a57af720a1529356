"""Headers and columns of text files: told apart, or asked for; chosen by name and by number."""

import pytest

from tests.support.text_tables import OUT, RULE, read, refusal


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# --- headers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "id,2019,2020\n1,2,3\n",
            "a.csv, line 1, column 1 holds 'id' and another column a number, so that the line may "
            "be names or data; give --header yes if it names the columns, else correct it",
        ),
        (
            "\n1,2x\n3,4\n",
            "a.csv, line 2, column 2 holds '2x' and another column a number, so that the line may "
            "be names or data; give --header yes if it names the columns, else correct it",
        ),
        (
            '"2019","2020"\n1,2\n',
            "a.csv, line 1 has numbers in quotes and the lines below have none; give --header yes "
            "if they are names of columns, else --header no",
        ),
        (
            "x,y\ncm,kg\n1,2\n",
            f"a.csv, line 2, column 1 ('x') holds 'cm' {RULE}; if the line belongs to the header, "
            "use --skip-rows 2",
        ),
    ],
)
def test_a_header_that_only_the_user_can_know(text, why):
    assert refusal(text) == why


def test_a_header_can_be_stated():
    assert read("2019,2020\n1,2\n", header="yes") == [[1, 2]]
    assert read("id,2019\n1,2\n", header="yes", columns=["2019"]) == [[2]]
    assert read('"2019","2020"\n1,2\n', header="no") == [[2019, 2020], [1, 2]]
    assert refusal("x,y\n1,2\n", header="no") == (
        f"a.csv, line 1, column 1 holds 'x' {RULE}; if the line belongs to the header, use "
        "--skip-rows 1"
    )


def test_a_title_above_the_header():
    why = refusal("My title\nx,y\n1,2\n")
    assert why == (
        "a.csv, line 1 has 1 name and line 2 has 2 columns, and there must be as many; put numbers "
        "that have a comma in them in quotes, or leave the line out with --skip-rows 1 if it is a "
        "title"
    )
    assert read("My title\nx,y\n1,2\n", skip_rows=1) == [[1, 2]]


# --- columns --------------------------------------------------------------------------------

TABLE = 'id,x,"y, z",note\n1,2,3,a\n4,5,6,b\n'


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"columns": ["x"]}, [[2], [5]]),
        ({"columns": ["3", "id"]}, [[3, 1], [6, 4]]),
        ({"columns": ["3,id"]}, [[3, 1], [6, 4]]),
        ({"columns": ["y, z"]}, [[3], [6]]),
        ({"columns": ['"y, z",x']}, [[3, 2], [6, 5]]),
        ({"columns": ["2-3"]}, [[2, 3], [5, 6]]),
        ({"drop_columns": ["id,note"]}, [[2, 3], [5, 6]]),
        ({"drop_columns": ["id", "4"]}, [[2, 3], [5, 6]]),
        ({"skip_rows": 1, "columns": ["1-3"]}, [[1, 2, 3], [4, 5, 6]]),
    ],
)
def test_columns_are_chosen_by_name_and_by_number_from_1(options, expected):
    assert read(TABLE, **options) == expected


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            {"columns": ["X"]},
            "a.csv has no column 'X'; it has 'id', 'x', 'y, z', 'note', and numbers from 1 to 4 "
            "are taken, too",
        ),
        (
            {"columns": ["0"]},
            "--columns 0 must be from 1 to 4, the columns of a.csv, which are counted from 1; "
            "choose among them",
        ),
        (
            {"drop_columns": ["2-5"]},
            "--drop-columns 2-5 must be from 1 to 4, the columns of a.csv, which are counted from "
            "1; choose among them",
        ),
        ({"columns": ["x,2"]}, "--columns names column 2 twice; name it once"),
        ({"drop_columns": ["1-4"]}, "--drop-columns leaves no column of a.csv; keep one at least"),
        (
            {"columns": ["x"], "drop_columns": ["id"]},
            "--columns and --drop-columns exclude each other; give one of them",
        ),
        (
            {"drop_columns": ["id"]},
            f"a.csv, line 2, column 4 ('note') holds 'a' {RULE}; correct it, {OUT} note",
        ),
    ],
)
def test_columns_that_cannot_be_chosen(options, why):
    assert refusal(TABLE, **options) == why


def test_names_need_a_header_and_be_told_apart():
    assert refusal("1,2\n", columns=["x"]) == (
        "--columns 'x' is a name, and a.csv has no header; give a number from 1 to 2"
    )
    assert refusal("x,x\n1,2\n", columns=["x"]) == (
        "--columns 'x' is the name of columns 1 and 2 of a.csv; give the number instead"
    )
    assert read("# x y\n1 2\n", columns=["y"]) == [[2]]
    assert read(",x\n0,1\n", drop_columns=["1"]) == [[1]]  # pandas's index has no name

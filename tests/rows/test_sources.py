"""Rows that are not an array: what is taken for such rows, and what is refused."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.io.errors import Refused
from kmeans_lab.rows import ArrayRows, CalledRows, JoinedRows, NpyRows, RawRows, RowSource
from kmeans_lab.rows.memory import LEAST, Scratch, budget, free_bytes
from kmeans_lab.rows.opening import as_source, rows_or_source
from kmeans_lab.rows.streamed import StreamedRows

ROWS = np.random.default_rng(0).normal(size=(200_000, 12))
STREAM = {"mode": "stream", "memory": LEAST, "max_iter": 2, "random_state": 0}


def saved(name, rows=ROWS):
    np.save(name, rows)
    return Path(name)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def sources():
    ROWS.tofile("rows.raw")
    joined = [saved("a.npy", ROWS[:70_001]), str(saved("b.npy", ROWS[70_001:]))]
    plain = np.load(saved("c.npy"), mmap_mode="r")
    return {
        "path": saved("rows.npy"),
        "string": str(saved("rows.npy")),
        "paths": joined,
        "mapped": plain,
        "part of a mapped file": np.load(saved("d.npy", np.vstack([ROWS[:9], ROWS])), "r")[9:],
        "raw": RawRows("rows.raw", ROWS.shape, "f8"),
        "a function": CalledRows(lambda start, stop: ROWS[start:stop], ROWS.shape),
        "sliced": ArrayRows(ROWS),
        "an array": ROWS,
        "a list": ROWS.tolist(),
    }


def test_all_sources_give_the_same_bits():
    expected = kmeans(ROWS, 4, max_iter=2, random_state=0)
    for name, source in sources().items():
        found = kmeans(source, 4, **STREAM)
        assert found.centers.tobytes() == expected.centers.tobytes(), name
        assert found.labels.tobytes() == expected.labels.tobytes(), name


def test_what_fits_is_read_at_once():
    found = kmeans(saved("rows.npy"), 4, max_iter=2, random_state=0, memory="1GB")
    assert found.mode == "serial"
    threads = kmeans("rows.npy", 4, max_iter=2, random_state=0, mode="threads", kernel="cpp")
    assert threads.mode == "threads"


def test_a_mapped_file_is_used_as_it_is_unless_a_stream_is_asked_for():
    mapped = np.load(saved("rows.npy"), mmap_mode="r")
    assert rows_or_source(mapped, None, None)[0] is mapped
    assert rows_or_source(mapped, "threads", None)[0] is mapped
    assert isinstance(rows_or_source(mapped, "stream", LEAST)[1], RawRows)


def test_what_does_not_fit_is_streamed_and_says_so():
    with pytest.warns(UserWarning, match=r"^the 200,000 rows of rows\.npy do not fit into 17 MB"):
        found = kmeans(saved("rows.npy"), 4, max_iter=2, random_state=0, memory="17MB")
    assert found.mode == "stream"


@pytest.mark.parametrize("kind", ["float16", "int8", "uint16", "bool", ">f4"])
def test_other_dtypes_become_floats(kind):
    rows = (ROWS * 10).astype(kind)
    found = kmeans(saved("rows.npy", rows), 4, **STREAM)
    expected = kmeans(rows, 4, max_iter=2, random_state=0)
    assert found.centers.dtype == expected.centers.dtype
    assert found.centers.tobytes() == expected.centers.tobytes()


def test_sources_satisfy_the_protocol():
    for source in (NpyRows(saved("rows.npy")), ArrayRows(ROWS), CalledRows(min, (1, 1))):
        assert isinstance(source, RowSource)
    assert as_source(ROWS) is None
    assert as_source([[1.0, 2.0]]) is None
    assert as_source([]) is None


def truncated():
    path = saved("short.npy")
    os.truncate(path, path.stat().st_size - 8)
    return path


def text():
    Path("text.npy").write_text("no array")
    return "text.npy"


REFUSED = {
    "absent": (lambda: "absent.npy", r"there is no file absent\.npy; check the path"),
    "a folder": (lambda: Path.cwd(), r"is a folder without \.parquet files"),
    "another suffix": (lambda: text() and Path(text()).rename("x.dat"), r"has the suffix '\.dat'"),
    "no array": (text, r"text\.npy is not an \.npy file; write it with numpy\.save"),
    "truncated": (
        truncated,
        r"^short\.npy is truncated: it has \d+ bytes and its 200000",
    ),
    "one dimension": (
        lambda: saved("v.npy", ROWS[0]),
        r"array of shape \(12,\) and must",
    ),
    "no rows": (lambda: saved("v.npy", ROWS[:0]), r"array of shape \(0, 12\) and must hold rows"),
    "columns": (lambda: saved("f.npy", np.asfortranarray(ROWS)), r"lies column by column and must"),
    "widths": (
        lambda: [saved("a.npy"), saved("b.npy", ROWS[:, :5])],
        r"b\.npy has 5 features and a\.npy has 12, and joined rows must have as many",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_source_is_refused(case):
    make, sentence = REFUSED[case]
    with pytest.raises(ValueError, match=sentence):
        kmeans(make(), 2, **STREAM)


def test_objects_and_words_are_refused():
    with pytest.raises(ValueError, match="holds Python objects and must hold numbers"):
        NpyRows(saved("o.npy", np.array([[1, "a"]], dtype=object)))
    with pytest.raises(TypeError, match=r"w\.npy holds <U1 and must hold real numbers"):
        kmeans(saved("w.npy", np.full((10**6, 12), "a")), 1, **STREAM)
    with pytest.raises(ValueError, match="sources is empty"):
        JoinedRows([])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_named_by_its_row(bad):
    rows = ROWS.copy()
    rows[150_000, 7] = bad
    with pytest.raises(
        ValueError, match=rf"^X\[150000, 7\] is {bad} and every value must be finite"
    ):
        kmeans(saved("rows.npy", rows), 2, **STREAM)


def test_a_row_of_zeros_is_named_where_angles_are_asked_for():
    rows = ROWS.copy()
    rows[150_000] = 0
    with pytest.raises(ValueError, match=r"^X\[150000\] holds only zeros"):
        kmeans(saved("rows.npy", rows), 2, metric="cosine", **STREAM)


def test_a_file_that_changes_meanwhile_is_an_error():
    path = saved("rows.npy")

    def touch(iteration):
        os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))

    with pytest.raises(Refused, match=r"^rows\.npy has changed since the fit began"):
        kmeans(path, 3, callback=touch, **STREAM)


def test_a_file_that_is_cut_short_meanwhile_is_an_error_and_no_signal():
    path = saved("rows.npy")
    with pytest.raises(Refused, match=r"^rows\.npy was cut short while it was read: rows \d+ to"):
        kmeans(path, 3, callback=lambda it: os.truncate(path, 10_000), **STREAM)


def test_a_file_that_vanishes_is_an_error():
    path = saved("rows.npy")
    with pytest.raises(Refused, match=r"rows\.npy cannot be read any more \(No such file"):
        kmeans(path, 3, callback=lambda it: path.unlink(), **STREAM)


def test_a_source_that_returns_something_else_is_refused():
    wrong = CalledRows(lambda start, stop: ROWS[start : stop - 1], ROWS.shape)
    with pytest.raises(ValueError, match=r"read\(0, \d+\) returned shape \(\d+, 12\) and must"):
        kmeans(wrong, 2, **STREAM)


def test_an_error_of_a_source_comes_through():
    def read(start, stop):
        if start > 0:
            raise OSError("the tape is torn")
        return ROWS[start:stop]

    with pytest.raises(OSError, match="the tape is torn"):
        kmeans(CalledRows(read, ROWS.shape), 2, **STREAM)


@pytest.mark.parametrize(
    ("memory", "error", "sentence"),
    [
        ("512 parsecs", ValueError, "must be a number and a unit"),
        ("MB", ValueError, "must be a number and a unit"),
        (1000, ValueError, "is too little to read blocks of rows; give at least '16MiB'"),
        (1.5, TypeError, "must be a number of bytes or a string"),
        (True, TypeError, "must be a number of bytes or a string"),
    ],
)
def test_a_budget_that_is_none_is_refused(memory, error, sentence):
    with pytest.raises(error, match=sentence):
        kmeans(saved("rows.npy"), 2, mode="stream", memory=memory)


def test_budgets():
    assert budget("512MB") == 512_000_000
    assert budget("0.5 GiB") == 1 << 29
    assert budget("20000kb") == 20_000_000
    assert budget(None) > LEAST


def test_what_a_container_grants_counts(tmp_path):
    for name, text in {
        "proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    2000000 kB\n",
        "sys/fs/cgroup/memory.max": "1000000000\n",
        "sys/fs/cgroup/memory.current": "400000000\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert free_bytes(str(tmp_path)) == 600_000_000
    stat = tmp_path / "sys/fs/cgroup/memory.stat"
    stat.write_text("anon 1\ninactive_file 50000000\nactive_file 7\n")
    assert free_bytes(str(tmp_path)) == 650_000_000
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert free_bytes(str(tmp_path)) == 2_000_000 * 1024


def test_budgets_of_other_rows_are_refused():
    with pytest.raises(ValueError, match="memory='1GB' is for rows that are not an array"):
        kmeans(ROWS[:100], 2, memory="1GB")


def test_kernels_and_threads_that_streams_have_not():
    with pytest.raises(ValueError, match=r"'numpy-broadcast' takes all rows at once"):
        kmeans(ROWS, 2, kernel="numpy-broadcast", **STREAM)
    with pytest.raises(ValueError, match=r"n_threads=2 has no effect in mode='stream'"):
        kmeans(ROWS, 2, kernel="cpp", n_threads=2, **STREAM)


def test_scratch_beyond_the_budget_lies_in_a_file(monkeypatch, tmp_path):
    scratch = Scratch(1000)
    inside, outside = scratch.array(100, "f8", "these"), scratch.array(100, "f8", "those")
    assert (scratch.left, scratch.in_files) == (200, 800)
    outside[:] = inside[:] = np.arange(100)
    scratch.let_go()
    np.testing.assert_array_equal(outside, np.arange(100))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(MemoryError, match=r"^those take .* bytes, which neither .* has room for"):
        scratch.array(1 << 50, "f8", "those")
    assert list(tmp_path.iterdir()) == []


def test_rows_are_sliced_like_an_array():
    rows = StreamedRows(ArrayRows(ROWS), np.dtype("f8")).relative_to(ROWS[0])
    expected = ROWS - ROWS[0]
    for which in (
        slice(5, 90_000),
        slice(3, 50, 7),
        slice(None, -199_000),
        7,
        -1,
        [5, 3, 3, 100_000],
        np.array([9, 8, 199_999]),
        np.arange(len(ROWS)) % 50_000 == 3,
        (slice(0, 40), [1, 5]),
        slice(9, 9),
    ):
        np.testing.assert_array_equal(rows[which], expected[which])


def test_a_private_or_replaced_map_is_used_as_it_is():
    private = np.load(saved("rows.npy"), mmap_mode="c")
    private[:] = ROWS[::-1]
    replaced = np.load(saved("other.npy"), mmap_mode="r")
    os.replace(saved("new.npy", ROWS + 1), "other.npy")
    unlinked = np.load(saved("gone.npy"), mmap_mode="r")
    os.unlink("gone.npy")
    for given, rows in ((private, ROWS[::-1]), (replaced, ROWS), (unlinked, ROWS)):
        expected = kmeans(np.array(rows), 3, max_iter=2, random_state=0)
        assert kmeans(given, 3, **STREAM).centers.tobytes() == expected.centers.tobytes()


def test_masked_rows_are_refused_in_a_stream():
    masked = np.ma.masked_array(ROWS, ROWS > 3)
    with pytest.raises(ValueError, match=r"^X\[\d+, \d+\] is masked"):
        kmeans(masked, 2, **STREAM)
    source = CalledRows(lambda start, stop: masked[start:stop], ROWS.shape)
    with pytest.raises(ValueError, match=r"read\(\d+, \d+\)\[\d+, \d+\] is masked"):
        kmeans(source, 2, **STREAM)


def test_paths_in_a_list_are_checked_like_one():
    saved("c.npy", ROWS[:50] + 1j)
    with pytest.raises(TypeError, match=r"c\.npy holds complex128 and must hold real numbers"):
        kmeans(["c.npy"], 1, memory="1GB")


@pytest.mark.parametrize("memory", ["1GB", LEAST])
def test_a_source_is_checked_whether_it_fits_or_not(memory):
    few = CalledRows(lambda start, stop: ROWS[start : stop - 1], ROWS.shape)
    with pytest.raises(ValueError, match=r"returned shape \(\d+, 12\) and must return"):
        kmeans(few, 2, mode="stream", memory=memory)
    wide = CalledRows(lambda start, stop: ROWS[start:stop], ROWS.shape, "f4")
    assert kmeans(wide, 2, mode="stream", memory=memory, max_iter=1).centers.dtype == np.float32
    for shape in ((-1, 3), (5,), (5.0, 2), None):
        with pytest.raises(ValueError, match=r"shape is .* and must be \(n_samples, n_features\)"):
            kmeans(CalledRows(min, shape), 2, mode="stream", memory=memory)
    odd = CalledRows(min, (5, 2))
    odd.dtype = "float64"
    with pytest.raises(TypeError, match=r"dtype is 'float64' and must be a dtype of NumPy"):
        kmeans(odd, 2, mode="stream", memory=memory)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_values_that_come_later_are_an_error(value):
    rows, passes = ROWS.copy(), []

    def read(start, stop):
        passes.append(start)
        if passes.count(0) > 2:
            rows[5, 5] = value
        return rows[start:stop]

    with pytest.raises(ValueError, match="has returned values that are not finite, or too large"):
        kmeans(CalledRows(read, ROWS.shape), 2, init="first", **STREAM)


def test_raw_rows_that_cannot_be():
    ROWS.tofile("rows.raw")
    wrong = [((5,), "f8", 0), ((5, -1), "f8", 0), ((5, 2), "f8", -8), ((5, 2), "O", 0)]
    for shape, kind, offset in wrong:
        with pytest.raises(ValueError, match=r"rows\.raw cannot have shape=.*; correct them"):
            RawRows("rows.raw", shape, kind, offset)


def test_a_budget_beside_a_mode_that_reads_all():
    with pytest.raises(ValueError, match="memory='20MB' has no meaning beside mode='serial'"):
        kmeans(saved("rows.npy"), 2, mode="serial", memory="20MB")


def test_more_rows_than_any_disk_has_room_for_are_refused_at_once():
    source = CalledRows(lambda first, last: pytest.fail("it has been read"), (10**15, 3))
    with pytest.raises(MemoryError, match=r"labels of 1,000,000,000,000,000 rows take 4,000,000,"):
        kmeans(source, 3, mode="stream", memory="64MB")

"""Everything that reads a file from the command line, fed with anything at all.

A reader returns what it read, or refuses with one sentence that names the file: nothing else may
leave it. ``test_readers.py`` feeds a few hundred files in every run of the tests; as a script, with
Atheris, this feeds what its look at the coverage suggests: ``make fuzz``.
"""

import copy
import io
import json
import random
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kmeans_lab import checks
from kmeans_lab.io.datafiles import read_rows
from kmeans_lab.io.errors import Refused
from kmeans_lab.measure import record
from kmeans_lab.pages import bench

RUN = Path(__file__).parents[2] / "docs" / "runs" / "standard.json"
SUFFIXES = (
    *(".csv", ".npy", ".png", ".bmp", ".json"),
    *(".npz", ".mtx", ".parquet", ".arrow", ".safetensors"),
)

_POINT = {"middle": 1.5, "low": 1.2, "high": 1.9, "confidence": 0.95, "n": 9}
_SCALING: Any = {
    "format": record.SCALING, "version": record.VERSION, "machine": {},
    "workers": [{
        "kernel": "cpp", "preset": "smoke", "mode": "threads", "serial_share": 0.1,
        "points": [{
            "workers": 2, "seconds": 0.1, "start_up": 0.01, "speedup": _POINT, "work": _POINT,
            "machine": 1.9,
        }],
    }],
    "growth": [{
        "kernel": "cpp", "axis": "n", "others": {"k": 5, "d": 2}, "sizes": [10, 20],
        "seconds": [0.1, 0.2], "exponent": _POINT,
    }],
}  # fmt: skip


def seeds() -> Iterator[tuple[str, bytes]]:
    """Return whole files to begin with: (suffix, content)."""
    from PIL import Image

    yield ".csv", b"x,y\n1.5,2\n-3e5,4\n"
    yield ".csv", b"\xef\xbb\xbf1;2\n3;4\n"
    for encoding in "utf-16", "cp1252":
        yield ".csv", 'größe;"y"\n1 000,5;2\n"3,5";4,\n'.encode(encoding)
    for array in np.arange(6.0).reshape(3, 2), np.ones((2, 2), ">f4"), np.zeros((1, 3), "i8"):
        file = io.BytesIO()
        np.save(file, array)
        yield ".npy", file.getvalue()
    for suffix, mode in ((".png", "RGB"), (".png", "P"), (".bmp", "L")):
        file = io.BytesIO()
        Image.new(mode, (3, 2)).save(file, suffix[1:].upper())
        yield suffix, file.getvalue()
    yield from _seeds_of_libraries()
    run, scaling = runs()
    yield ".json", json.dumps(run).encode()
    yield ".json", json.dumps(scaling).encode()
    yield ".json", json.dumps(scaling).encode("utf-16")


def _seeds_of_libraries() -> Iterator[tuple[str, bytes]]:
    """Return files of SciPy, pyarrow and safetensors, none compressed: damage reaches the parts."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from safetensors.numpy import save
    from scipy.io import mmwrite
    from scipy.sparse import coo_array, save_npz

    X = np.array([[0.0, 1.5, 0], [2, 0, 0], [0, 0, 3]])
    for kind in ("csr", "csc", "coo", "bsr", "dia"):
        save_npz(file := io.BytesIO(), coo_array(X).asformat(kind), compressed=False)
        yield ".npz", file.getvalue()
    np.savez(file := io.BytesIO(), X=X, names=np.array(["a", "b", "c"]))
    yield ".npz", file.getvalue()
    for matrix, symmetry in ((X, "general"), (X + X.T, "symmetric"), (coo_array(X), "general")):
        mmwrite(file := io.BytesIO(), matrix, symmetry=symmetry)
        yield ".mtx", file.getvalue()
    lists = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32()))
    for table in (
        pa.table({"a": [1.5, 2], "b": pa.array([1, None], "i2"), "c": ["x", "y"]}),
        pa.table({"a": [1.5, 2], "b": pa.array([1, 2], "u1")}),
        pa.table({"a": lists}),
        pa.table({"a": lists.cast(pa.list_(pa.float32(), 2))}),
    ):
        pq.write_table(table, sink := pa.BufferOutputStream(), compression="none")
        yield ".parquet", sink.getvalue().to_pybytes()
        for new in (pa.ipc.new_file, pa.ipc.new_stream):
            with new(sink := pa.BufferOutputStream(), table.schema) as writer:
                writer.write_table(table)
            yield ".arrow", sink.getvalue().to_pybytes()
    yield ".safetensors", save({"X": X, "y": X[0].astype("f2")})
    bfloat16 = b'{"X":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}'
    values = np.array([0x3F80, 0x4000, 0, 0x4040], "<u2").tobytes()
    yield ".safetensors", len(bfloat16).to_bytes(8, "little") + bfloat16 + values


def runs() -> tuple[Any, Any]:
    """Return a run of two contestants and a scaling, small enough to change at random."""
    run = json.loads(RUN.read_text(encoding="utf-8"))
    (first,) = run["runs"]
    first["contestants"] = [
        it for it in first["contestants"] if it["name"] in (first["baseline"], "cpp-simd")
    ]
    return run, _SCALING | {"machine": run["machine"]}


def feed(path: Path, content: bytes) -> None:
    """Write a file and read it as the command line would; AssertionError for a bad refusal."""
    path.write_bytes(content)
    try:
        if path.suffix == ".json":
            read_run(path)
            return
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*float64 rounds")
            rows = read_rows(path)
    except Refused as error:
        sentence = str(error)
        assert path.name in sentence, sentence
        assert "\n" not in sentence, sentence
        assert len(sentence) < 1000 + 2 * len(str(path)), sentence
        return
    if not isinstance(rows, np.ndarray):
        rows.check_format(full_check=True)  # kernels follow the indices
        assert (rows.indptr[1:] >= rows.indptr[:-1]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*float64 rounds")
        try:
            checks.samples(rows, ("float32", "float64"))
        except (TypeError, ValueError) as error:
            assert "\n" not in str(error)  # noqa: PT017 (it may be taken, too)


def read_run(path: Path) -> None:
    """Read a run, or a scaling beside a run, and draw the page."""
    run, _ = runs()
    content = path.read_bytes().replace(b"\0", b"")
    scaling = b'"kmeans-lab scaling"' in content
    page = (
        bench.page(run, [record.read_scaling(path)]) if scaling else bench.page(record.read(path))
    )
    assert page.endswith("</html>\n")
    assert "<script" not in page


VALUES: list[object] = [
    None,
    True,
    -1,
    0,
    10**30,
    1.5,
    -1e308,
    5e-324,
    "",
    "x",
    "<script>",
    [],
    [1],
    {},
    {"a": 1},
]


#: Places in a matrix, most of them outside of it.
PLACES = [-1, 0, 1, 2, 3, 4, 10**6, 2**31 - 1, -(2**31)]


def spoil(data: Any, chance: random.Random) -> Any:
    """Change one part of nested lists and objects, anywhere."""
    data = copy.deepcopy(data)
    places = list(_places(data))
    where, key = places[chance.randrange(len(places))]
    what = chance.randrange(4)
    if what == 0:
        del where[key]
    elif what == 1 and isinstance(where, list):
        where.append(where[key])
    else:
        where[key] = VALUES[chance.randrange(len(VALUES))]
    return data


def spoil_archive(content: bytes, chance: random.Random) -> bytes:
    """Change arrays of an .npz file, whose checksums let no change of its bytes through."""
    with np.load(io.BytesIO(content)) as archive:
        parts = dict(archive)
    for _ in range(chance.randrange(1, 4)):
        name = chance.choice(list(parts))
        values = parts[name].copy()
        what = chance.randrange(5)
        if what == 0 and values.size and values.dtype.kind in "if":
            values.flat[chance.randrange(values.size)] = chance.choice(PLACES)
        elif what == 1 and values.dtype.kind in "if":
            values = values.astype(chance.choice(["f8", "i1", "u8", "?", "c16", "i8"]))
        elif what == 2:
            values = values.ravel()[: chance.randrange(values.size + 1)]
        elif what == 3:
            values = np.append(values.ravel(), values.ravel()[:1])
        else:
            values = values.reshape(chance.choice([(-1, 1), (1, -1, 1), (-1,)]))
        parts[name] = values
    np.savez(file := io.BytesIO(), **parts)
    return file.getvalue()


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    keys = data if isinstance(data, dict) else range(len(data))
    for key in list(keys):
        yield data, key
        if isinstance(data[key], (dict, list)):
            yield from _places(data[key])


def main() -> None:
    """Fuzz until the options of libFuzzer, which are ours, say that it is enough."""
    import tempfile

    import atheris

    atheris.instrument_all()  # NumPy's and Pillow's Python code, too, decides what is read
    folder = Path(tempfile.mkdtemp())
    corpus = folder / "corpus"
    corpus.mkdir()
    for i, (suffix, content) in enumerate(seeds()):
        kind = SUFFIXES.index(suffix)
        (corpus / str(i)).write_bytes(bytes([kind]) + content)

    def one(data: bytes) -> None:
        if len(data) < 2:
            return
        kind, content = data[0] % (len(SUFFIXES) + 1), data[1:]
        if kind == len(SUFFIXES):  # bytes are choices: which parts of a run are changed, and how
            chance = random.Random(content)
            whole = chance.choice(runs())
            for _ in range(chance.randrange(3)):
                whole = spoil(whole, chance)
            kind, content = SUFFIXES.index(".json"), json.dumps(whole).encode()
        feed(folder / f"file{SUFFIXES[kind]}", content)

    atheris.Setup([*sys.argv, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

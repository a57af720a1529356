"""What is printed where an encoding lacks a character: spelled, not replaced or escaped."""

import ast
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kmeans_lab
from kmeans_lab.cli import main as cli
from kmeans_lab.cli.terminal import emit, show
from kmeans_lab.formatting import make_table
from kmeans_lab.io.streams import PLAIN, spell_out
from tests.support.helpers import cloud

CHECKOUT = Path(kmeans_lab.__file__).parent.parent
CALLS = [
    "kernels",
    "presets",
    "fit X.npy -k 3 --seed 0",
    "compress X.png -k 2 -o Y.png --force",
    "study",
    "bench --preset smoke --kernel numpy --baseline numpy --rounds 1",
    "profile numpy --preset smoke",
    "check numpy",
    "scaling numpy --preset smoke --workers 1 --rounds 1",
]
COMMANDS = ["kernels", "fit", "compress", "presets", "bench", "report", "check", "explain"]
COMMANDS += ["profile", "scaling", "study", "serve"]
REFUSED = [
    "fit X.npy -k 2 --tol -1",
    "fit X.npy -k 2 --seed -1",
    "fit X.npy -k 2 --stop labels --tol 2",
    "fit long.csv -k 2",
    "bench --threads 500",
]


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    np.save("X.npy", cloud(seed=5, n_samples=80, n_features=3))
    Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3)).save("X.png")
    Path("long.csv").write_text("1,2\n3," + 50 * "y")


def printed(monkeypatch, encoding, call):
    """Return what a call writes to stdout and stderr, strict about characters."""
    pages = [io.TextIOWrapper(io.BytesIO(), encoding, errors="strict") for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", pages[0])
        patch.setattr(sys, "stderr", pages[1])
        cli.main(call.split())
        for page in pages:
            page.flush()
    return "".join(page.buffer.getvalue().decode(encoding) for page in pages)


@pytest.mark.parametrize("call", CALLS + REFUSED + [f"{name} --help" for name in COMMANDS])
def test_every_command_is_readable_in_every_encoding(monkeypatch, call):
    whole = printed(monkeypatch, "utf-8", call)
    assert whole
    for encoding in ("ascii", "cp1252"):
        text = printed(monkeypatch, encoding, call)
        assert "\\x" not in text
        assert "\\u" not in text
        assert text.count("?") == whole.count("?")


def test_what_is_spelled_is_what_is_meant(monkeypatch):
    text = printed(monkeypatch, "ascii", "fit X.npy -k 3 --seed 0")
    assert text.startswith("rows x features  80 x 3 ")
    assert "a number >= 0; use tol=0" in printed(monkeypatch, "ascii", REFUSED[0])
    assert "holds 'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy...'" in printed(monkeypatch, "ascii", REFUSED[3])
    page = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", page)
    spell_out()
    emit("10⁻¹²: ‖x₁₀‖² ≤ 5 µs, n·k⌊√d⌋ ± ½ … größe\udcff 猫")
    assert page.buffer.getvalue().decode() == (
        "10^-12: ||x_10||^2 <= 5 us, n*kfloor(sqrtd) +- 1/2 ... gr\\xf6\\xdfe\\udcff \\u732b"
    )


def test_columns_stay_aligned(monkeypatch):
    page = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", page)
    table = make_table("≥ what", "then")
    table.add_row("≥ 1 …", "a")
    table.add_row("plain", "b")
    show(table)
    lines = page.buffer.getvalue().decode().splitlines()
    assert lines[0].split() == [">=", "what", "then"]
    assert (
        len({line.rstrip().rindex(sign) for line, sign in zip(lines[2:], "ab", strict=True)}) == 1
    )


def strings():
    """Yield every string of the sources, docstrings included: some are printed as help."""
    for folder in ("kmeans_lab", "bench"):
        for path in sorted((CHECKOUT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield path, node.value


def test_every_character_of_the_sources_has_a_spelling():
    names = set("ä")  # of people, in references
    unknown = {
        (path.name, it)
        for path, text in strings()
        for it in text
        if ord(it) > 127 and it not in PLAIN and it not in names | set("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺₀₁₂₃₄₅₆₇₈₉₋₊")
    }
    assert unknown == set()
    assert all(spelling.isascii() for spelling in PLAIN.values())

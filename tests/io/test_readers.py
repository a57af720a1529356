"""Damaged files are refused with a sentence, whatever is wrong with them: see ``readers.py``."""

import json
import random

import pytest

from tests.support import readers


@pytest.mark.parametrize("n", range(40))
def test_a_damaged_file_is_read_or_refused(tmp_path, n):
    chance = random.Random(n)
    for suffix, content in readers.seeds():
        path = tmp_path / f"file{suffix}"
        readers.feed(path, content)
        damaged = bytearray(content)
        for _ in range(chance.randrange(1, 5)):
            where = chance.randrange(len(damaged))
            damaged[where : where + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        readers.feed(path, bytes(damaged))
        readers.feed(path, content[: chance.randrange(len(content))])


@pytest.mark.parametrize("n", range(300))
def test_a_run_with_a_wrong_part_is_drawn_or_refused(tmp_path, n):
    for data in readers.runs():
        wrong = readers.spoil(data, random.Random(n))
        readers.feed(tmp_path / "run.json", json.dumps(wrong).encode())


@pytest.mark.parametrize("n", range(100))
def test_an_archive_with_wrong_parts_is_read_or_refused(tmp_path, n):
    for suffix, content in readers.seeds():
        if suffix == ".npz":
            readers.feed(tmp_path / "a.npz", readers.spoil_archive(content, random.Random(n)))


@pytest.mark.parametrize("content", [b"[" * 200_000, b"9" * 5000, b'{"format": NaN}', b"\xff{}"])
def test_json_that_python_does_not_read(tmp_path, content):
    readers.feed(tmp_path / "run.json", content)

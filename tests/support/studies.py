"""The numbers that the studies of the docs hold, and how they are compared."""

import csv
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def numbers(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def same(value: str, other: str) -> bool:
    try:
        return bool(float(value) == pytest.approx(float(other), rel=1e-9, abs=1e-9))
    except ValueError:
        return value == other

"""Text files of numbers, written here and read or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmeans_lab.io.datafiles import read_rows
from kmeans_lab.io.errors import Refused

#: What sentences about a value have in common.
RULE = "and every value must be a number"
FINITE = "and every value must be a finite number"
OUT = "drop the line, or leave the column out with --drop-columns"
POINTS = "is not a row of numbers with decimal points"


def write(content: str | bytes, name: str = "a.csv") -> Path:
    """Write a file in the working folder; return its path."""
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return Path(name)


def read(content: str | bytes, **options: Any) -> Any:
    """Return the rows of such a file, as lists."""
    rows: Any = read_rows(write(content), **options)
    assert rows.dtype == np.float64
    assert rows.ndim == 2
    return rows.tolist()


def refusal(content: str | bytes, **options: Any) -> str:
    """Return the sentence that refuses such a file."""
    with pytest.raises(Refused) as caught:
        read_rows(write(content), **options)
    why = str(caught.value)
    assert "\n" not in why
    return why

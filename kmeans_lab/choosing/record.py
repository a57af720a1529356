"""What ``kmeans-lab overhead`` found, as JSON with a versioned schema: ``overhead.json``."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict, cast

from kmeans_lab.choosing.costs import Costs
from kmeans_lab.measure.record import VERSION, read_as
from kmeans_lab.measure.schema import Card, IntervalRecord

FORMAT = "kmeans-lab overhead"


class CostsRecord(TypedDict):
    """The fields of ``Costs``."""

    kernel: str
    state: str
    why: str
    threading: str
    debugging: str
    wheels: str
    call: IntervalRecord | None
    times_empty: IntervalRecord | None
    imports: float | None
    compiles: float | None
    builds: float | None
    lines: int | None
    binary: int | None
    packages: int | None


class OverheadRecord(TypedDict):
    """What ``kmeans-lab overhead --output`` writes."""

    format: str
    version: int
    machine: Card
    kernels: list[CostsRecord]


def to_dict(found: Sequence[Costs], card: Card) -> OverheadRecord:
    """Return everything that was found, as plain JSON types."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "machine": card,
        "kernels": [cast(CostsRecord, asdict(it)) for it in found],
    }


def read(path: Path) -> OverheadRecord:
    """Return what was written before; ``Refused`` says what is wrong with the file."""
    schema = Path(__file__).with_name("overhead.json").read_text(encoding="utf-8")
    found: OverheadRecord = read_as(
        path, json.loads(schema), FORMAT, "a record", "overhead --output"
    )
    return found

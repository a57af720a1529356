"""A run and scalings as the pages show them."""

from pathlib import Path

import pytest

from kmeans_lab.measure import record
from kmeans_lab.measure.scaling import Growth, Point, Scaling
from kmeans_lab.measure.statistics import Interval
from kmeans_lab.pages.bench import digest_here

RUN = Path(__file__).parents[2] / "docs" / "runs" / "standard.json"


@pytest.fixture
def data():
    """Return the run that is kept, as if it were of the sources that are here."""
    data = record.read(RUN)
    for it in data["runs"][0]["contestants"]:
        it["source"] = digest_here(it["kernel"])
    return data


def interval(middle):
    return Interval(middle, middle * 0.9, middle * 1.1, 0.95, 9)


@pytest.fixture
def scalings(data):
    """Two kernels on one preset, and how one grows."""
    points = [
        Point(p, 0.1, 0.01, interval(s), interval(s), float(min(p, 2)))
        for p, s in ((1, 1.0), (2, 1.8), (4, 1.7))
    ]
    found = [
        Scaling("cpp", "standard", "threads", points, 0.1),
        Scaling("cpp-simd", "standard", "processes", points[:2], None),
        Growth("cpp", "n", {"d": 8, "k": 16}, [1000, 2000], [0.1, 0.2], interval(1.0)),
    ]
    return [record.scaling_dict(found, data["machine"])]

"""The public names: each one has a section of docs/api.md, a docstring, and examples that run."""

import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kmeans_lab
from kmeans_lab import dbscan, driver, registry, silhouette, soft
from kmeans_lab.estimators import kmeans, minibatch

API = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
NAMES = {*kmeans_lab.__all__, "KMeans", "MiniBatchKMeans"}  # a star import leaves these two out


def test_the_page_names_what_the_package_exports():
    assert set(re.findall(r"^## `(\w+)`$", API, re.MULTILINE)) == NAMES


def test_an_import_brings_numpy_and_nothing_heavier():
    code = "import sys, kmeans_lab; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numba", "sklearn", "rich", "multiprocessing", "concurrent.futures", "fractions"}
    assert not heavy & {*run.stdout.split()}


@pytest.mark.parametrize("name", sorted(NAMES - {"KERNELS"}))
def test_a_public_name_has_a_docstring(name):
    assert len(inspect.getdoc(getattr(kmeans_lab, name)) or "") > 60


def test_the_page_names_every_parameter_of_kmeans():
    section = API.partition("## `kmeans`")[2].partition("## `")[0]
    for name in inspect.signature(kmeans_lab.kmeans).parameters:
        assert name in section, name


@pytest.mark.parametrize(
    "module",
    [dbscan, driver, kmeans, minibatch, registry, silhouette, soft],
    ids=lambda it: it.__name__,
)
def test_examples_run(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0

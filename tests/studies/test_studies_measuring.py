"""The studies that mostly measure: what they count is right, and they run on small sets."""

import re
from dataclasses import replace

import numpy as np
import pytest

from kmeans_lab import KERNELS, kmeans
from kmeans_lab.numerics.blobs import grid_blobs
from kmeans_lab.presets import PRESETS
from kmeans_lab.seeding import d2
from kmeans_lab.studies import hybrid, ladder, pools, regimes, run_study, speedup
from kmeans_lab.studies.notebook import Notebook
from kmeans_lab.tuned import simd
from tests.support.helpers import ready_kernels
from tests.support.studies import DOCS, numbers, same


@pytest.fixture
def book(tmp_path):
    return Notebook("trial", "What?", tmp_path)


@pytest.fixture
def small(monkeypatch):
    """Put tiny sets in the place of the real ones."""
    monkeypatch.setitem(PRESETS, "standard", PRESETS["smoke"])
    cells = [(k, n) for n in (400, 800) for k in (4, 5, 6)]
    for k, n in cells:
        X = grid_blobs(n, k)
        start = d2(X, k, np.random.default_rng(1))
        tiny = replace(PRESETS["smoke-grid"], n_clusters=k, make=lambda X=X: X)
        tiny = replace(tiny, start=lambda X, start=start: start)
        monkeypatch.setitem(PRESETS, f"grid-{n}-{k}", tiny)
    values = {"SIZES": (400, 800), "CLUSTERS": (4, 5, 6), "WORKERS": (1, 2)}
    values |= {"SMALL": 400, "LARGE": 800, "MANY": 2}
    values |= {"PUBLISHED": dict.fromkeys(cells, (1.0, 1.0))}
    values |= {"PUBLISHED_SERIAL": dict.fromkeys(cells, 1.0)}
    for name, value in values.items():
        monkeypatch.setattr(speedup, name, value)
    for name, value in {"ROWS": (60, 300), "FEATURES": (2, 6), "CLUSTERS": (2, 5)}.items():
        monkeypatch.setattr(regimes, name, value)


def kept(name, found):
    rows = numbers(DOCS / "studies" / name)
    assert len(rows) == len(found)
    for row, other in zip(rows, found, strict=True):
        assert row.keys() == other.keys()
        assert all(same(value, other[name]) for name, value in row.items()), (row, other)


def test_the_pools_program_gives_the_labels_of_ours_with_and_without_processes():
    it = PRESETS["smoke-grid"].load()
    ours = kmeans(it.X, len(it.centers), **it.settings())
    labels, spent = pools.fit(it.X, it.centers)
    assert spent.n_iter == ours.n_iter
    # Theirs are those before the last update.
    seen = []
    kmeans(it.X, len(it.centers), callback=seen.append, **it.settings())
    np.testing.assert_array_equal(labels, seen[-1].labels)
    with pools.start_pool(2) as (pool, seconds):
        assert seconds > 0
        others, spent = pools.fit(it.X, it.centers, pool)
    np.testing.assert_array_equal(labels, others)
    assert spent.whole == pytest.approx(spent.assign + spent.update + spent.centers)
    assert pools.fit(it.X, it.centers, max_iter=2)[1].n_iter == 2


def test_the_iterations_of_the_nine_sets_are_those_of_the_docs(book):
    sets = {
        (k, n): PRESETS[f"grid-{n}-{k}"].load() for n in speedup.SIZES for k in speedup.CLUSTERS
    }
    n_iter = speedup.count_iterations(book, sets)
    kept("speedup-iterations.csv", numbers(book.folder / "trial-iterations.csv"))
    assert list(n_iter.values()) == [8, 5, 8, 5, 10, 8, 3, 12, 8]  # inferred from its seconds


def test_the_two_generators_end_where_the_docs_say(book):
    hybrid.from_their_own(book, PRESETS["standard"].load(), alike=True)
    kept("hybrid-generators.csv", numbers(book.folder / "trial-generators.csv"))


def test_all_ways_have_the_same_labels_at_every_iteration(book):
    ways = hybrid.ways(PRESETS["standard"].load())
    assert list(ways) == [hybrid.NAIVE, hybrid.NUMPY, *ready_kernels()]
    fast = {name: fit for name, fit in ways.items() if name not in hybrid.SLOW}
    labels, _ = hybrid.watched(book, fast)
    assert {len(seen) for seen in labels.values()} == {35}
    assert len({tuple(seen) for seen in labels.values()}) == 1
    assert len(set(labels["cpp"])) == 35


@pytest.mark.parametrize(("n_features", "engines"), [(5, 4), (6, 3)])
def test_every_engine_that_can_run_is_on_the_map_and_all_find_the_same(n_features, engines):
    place = regimes.Place(500, n_features, 8)
    regimes.measure(place)
    names = [name for name in regimes.ENGINES if name in place.seconds]
    assert (len(names), len(place.labels)) == (engines, 1)
    assert place.chosen in names
    X, start = regimes.blobs(500, n_features, 8)
    for name in names:
        ran, labels = regimes.passes(X, start, name)
        assert ran == name
    seen = []
    options = {"init": start, "max_iter": regimes.ITERATIONS, "tol": 0.0}
    kmeans(X, 8, kernel="cpp", callback=seen.append, **options)
    np.testing.assert_array_equal(labels, seen[-1].labels)


def test_the_map_judges_the_rule_by_its_losses(book):
    shapes = [regimes.Place(n, 2, 5, "cells", {"a"}) for n in (10, 20, 30)]
    for place, seconds in zip(shapes, (1.0, 1.1, 3.0), strict=True):
        place.seconds = {"cells": [seconds] * 3, "all pairs": [1.0, 1.0, 9.0]}
        place.seconds |= {"cpp-simd": [2.0, 1.0, 4.0], "scikit-learn": [8.0, 4.0, 4.0]}
    regimes.tell(book, shapes)
    same, fastest, promise = book.claims
    assert (same.holds, fastest.holds, promise.holds) == (True, False, True)
    assert "for 2 of 3 shapes" in fastest.found
    assert "a factor of 3.00 (30 × 2, k = 5)" in fastest.found
    assert promise.found.startswith(
        "4.00 times as fast at the median of 3 shapes, 4.00 times at least"
    )


def test_an_engine_that_is_not_known_or_cannot_run_is_one_sentence():
    X = np.zeros((9, 6))
    for name in ("balls", "cells"):
        with pytest.raises(ValueError, match=f"^engine='{name}' must be 'all pairs', .* 'cells'$"):
            simd.prepare(X, 2, 1, engine=name)


def test_the_ladder_has_every_kernel():
    assert {name for name, _ in ladder.RUNGS.values() if name} == set(KERNELS)


@pytest.mark.parametrize(
    "study", ["hybrid", "ladder", "regimes", pytest.param("speedup", marks=pytest.mark.slow)]
)
@pytest.mark.usefixtures("small")
def test_it_runs_on_small_sets_and_its_page_is_whole(study, tmp_path):
    written = run_study(study, tmp_path)
    page = (tmp_path / f"{study}.md").read_text(encoding="utf-8")
    links = set(re.findall(r"\]\(([^)]+)\)", page))
    assert {it.name for it in written.files if it.suffix != ".svg"} == links
    assert not re.search(r"\b(nan|inf)\b", page)

"""Certificates of sparse fits: right ones pass, and each kind of wrong one is caught."""

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.measure import sparse_judging
from kmeans_lab.measure.certify import certify_assign, certify_fit, certify_update
from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.registry import SPARSE, load_sparse
from kmeans_lab.sparse.reading import read_sparse
from tests.support.helpers import require_ready
from tests.support.sparse_cases import START, K, texts

ROWS = read_sparse("X", texts(), ("float64",))
FITTED = kmeans(ROWS, K, init=START, kernel="cpp")


@pytest.fixture(params=SPARSE)
def name(request):
    require_ready(request.param, request.config.getoption("--require-kernels"))
    return request.param


@pytest.mark.parametrize(
    "settings",
    [
        {"init": START, "tol": 0},
        {"init": "k-means++", "random_state": 0, "n_init": 2},
        {"init": START, "sample_weight": np.random.default_rng(0).random(300)},
        {"init": np.concatenate([START, 9 + START[:2]])},  # two clusters stay empty
    ],
)
def test_every_kernel_is_certified(name, settings, dtype):
    rows = read_sparse("X", texts(dtype=dtype), ("float32", "float64"))
    n_clusters = K if isinstance(settings["init"], str) else len(settings["init"])
    certificate = certify_fit(rows, n_clusters, settings, name)
    certificate.recheck(kmeans(rows, n_clusters, kernel=name, **settings), rows)


def test_ties_are_counted():
    rows = read_sparse("X", texts(n_samples=40), ("float64",))
    start = rows[np.array([0, 0, 7])]
    labels = np.empty(40, np.int32)
    inertia = load_sparse("cpp").assign(rows, start, labels)
    few = certify_assign(rows, start, labels, inertia)  # rows without a word of either text
    assert few < 3
    other = np.where(labels == 0, 1, labels).astype(np.int32)
    twins = np.count_nonzero(labels == 0)
    assert twins <= certify_assign(rows, start, other, inertia) <= twins + few


def test_a_wrong_label_is_caught():
    labels = FITTED.labels.copy()
    labels[17] = (labels[17] + 1) % K
    with pytest.raises(CertificateError, match="row 17 is not given its nearest center"):
        sparse_judging.check_labels(ROWS, START[0], FITTED.centers, labels)
    labels[17] = K
    with pytest.raises(CertificateError, match=r"outside 0 … 5, the first in row 17"):
        sparse_judging.check_labels(ROWS, START[0], FITTED.centers, labels)


@pytest.mark.parametrize("share", [1e-11, -1e-11, np.nan])
def test_a_wrong_inertia_is_caught(share):
    given = ROWS, START[0], FITTED.centers, FITTED.labels
    sparse_judging.check_inertia(*given, FITTED.inertia, "it")
    with pytest.raises(CertificateError, match="returned the inertia"):
        sparse_judging.check_inertia(*given, FITTED.inertia * (1 + share), "it")


def test_wrong_sums_are_caught(name):
    sums, counts = np.zeros((K, ROWS.n_features)), np.zeros(K, np.int64)
    load_sparse(name).update(ROWS, FITTED.labels, sums, counts)
    certify_update(ROWS, FITTED.labels, sums, counts)
    wrong = sums.copy()
    wrong[2, ROWS.indices[0]] += 1e-9
    with pytest.raises(CertificateError, match="the sums are not those of the clusters"):
        certify_update(ROWS, FITTED.labels, wrong, counts)
    with pytest.raises(CertificateError, match="the counts are not the sizes"):
        certify_update(ROWS, FITTED.labels, sums, counts + 1)


@pytest.mark.parametrize("fault", ["centers", "labels", "rows"])
def test_a_fit_that_goes_wrong_is_caught(fault, monkeypatch):
    real = load_sparse("cpp")

    class Faulty:
        @staticmethod
        def assign(rows, centers, labels):
            found = real.assign(rows, centers, labels)
            if fault == "labels":
                labels[3] = (labels[3] + 1) % K
            return found

        @staticmethod
        def update(rows, labels, sums, counts):
            real.update(rows, labels, sums, counts)
            if fault == "centers":
                sums[0, 0] += 1e-6
            if fault == "rows":
                rows.data.base[5] += 1.0

    copy = read_sparse("X", texts(), ("float64",))
    monkeypatch.setattr("kmeans_lab.registry.load_sparse", lambda name: Faulty)
    sentence = {"labels": "nearest center", "centers": "not the means", "rows": "X was modified"}
    with pytest.raises(CertificateError, match=sentence[fault]):
        certify_fit(copy, K, {"init": START, "tol": 0}, "cpp")

"""Responsibilities against fractions, scikit-learn's E-step, and the limits of the width."""

import doctest
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from kmeans_lab import kmeans, soft
from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.soft import responsibilities
from tests.support.helpers import cloud, some_rows, whole_numbers

WIDTHS = [1e-300, 1e-3, 0.3, 1.0, 40.0, 1e6, 1e300]


def exact(X, centers, sigma):
    """Return the shares from exact squares, then 60 digits: the oracle."""
    rows = []
    for x in np.asarray(X, dtype=np.float64).tolist():
        squares = [
            sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(x, c, strict=True))
            for c in np.asarray(centers, dtype=np.float64).tolist()
        ]
        with localcontext(prec=60, Emin=-(10**9), Emax=10**9):
            exponents = [-(it - min(squares)) / (2 * Fraction(sigma) ** 2) for it in squares]
            shares = [(Decimal(it.numerator) / Decimal(it.denominator)).exp() for it in exponents]
            rows.append([float(it / sum(shares)) for it in shares])
    return np.array(rows)


@pytest.mark.parametrize("sigma", [1e-3, 0.3, 2.0, 1e6])
@pytest.mark.parametrize("offset", [0.0, 1e6, -1e12])
def test_it_is_the_definition_however_far_the_origin(sigma, offset):
    X = cloud(0, 40, 3) + offset
    centers = X[::8] + 0.25
    found = responsibilities(X, centers, sigma)
    np.testing.assert_allclose(found, exact(X, centers, sigma), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("reach", [1e3, 1e6, 1e9])
def test_a_row_far_from_all_centers_keeps_its_digits(reach):
    """Both squares are reach², and what counts is their difference: about 1."""
    X = np.array([[0.125, reach], [-reach, reach], [0.5 / reach, -reach]])
    centers = np.array([[0.0, 0.0], [1.0, 0.0], [0.25, 1 / reach], [1.0, 2.0]])
    found = responsibilities(X, centers, 1.0)
    np.testing.assert_allclose(found, exact(X, centers, 1.0), rtol=1e-9, atol=1e-14)
    found = responsibilities([[1e140], [-1e140]], [[0.0], [1.0]], 1.0)
    np.testing.assert_array_equal(found, [[0, 1], [1, 0]])


def mixture(centers, sigma):
    """Return scikit-learn's mixture of round Gaussians that all weigh the same."""
    k = len(centers)
    model = GaussianMixture(k, covariance_type="spherical")
    model.weights_, model.means_ = np.full(k, 1 / k), centers
    model.covariances_ = np.full(k, sigma**2)
    model.precisions_cholesky_ = 1 / np.sqrt(model.covariances_)
    return model


@pytest.mark.parametrize("sigma", [0.3, 1.0, 8.0])
@pytest.mark.parametrize("n_features", [1, 2, 16])
def test_it_is_the_e_step_of_a_gaussian_mixture(n_features, sigma):
    X = 3 * cloud(1, 500, n_features)
    centers = kmeans(X, 6, random_state=0).centers
    expected = mixture(centers, sigma).predict_proba(X)
    found = responsibilities(X, centers, sigma)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("sigma", WIDTHS)
def test_rows_sum_to_1_whatever_the_width(sigma):
    X = 100 * cloud(2, 300, 2)
    found = responsibilities(X, some_rows(X, 7), sigma)
    assert found.dtype == np.float64
    assert found.shape == (300, 7)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-14)


@pytest.mark.parametrize("sigma", [1e-9, 0.01, 1.0, 100.0])
def test_the_largest_is_the_hard_label(sigma):
    X = cloud(3, 2000, 3)
    fit = kmeans(X, 8, random_state=0)
    found = responsibilities(X, fit.centers, sigma)
    np.testing.assert_array_equal(found.argmax(axis=1), fit.labels)


def test_centers_that_are_equally_near_share_a_row():
    X = whole_numbers(4, (200, 2), -3, 3)
    centers = np.array([[-2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, -2.0], [-2.0, 0.0]])
    squares = ((X[:, None] - centers) ** 2).sum(axis=2)
    nearest = squares == squares.min(axis=1, keepdims=True)
    for sigma in WIDTHS:
        found = responsibilities(X, centers, sigma)
        assert (found[nearest] >= found.max(axis=1).repeat(nearest.sum(axis=1))).all()
    hard = nearest / nearest.sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(responsibilities(X, centers, 1e-300), hard)


def test_the_limits_of_the_width():
    X = cloud(5, 300, 2)
    fit = kmeans(X, 5, random_state=0)
    np.testing.assert_array_equal(responsibilities(X, fit.centers, 1e-300), np.eye(5)[fit.labels])
    assert (responsibilities(X, fit.centers, 1e300) == 0.2).all()
    assert (responsibilities(X, fit.centers, 5e-324) == np.eye(5)[fit.labels]).all()
    assert (responsibilities(X, fit.centers, 1.7e308) == 0.2).all()


def test_blocks_of_rows_do_not_show(monkeypatch):
    X = cloud(6, 100, 3)
    expected = responsibilities(X, X[:7], 0.5)
    monkeypatch.setattr(soft, "row_blocks", partial(row_blocks, values=40))
    np.testing.assert_array_equal(responsibilities(X, X[:7], 0.5), expected)


def test_float32_and_lists_become_float64_and_stay_as_they_were():
    X = cloud(7, 30, 2, "float32")
    X.flags.writeable = False
    expected = exact(X, X[:3], 0.5)
    for rows in (X, X.tolist(), np.asfortranarray(X)):
        found = responsibilities(rows, X[:3], np.float32(0.5))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_nothing_warns_however_numpy_is_set():
    with np.errstate(all="raise"):
        for sigma in WIDTHS:
            responsibilities([[0.0], [1e8], [-1e-8]], [[0.0], [1.0], [1e9]], sigma)


@pytest.mark.parametrize("sigma", [0, -1.0, np.nan, np.inf])
def test_a_width_that_is_none_is_refused(sigma):
    with pytest.raises(ValueError, match=f"sigma={sigma} must be a finite number > 0; 1e-9 is"):
        responsibilities([[0.0]], [[0.0]], sigma)


@pytest.mark.parametrize("sigma", ["1", None, True, [1.0]])
def test_a_width_that_is_no_number_is_refused(sigma):
    with pytest.raises(TypeError, match="must be a number > 0"):
        responsibilities([[0.0]], [[0.0]], sigma)


REFUSED = [
    ([[0.0], [1.0]], [[0.0, 1.0]], r"centers has shape \(1, 2\) and must have shape"),
    ([[0.0]], [0.0], "centers has 1 dimension and must have 2"),
    ([[0.0]], [[np.nan]], r"centers\[0, 0\] is nan and every value must be finite"),
    ([[np.inf]], [[0.0]], r"X\[0, 0\] is inf and every value must be finite"),
    ([[0.0]], np.empty((0, 1)), r"centers has shape \(0, 1\) and must have at least one row"),
]


@pytest.mark.parametrize(("X", "centers", "sentence"), REFUSED)
def test_rows_and_centers_that_do_not_fit_are_refused(X, centers, sentence):
    with pytest.raises(ValueError, match=sentence):
        responsibilities(X, centers, 1.0)


def test_examples_run():
    assert doctest.testmod(soft).failed == 0

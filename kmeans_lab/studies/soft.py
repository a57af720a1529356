"""Soft assignment, the tutorial's last exercise: a probability for each cluster.

The maps show what a width makes of the borders between clusters; scikit-learn's mixture of
Gaussians says whether the numbers are right.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import KMeansResult, kmeans
from kmeans_lab.kernel import Array
from kmeans_lab.soft import responsibilities
from kmeans_lab.studies.notebook import INK, PALETTE, Notebook, Row, cluster_colors, draw_clusters
from kmeans_lab.studies.sources import TUTORIAL, tutorial_blobs

SEED = 42  # the tutorial's
TRUE_WIDTH = 0.8  # of its blobs
SHOWN = (TRUE_WIDTH, 2.0, 4.0, 8.0)  # widths with a map each
WIDTHS = np.geomspace(0.1, 100.0, 61)
PIXELS = 240  # on each side of a map


def run(book: Notebook) -> None:
    """Draw maps for four widths, and the entropy for many; compare with scikit-learn."""
    X, _ = tutorial_blobs()
    fit = kmeans(X, 4, n_init=10, tol=0.0, random_state=SEED)
    _maps(book, X, fit)
    _entropy(book, X, fit)
    _mixture(book, X, fit)


def _maps(book: Notebook, X: Array, fit: KMeansResult) -> None:
    width = estimate_width(X, fit)
    book.say(
        "The tutorial's blobs, and the best of ten starts. The colour shows which center is "
        "nearest, and its strength how likely that center is; where all four are equally likely, "
        "the map is white. The width σ is given, not estimated: soft assignment does not say how "
        "wide the clusters are. The rows do: the mean squared distance per feature, "
        f"{fit.inertia:,.1f} / {X.size}, gives σ = {width:.2f}; they were drawn with {TRUE_WIDTH}."
    )
    low, high = X.min(axis=0) - 2.0, X.max(axis=0) + 2.0
    across, up = (np.linspace(low[f], high[f], PIXELS) for f in (0, 1))
    plane = np.stack(np.meshgrid(across, up), axis=-1)
    caption = "Certainty over the plane, for four widths"
    with book.figure("map", caption, 2, 2, (7.6, 7.4)) as axes:
        for axis, sigma in zip(axes.flat, SHOWN, strict=True):
            shares = responsibilities(plane.reshape(-1, 2), fit.centers, sigma)
            picture = shade(shares).reshape(PIXELS, PIXELS, 3)
            extent = (low[0], high[0], low[1], high[1])
            axis.imshow(picture, origin="lower", extent=extent, interpolation="bilinear")
            draw_clusters(axis, X, fit.labels, fit.centers, s=5)
            sure = responsibilities(X, fit.centers, sigma).max(axis=1).mean()
            axis.set_title(f"σ = {sigma:g}: certain to {sure:.0%} on average")
            axis.set_axis_off()


def estimate_width(X: Array, fit: KMeansResult) -> float:
    """Return the standard deviation within clusters, the same for all and in all directions."""
    return float(np.sqrt(fit.inertia / X.size))


def shade(shares: Array) -> NDArray[Any]:
    """Return a colour for each row (n, 3): its likeliest cluster's, and white where none is."""
    from matplotlib.colors import to_rgb

    colors = np.array([to_rgb(color) for color in cluster_colors(shares.shape[1])])
    even = 1 / shares.shape[1]
    strength = 0.5 * (shares.max(axis=1, keepdims=True) - even) / (1 - even)
    return np.asarray(1 - strength * (1 - colors[shares.argmax(axis=1)]))


def entropy(shares: Array) -> Array:
    """Return each row's entropy in nats: 0 when it is certain, log k when it knows nothing."""
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logs).sum(axis=1))


def _entropy(book: Notebook, X: Array, fit: KMeansResult) -> None:
    rows: list[Row] = []
    for sigma in WIDTHS:
        shares = responsibilities(X, fit.centers, sigma)
        rows.append(
            {
                "sigma": float(sigma),
                "mean entropy": float(entropy(shares).mean()),
                "mean certainty": float(shares.max(axis=1).mean()),
                "changed": int((shares.argmax(axis=1) != fit.labels).sum()),
            }
        )
    book.table("widths", rows)
    book.say(
        "The entropy of a row's probabilities grows with σ from 0, where the assignment is hard, "
        f"to log 4, where all four clusters are equally likely. At each of {len(WIDTHS)} widths "
        f"from {WIDTHS[0]:g} to {WIDTHS[-1]:g}, the likeliest center is the nearest one."
    )
    caption = "Mean entropy of the rows against the width"
    with book.figure("entropy", caption, size=(6.4, 3.4)) as axis:
        top, beside = float(np.log(len(fit.centers))), {"textcoords": "offset points"}
        axis.axhline(top, color=INK, lw=1, ls="--")
        axis.annotate("log 4", (WIDTHS[0], top), (0, -12), **beside)
        axis.plot(WIDTHS, [row["mean entropy"] for row in rows], color=PALETTE[0])
        for sigma in SHOWN:
            at = float(entropy(responsibilities(X, fit.centers, sigma)).mean())
            axis.plot([sigma], [at], "o", ms=6, color=PALETTE[2])
            axis.annotate(f"σ = {sigma:g}", (sigma, at), (-7, 4), ha="right", **beside)
        axis.set(xscale="log", xlabel="σ", ylabel="mean entropy, nats", ylim=(-0.05, 1.5))


def _mixture(book: Notebook, X: Array, fit: KMeansResult) -> None:
    """Compare with the E-step of scikit-learn's mixture of round Gaussians that weigh the same."""
    from sklearn.mixture import GaussianMixture

    k = len(fit.centers)
    model = GaussianMixture(k, covariance_type="spherical")
    model.weights_, model.means_ = np.full(k, 1 / k), fit.centers
    worst, uneven, changed = 0.0, 0.0, 0
    for sigma in WIDTHS:
        model.covariances_ = np.full(k, sigma**2)
        model.precisions_cholesky_ = 1 / np.sqrt(model.covariances_)
        shares = responsibilities(X, fit.centers, sigma)
        worst = max(worst, float(np.abs(model.predict_proba(X) - shares).max()))
        uneven = max(uneven, float(np.abs(shares.sum(axis=1) - 1).max()))
        changed += int((shares.argmax(axis=1) != fit.labels).sum())
    book.claim(
        TUTORIAL,
        "exercise: a probability for each cluster in place of hard labels",
        "each row's probabilities add up to 1, and its likeliest cluster is its hard label: at "
        f"{len(WIDTHS)} widths, {changed} of {len(X)} labels change",
        changed == 0 and uneven < 1e-12,
    )
    # An order of magnitude: the last digits are the machine's.
    bound = 10.0 ** np.ceil(np.log10(max(worst, 1e-16)))
    book.claim(
        TUTORIAL,
        "this is the E-step of Gaussian mixture models",
        "scikit-learn's `GaussianMixture`, given these means, equal weights and one spherical "
        f"covariance for all clusters, differs by less than {bound:.0e} in every probability",
        worst < 1e-10,
    )

"""How many clusters are there? The elbow, the silhouette and the gap statistic, side by side.

The tutorial looks for a bend by eye. Here a rule looks: the bend is the k whose point lies farthest
below the chord from the first point to the last (Satopää et al., "Finding a 'Kneedle' in a
haystack", ICDCS Workshops 2011). Stretching an axis changes nothing; another last k does.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import KMeansResult, kmeans
from kmeans_lab.kernel import Array
from kmeans_lab.numerics.blobs import quick_blobs
from kmeans_lab.silhouette import silhouette_samples, silhouette_score
from kmeans_lab.studies.notebook import INK, PALETTE, Notebook, cluster_colors, draw_clusters
from kmeans_lab.studies.sources import TUTORIAL, tutorial_blobs, tutorial_start

SEED = 42  # the tutorial's
BAD_SEED = 14  # the first whose inertia rises somewhere
LARGEST = 9  # the tutorial's last k
FARTHEST = 20  # how far this study looks
STARTS = 10
REFERENCES = 20  # sets without clusters, for the gap statistic
DRAWS = 50  # of the walk-through's data
_RING: Any = {"marker": "o", "ms": 11, "mfc": "none", "mec": PALETTE[2], "mew": 1.6}


@dataclass(frozen=True, slots=True, eq=False)
class Opinions:
    """What three ways say of one set of rows, for k = 1 … LARGEST."""

    X: Array
    truth: NDArray[Any]
    inertia: Array
    silhouette: Array  # from k = 2 on
    gap: Array
    error: Array  # s_k of the gap statistic
    fits: list[KMeansResult]

    @property
    def chosen(self) -> dict[str, int]:
        """Return each way's answer."""
        enough = self.gap[:-1] >= self.gap[1:] - self.error[1:]
        return {
            "elbow": bend(self.inertia),
            "elbow of the logarithm": bend(np.log(self.inertia)),
            "silhouette": int(self.silhouette.argmax()) + 2,
            "gap statistic": int(enough.argmax()) + 1 if enough.any() else LARGEST,
        }


def run(book: Notebook) -> None:
    """Look for the bend as the tutorial does, then ask two more ways and two more sets of rows."""
    X, truth = tutorial_blobs()
    blobs = ask(X, truth)
    _elbow(book, blobs)
    _silhouettes(book, blobs)
    _others(book, blobs)
    _draws(book)


def bend(values: Any) -> int:
    """Return the k ≥ 1 whose value lies farthest below the chord from the first to the last."""
    chord = np.linspace(values[0], values[-1], len(values))
    return int((chord - values).argmax()) + 1


def fit(X: Array, n_clusters: int) -> KMeansResult:
    """Return the best of ten starts."""
    return kmeans(X, n_clusters, n_init=STARTS, tol=0.0, random_state=SEED)


def ask(X: Array, truth: NDArray[Any]) -> Opinions:
    """Ask all three about one set of rows."""
    fits = [fit(X, k) for k in range(1, LARGEST + 1)]
    inertia = np.array([it.inertia for it in fits])
    silhouette = np.array([silhouette_score(X, it.labels) for it in fits[1:]])
    return Opinions(X, truth, inertia, silhouette, *gap_statistic(X, inertia), fits)


def gap_statistic(X: Array, inertia: Array) -> tuple[Array, Array]:
    """Return Gap(k) and its standard error for k = 1 … len(inertia).

    Tibshirani, Walther, Hastie, "Estimating the number of clusters in a data set via the gap
    statistic", Journal of the Royal Statistical Society B 63, 2001: log inertia against that of
    sets drawn uniformly from the box around the rows' principal components. Distances are the
    same in these components, so nothing is turned back.
    """
    centered = X - X.mean(axis=0)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    largest = np.abs(axes).argmax(axis=1)  # signs are the library's choice: the same everywhere now
    turned = centered @ (axes.T * np.sign(axes[range(len(axes)), largest]))
    rng = np.random.default_rng(SEED)
    logs = np.empty((REFERENCES, len(inertia)))
    for row in logs:
        reference = rng.uniform(turned.min(axis=0), turned.max(axis=0), turned.shape)
        row[:] = [np.log(fit(reference, k).inertia) for k in range(1, len(inertia) + 1)]
    error = logs.std(axis=0) * np.sqrt(1 + 1 / REFERENCES)
    return logs.mean(axis=0) - np.log(inertia), error


def _elbow(book: Notebook, blobs: Opinions) -> None:
    """Look for the bend in the tutorial's curve, and in that of the best of ten starts."""
    ks = range(1, LARGEST + 1)
    one = [_one_start(blobs.X, k, SEED) for k in ks]
    bad = [_one_start(blobs.X, k, BAD_SEED) for k in ks]
    _claim_elbow(book, np.array(one), blobs.inertia)
    book.say(
        "The tutorial's four blobs, and its curve: one start for each k. The inertia of the best "
        f"clusters falls with k; that of a single start need not, as seed {BAD_SEED} shows. A rule "
        "finds the bend: it is the point farthest below the chord from the first point to the "
        "last."
    )
    _draw_elbow(book, blobs, one, bad)
    rows = [
        {
            "k": k,
            f"seed {SEED}": one[k - 1],
            f"seed {BAD_SEED}": bad[k - 1],
            "best of ten": blobs.inertia[k - 1],
            "silhouette": blobs.silhouette[k - 2] if k > 1 else None,
            "gap": blobs.gap[k - 1],
            "standard error": blobs.error[k - 1],
        }
        for k in ks
    ]
    book.table("blobs", rows, shown=True)


def _claim_elbow(book: Notebook, one: Array, best: Array) -> None:
    first = next(k for k, value in enumerate(one, 1) if value < 1.001 * best[3])
    gains = -np.diff(best)
    drops = gains[:-1] / gains[1:]
    book.claim(
        TUTORIAL,
        f"to choose k, look for the bend in the inertia (k = 1 … 9, one start each, seed {SEED})",
        f"the bend is at k = {bend(one)}: the four blobs are not found before k = {first}, and at "
        f"k = 4 this start ends at an inertia of {one[3]:,.0f}, the best of ten at {best[3]:,.0f}",
        bend(one) == 4,
    )
    book.claim(
        TUTORIAL,
        "to choose k, look for the bend in the inertia (here the best of ten starts for each k)",
        f"the bend is still at k = {bend(best)}: from 2 to 3 and from 3 to 4 the inertia falls by "
        f"{gains[1]:,.0f} and {gains[2]:,.0f}. The bend of its logarithm is at k = "
        f"{bend(np.log(best))}",
        bend(best) == 4,
    )
    book.claim(
        TUTORIAL,
        "the elbow is where adding more clusters gives diminishing returns",
        "with the best of ten starts, the inertia falls by "
        f"{', '.join(f'{it:,.0f}' for it in gains)}: the returns diminish most, by a factor of "
        f"{drops.max():.0f}, at k = {drops.argmax() + 2}",
        int(drops.argmax()) + 2 == 4,
    )


def _draw_elbow(book: Notebook, blobs: Opinions, one: list[float], bad: list[float]) -> None:
    """Draw the curves, and where the bend is for each last k."""
    far = np.array([fit(blobs.X, k).inertia for k in range(1, FARTHEST + 1)])
    ranges = [(last, bend(far[:last]), bend(np.log(far[:last]))) for last in range(5, FARTHEST + 1)]
    book.table(
        "ranges", [{"last k": it[0], "bend": it[1], "of the logarithm": it[2]} for it in ranges]
    )
    ks = range(1, LARGEST + 1)
    caption = "The tutorial's elbow, and how the bend depends on the last k"
    with book.figure("elbow", caption, 1, 2, (9.0, 3.6)) as (left, right):
        left.plot(ks, bad, "o-", ms=4, color=PALETTE[1], label=f"one start, seed {BAD_SEED}")
        left.plot(ks, one, "o-", ms=4, color=PALETTE[0], label=f"one start, seed {SEED}")
        left.plot(ks, blobs.inertia, "o-", ms=4, color=INK, label="the best of ten starts")
        _mark_bend(left, blobs.inertia)
        left.set(title="Inertia", xlabel="k", xticks=ks)
        left.legend()
        last, of_inertia, of_logarithm = zip(*ranges, strict=True)
        right.plot(last, of_inertia, "o", ms=4, color=INK, label="of the inertia")
        right.plot(
            last, of_logarithm, ls="", label="of its logarithm", **_RING | {"mec": PALETTE[3]}
        )
        right.set(title="Where the rule finds the bend", xlabel="last k", ylabel="bend at k")
        right.set(xticks=range(5, FARTHEST + 1, 5), yticks=range(1, 6), ylim=(0.7, 5.3))
        right.legend(loc="lower right")
    change = next(last for last, at, _ in ranges if at == 4)
    book.say(
        f"The rule gives 3 as long as the last k is at most {change - 1}, and 4 beyond: the chord "
        "becomes flatter, until even the small step from 3 to 4 is steeper. A judgement by eye "
        "depends on the last k, too. With the logarithm, for which equal steps are equal ratios, "
        "the rule gives 4 for every last k."
    )


def _one_start(X: Array, n_clusters: int, seed: int) -> float:
    start = tutorial_start(X, n_clusters, seed)
    return kmeans(X, n_clusters, init=start, stop="allclose", max_iter=100).inertia


def _mark_bend(axis: Any, inertia: Any) -> None:
    ends, at = [0, len(inertia) - 1], bend(inertia)
    axis.plot([1, len(inertia)], [inertia[i] for i in ends], "--", lw=1, color=PALETTE[9])
    axis.plot([at], [inertia[at - 1]], **_RING)


def _silhouettes(book: Notebook, blobs: Opinions) -> None:
    best = blobs.chosen["silhouette"]
    scores = ", ".join(f"{it:.2f}" for it in blobs.silhouette)
    book.claim(
        TUTORIAL,
        "exercise: the silhouette coefficient, plotted against k",
        f"highest at k = {best}, the number of blobs: {scores} for k = 2 … {LARGEST}",
        best == 4,
    )
    caption = "The silhouette of each row, for three, four and five clusters"
    with book.figure("rows", caption, 1, 3, (9.0, 3.4)) as axes:
        for axis, k in zip(axes, (3, 4, 5), strict=True):
            _draw_silhouette(axis, blobs.X, blobs.fits[k - 1].labels, k)
    book.say(
        "Each row is a bar as long as its silhouette, and bars are sorted within each cluster. "
        "With three clusters, one of them covers two blobs and has shorter bars; with five, two "
        "clusters share a blob, and the rows of each lie nearly as close to the other."
    )


def _draw_silhouette(axis: Any, X: Array, labels: NDArray[Any], k: int) -> None:
    values, bottom = silhouette_samples(X, labels), 0
    for j, color in enumerate(cluster_colors(k)):
        bars = np.sort(values[labels == j])
        axis.fill_betweenx(bottom + np.arange(len(bars)), 0, bars, color=color, lw=0, step="mid")
        bottom += len(bars) + 8
    axis.axvline(values.mean(), color=INK, lw=1, ls="--")
    axis.set(title=f"k = {k}: mean {values.mean():.2f}", xlabel="silhouette", yticks=[])
    axis.set(xlim=(min(0.0, values.min()), 1), ylim=(bottom, -8))
    axis.spines["left"].set_visible(False)


def _others(book: Notebook, blobs: Opinions) -> None:
    """Set the three ways side by side, on the blobs and on two harder sets."""
    from sklearn.datasets import make_blobs

    noise = np.repeat([0, 1, 2, 3, 4, -1], [260] * 5 + [140])
    sets = {
        "four blobs": (4, blobs),
        "five blobs and noise": (5, ask(quick_blobs(), noise)),
        "three that overlap": (3, ask(*make_blobs(random_state=0))),
    }
    rows = [{"rows": name, "blobs": k, **it.chosen} for name, (k, it) in sets.items()]
    book.say(
        "Three methods on three sets: the tutorial's blobs, the demo's five blobs with noise "
        "(preset `quick`), and one draw of the walk-through's (100 points around three centers, "
        "`random_state=0`). The gap statistic compares the logarithm of the inertia with that of "
        f"{REFERENCES} sets without clusters, and takes the first k whose gap is at least the next "
        "gap less its standard error; it can report a single cluster, which the silhouette cannot."
    )
    book.table("opinions", rows, shown=True)
    caption = "What the elbow, the silhouette and the gap statistic say about three sets of rows"
    with book.figure("opinions", caption, 3, 4, (9.0, 7.0)) as axes:
        for line, (name, (_, found)) in zip(axes, sets.items(), strict=True):
            _draw_opinions(line, name, found)


def _draw_opinions(line: Any, name: str, found: Opinions) -> None:
    draw_clusters(line[0], found.X, found.truth, s=5)
    line[0].set_title(name.capitalize())
    line[0].set_axis_off()
    chosen, ks = found.chosen, range(1, LARGEST + 1)
    line[1].plot(ks, found.inertia, "o-", ms=3, color=PALETTE[0])
    _mark_bend(line[1], found.inertia)
    line[2].plot(ks[1:], found.silhouette, "o-", ms=3, color=PALETTE[0])
    line[3].errorbar(ks, found.gap, found.error, fmt="o-", ms=3, color=PALETTE[0], capsize=2)
    at = chosen["silhouette"], chosen["gap statistic"]
    tops = found.silhouette[at[0] - 2], found.gap[at[1] - 1]
    for axis, k, value in zip(line[2:], at, tops, strict=True):
        axis.plot([k], [value], **_RING)
        axis.margins(y=0.12)
    for axis, way in zip(line[1:], ("elbow", "silhouette", "gap statistic"), strict=True):
        axis.set(title=f"{way.capitalize()}: k = {chosen[way]}", xlabel="k", xticks=ks[::2])


def _draws(book: Notebook) -> None:
    """Ask the three ways about many draws of the walk-through's blobs."""
    from sklearn.datasets import make_blobs

    answers: dict[str, Counter[int]] = {}
    for seed in book.track(range(DRAWS), "draws"):
        for way, k in ask(*make_blobs(random_state=seed)).chosen.items():
            answers.setdefault(way, Counter())[k] += 1
    rows = [
        {"way": way, "says 1": said[1], "says 2": said[2], "says 3": said[3]}
        | {"says more": sum(n for k, n in said.items() if k > 3)}
        for way, said in answers.items()
    ]
    book.say(
        f"One set proves little. {DRAWS} draws of the walk-through's three blobs (`random_state` 0 "
        f"… {DRAWS - 1}); in some of them the blobs overlap so much that only two can be seen:"
    )
    book.table("draws", rows, shown=True)

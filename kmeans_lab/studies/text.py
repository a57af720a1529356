"""K-means on real texts: beside spherical k-means, mini-batches and fewer dimensions, and a truth.

The texts are paragraphs of docstrings, the truth is the module that each is from. They depend on
the versions that are installed, and so does every number here: all tables count as measured.
"""

from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from kmeans_lab import kmeans
from kmeans_lab.kernel import Array
from kmeans_lab.studies.documents import (
    LIBRARY,
    Document,
    Texts,
    described,
    installed,
    read_documents,
    weigh,
)
from kmeans_lab.studies.notebook import FAINT, INK, PALETTE, Notebook, Row
from kmeans_lab.studies.text_claims import (
    BATCHES,
    PLAIN,
    REDUCED,
    SPHERICAL,
    STARTS,
    Fit,
    claim_directions,
    claim_methods,
    claim_spherical,
    middle,
    race,
)
from kmeans_lab.studies.trials import Judge, same_start, sums_of

FEWEST = 100  # documents of a module that is looked at
SEEDS = 5
CONCEPTS = (3, 6, 12, 25, 50, 100)  # numbers of clusters whose directions are compared
TERMS, EACH = 10, 6  # of a cluster that are listed, and purest and most mixed clusters
METHODS = {PLAIN: PALETTE[0], SPHERICAL: PALETTE[1], BATCHES: PALETTE[3], REDUCED: PALETTE[2]}


def run(book: Notebook) -> None:
    """Read, weigh and cluster the texts; judge methods, clusters and directions."""
    import sklearn.decomposition  # noqa: F401 (only what is loaded can be limited)
    from threadpoolctl import threadpool_limits

    documents = read_documents(installed(), FEWEST)
    with threadpool_limits(1):
        texts = weigh(documents)
        introduce(book, documents, texts)
        judge = Judge(texts.X, texts.truth)
        fits = compare(book, texts, judge)
        show_methods(book, texts, fits)
        show_clusters(book, texts, fits)
        show_directions(book, texts)
        race(book, texts)


def introduce(book: Notebook, documents: Sequence[Document], texts: Texts) -> None:
    """Say what the texts are."""
    (n_samples, n_features), k = texts.X.shape, len(texts.modules)
    book.say(
        "The texts are paragraphs of prose, of at least eight words, from the docstrings of the "
        "standard library and of packages that this study needs anyway: parsed, not imported; each "
        "text once; modules with fewer than "
        f"{FEWEST} are left out. {len(documents):,} documents: {described(documents)}. *Which "
        "there are depends on the versions that are installed, so all numbers of this study count "
        "as measured.* Here: NumPy "
        f"{version('numpy')}, SciPy {version('scipy')}, scikit-learn {version('scikit-learn')}, "
        f"matplotlib {version('matplotlib')}, numba {version('numba')}."
    )
    book.say(
        f"Rows are tf·idf of words that at least five documents have, of length 1: {n_samples:,} × "
        f"{n_features:,} with {texts.X.nnz / n_samples:.1f} values each. The truth is the module "
        f"of each document, one of {k}, and as many clusters are looked for. It is not all that "
        "there is to find: modules have subjects in common, and much of what a docstring says, of "
        "arguments, files or errors, is said everywhere."
    )


def ways(texts: Texts, start: Array, seed: int) -> dict[str, Callable[[], Any]]:
    """Return a fit for each method, which begins at the start's rows."""
    from sklearn.preprocessing import normalize

    from kmeans_lab import MiniBatchKMeans

    k = len(start)
    low = normalize(start @ texts.directions.T)
    batches = MiniBatchKMeans(k, init=start, n_init=1, random_state=seed)
    return {
        PLAIN: partial(kmeans, texts.X, k, init=start),
        SPHERICAL: partial(kmeans, texts.X, k, init=start, metric="cosine"),
        BATCHES: partial(batches.fit, texts.X),
        REDUCED: partial(kmeans, texts.low, k, init=low),
    }


def compare(book: Notebook, texts: Texts, judge: Judge) -> list[Fit]:
    """Fit and judge every method from every start."""
    found = []
    starts = [(name, seed) for name in STARTS for seed in range(SEEDS)]
    for name, seed in book.track(starts, "fitting"):
        start = same_start(texts.X, len(texts.modules), name, seed)
        for method, fit in ways(texts, start, seed).items():
            began = perf_counter()
            result = fit()
            spent = perf_counter() - began
            labels, n_iter = (
                (result.labels_, result.n_iter_)
                if method == BATCHES
                else (result.labels, result.n_iter)
            )
            found.append(Fit(method, name, labels, n_iter, spent, judge.scores(labels)))
    return found


def show_methods(book: Notebook, texts: Texts, fits: list[Fit]) -> None:
    """Put the medians in a table and all fits in a figure; try the example's claims."""
    rows: list[Row] = []
    for method in METHODS:
        for start in STARTS:
            mine = [it for it in fits if (it.method, it.start) == (method, start)]
            row: Row = {"method": method, "start": start}
            row |= {name: middle(fits, method, start, name) for name in mine[0].scores}
            row |= {"iterations": median(it.n_iter for it in mine)}
            rows.append(row | {"ms": 1000 * median(it.seconds for it in mine)})
    book.say(
        f"All methods start from the same rows, drawn at random or by k-means++; medians of "
        f"{SEEDS} seeds. Everything is computed from labels, in the space of all terms: inertia "
        "with the means of the clusters, Σ(1 − cos) with their directions, the silhouette by "
        "cosine, of 2,000 rows. A V-measure or an adjusted Rand index of 1 is the truth itself, "
        "and an index of 0 is chance. Latent semantic analysis (LSA: the first "
        f"{texts.low.shape[1]} singular vectors, rows scaled to length 1 again) takes "
        f"{1000 * texts.seconds:,.0f} ms more, once."
    )
    book.table("methods", rows, measured=True, shown=True)
    large = [middle(fits, it, STARTS[0], "largest, %") for it in (PLAIN, SPHERICAL)]
    book.say(
        "What do angles change, where all rows have length 1? Means are shorter. A cluster of "
        "texts that have little in common has a short mean m, and ‖x − m‖² = 1 − 2 x·m + ‖m‖² is "
        "small for every x that has little in common with any other mean, too: a cluster of "
        f"leftovers grows, to {large[0]:.0f} % of all rows from random ones. Means of length 1 "
        f"draw no such crowd: the largest cluster of a spherical fit has {large[1]:.0f} %."
    )
    draw_methods(book, fits)
    claim_spherical(book, fits)
    claim_methods(book, texts, fits)


def draw_methods(book: Notebook, fits: list[Fit]) -> None:
    """Draw every fit as a dot: where the start matters, and where the method does."""
    caption = "Every fit: filled from random rows, hollow from k-means++. To the right is better"
    panels = ("V-measure", "adjusted Rand", "silhouette", "largest, %")
    with book.figure("methods", caption, 2, 2, (6.4, 4.4), sharey=True) as axes:
        for axis, what in zip(axes.flat, panels, strict=True):
            for y, (method, color) in enumerate(METHODS.items()):
                for shift, start in zip((-0.16, 0.16), STARTS, strict=True):
                    mine = [it for it in fits if (it.method, it.start) == (method, start)]
                    values = [it.scores[what] for it in mine]
                    fill = color if start == STARTS[0] else "white"
                    axis.plot(values, [y + shift] * len(mine), "o", ms=5, mec=color, mfc=fill)
                    axis.plot([median(values)], [y + shift], "|", ms=13, mew=1.6, color=INK)
            title = what[0].upper() + what[1:].replace(", %", " cluster, % of the rows")
            axis.set(title=title, yticks=range(len(METHODS)), yticklabels=METHODS)
            axis.set_ylim(len(METHODS) - 0.5, -0.5)
            axis.tick_params(axis="y", length=0)
            axis.grid(visible=False, axis="y")
            axis.locator_params(axis="x", nbins=5)
        axes[1][1].invert_xaxis()


def show_clusters(book: Notebook, texts: Texts, fits: list[Fit]) -> None:
    """Name clusters by their terms, and draw which modules they hold."""
    spherical = [it for it in fits if it.method == SPHERICAL]
    labels = min(spherical, key=lambda it: it.scores["Σ(1 − cos)"]).labels
    k = len(texts.modules)
    held = np.zeros((k, k))  # documents by cluster and module
    np.add.at(held, (labels, texts.truth), 1)
    sizes = held.sum(axis=1)
    shares = held / np.maximum(sizes, 1)[:, None]
    largest = shares.max(axis=1)
    order = np.lexsort((-largest, shares.argmax(axis=1)))
    order = order[sizes[order] > 0]
    strongest = sums_of(texts.X, labels, k).argsort(axis=1)[:, ::-1]

    def row(j: int) -> Row:
        first = [i for i in held[j].argsort()[::-1][:3] if held[j, i]]
        return {
            "terms": ", ".join(texts.terms[strongest[j, :TERMS]]),
            "documents": int(sizes[j]),
            "modules": ", ".join(f"{texts.modules[i]} {shares[j, i]:.0%}" for i in first),
        }

    book.table("clusters", [row(j) for j in order], measured=True)
    book.say(
        "The clusters of the spherical fit with the least Σ(1 − cos), by terms with the largest "
        f"sums. Half of the {len(order)} have more than {np.median(largest[order]):.0%} of their "
        f"documents from one module. The {EACH} purest and the {EACH} most mixed:"
    )
    pure = sorted(order, key=lambda j: -largest[j])
    shown = [*pure[:EACH], *pure[EACH:][-EACH:]]
    book.table("terms", [row(j) for j in shown], measured=True, shown=True)
    caption = (
        "Where the documents of each module are: the darker, the larger their share. On the right, "
        "the terms of the cluster that has the most of them"
    )
    with book.figure("modules", caption, 1, 1, (6.4, 0.135 * k + 0.5)) as axes:
        spread = held[order].T / held.sum(axis=0)[:, None]
        names = [", ".join(texts.terms[strongest[j, :3]]) for j in order]
        draw_modules(axes, texts.modules, spread, names)


def draw_modules(axes: Any, modules: list[str], spread: Array, names: list[str]) -> None:
    """Draw modules as lines, clusters as columns, shares of the modules' documents as depth."""
    from matplotlib.colors import LinearSegmentedColormap

    scale = LinearSegmentedColormap.from_list("share", ["#ffffff", PALETTE[0], "#16406b"])
    axes.imshow(np.sqrt(spread), cmap=scale, aspect="auto", vmin=0, vmax=np.sqrt(0.6))
    axes.set_yticks(range(len(modules)), modules)
    axes.set(xticks=[], xlabel="clusters")
    axes.grid(visible=False)
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(modules)), [names[j] for j in spread.argmax(axis=1)])
    for axis in (axes, right):
        axis.tick_params(length=0, labelsize=7)
    packages = [it.partition(".")[0] if "." in it else LIBRARY for it in modules]
    for i, (one, other) in enumerate(pairwise(packages)):
        if one != other:
            axes.axhline(i + 0.5, color=FAINT, lw=0.8)


def show_directions(book: Notebook, texts: Texts) -> None:
    """Compare the directions of ever more clusters with each other and with singular vectors."""
    n_samples = texts.X.shape[0]
    rows: list[Row] = []
    for k in book.track([it for it in CONCEPTS if it <= len(texts.directions)], "directions"):
        start = same_start(texts.X, k, STARTS[0], 0)
        concepts = kmeans(texts.X, k, init=start, metric="cosine").centers
        cosines = concepts @ concepts.T
        basis, vectors = np.linalg.qr(concepts.T)[0], texts.directions[:k]
        kept = [float(np.square(texts.X @ it).sum()) for it in (basis, vectors.T)]
        rows.append(
            {
                "clusters": k,
                "mean cosine of two": float(cosines[np.triu_indices(k, 1)].mean()),
                "kept by concepts, %": 100 * kept[0] / n_samples,
                "by singular vectors, %": 100 * kept[1] / n_samples,
                "terms of half a concept": terms_of_half(concepts),
                "of half a singular vector": terms_of_half(vectors),
                "zeros of concepts, %": 100 * float((concepts == 0).mean()),
            }
        )
    book.say(
        "Dhillon and Modha call the directions of spherical clusters *concepts*. What is kept is "
        "the share of the squared length of all rows that lies in the space of k concepts, and of "
        "k singular vectors, which keep the most that k directions can. Terms of half a vector: "
        "how many of its largest terms have half of its squared length, median."
    )
    book.table("concepts", rows, measured=True, shown=True)
    claim_directions(book, rows)


def terms_of_half(vectors: Array) -> float:
    """Return how many of the largest values have half of the squared length, in the median."""
    squares = -np.sort(-np.square(vectors), axis=1)
    running = np.cumsum(squares, axis=1) / squares.sum(axis=1, keepdims=True)
    return float(np.median((running < 0.5).sum(axis=1) + 1))

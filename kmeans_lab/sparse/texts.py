"""Synthetic texts as sparse rows: tf·idf of words that are as frequent as words of texts are.

The words of a text are drawn one by one: some from the list of its topic, the others from the whole
vocabulary, whose frequencies fall with their rank (Zipf, 1949). The vocabulary grows with the
number of texts (Heaps, 1978). From a seed, with NumPy alone.
"""

from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.kernel import Array
from kmeans_lab.sparse.rows import SparseRows

#: Vocabularies grow with this power of the number of texts.
_GROWTH = 0.55
#: So many of the most frequent words are left out of a text, as stop words are: the frequency of
#: the word of rank r is that of rank r + 20 (Mandelbrot's form of the law).
_STOP_WORDS = 20
#: How many more frequent words the list of a topic lacks, and the share of a text's words that come
#: from the list.
_TOPIC_STOP_WORDS, _TOPIC_SHARE = 1, 0.6
#: Topics: the frequency of the one of rank r is as 1 / (r + 5).
_EVEN_TOPICS = 5
#: Starting centers have values that are multiples of this.
_GRID = 2.0**-11


@dataclass(frozen=True, slots=True)
class Kind:
    """How long texts are, and how many words they have among them.

    Attributes
    ----------
    length : float
        Words of a text at the median.
    spread : float
        Standard deviation of the logarithm of that.
    n_texts, n_words : int
        So many texts have so large a vocabulary.
    topic_words : int
        How many words are on the list of a topic.
    """

    length: float
    spread: float
    n_texts: int
    n_words: int
    topic_words: int

    def vocabulary(self, n_texts: int) -> int:
        """Return how many words so many texts have."""
        return max(2, round(self.n_words * exp(_GROWTH * log(n_texts / self.n_texts))))


#: Titles and summaries, 8.5 words a row, which few rows share; documents of 80 words.
KINDS = {
    "text": Kind(8.3, 0.45, 60_000, 16_500, 50),
    "zipf": Kind(92, 0.3, 20_000, 50_000, 500),
}


def draw_texts(kind: Kind, n_texts: int, n_topics: int, seed: int = 11) -> SparseRows:
    """Return n_texts rows of length 1 with at least one value each, in float64.

    ``n_topics`` lists of words overlap, since all are drawn from one vocabulary.
    """
    rng, n_words = np.random.default_rng(seed), kind.vocabulary(n_texts)
    lengths = np.exp(rng.normal(log(kind.length), kind.spread, n_texts))
    owners = np.repeat(np.arange(n_texts), np.maximum(1, np.rint(lengths)).astype(np.int64))
    lists = rng.integers(n_words, size=(n_topics, kind.topic_words))
    topics = _by_rank(rng, n_topics, _EVEN_TOPICS, n_texts)[owners]
    of_topic = lists[topics, _by_rank(rng, kind.topic_words, _TOPIC_STOP_WORDS, len(owners))]
    general = _by_rank(rng, n_words, _STOP_WORDS, len(owners))
    words = np.where(rng.random(len(owners)) < _TOPIC_SHARE, of_topic, general)
    # Ranks are no columns: a vocabulary is in the order of the alphabet.
    return _weighed(owners, rng.permutation(n_words)[words], n_texts, n_words)


def _by_rank(rng: np.random.Generator, n_ranks: int, least: int, size: int) -> NDArray[np.intp]:
    """Draw ranks from 0 on, whose frequencies are as 1 / (rank + 1 + least)."""
    total = np.cumsum(1.0 / (np.arange(n_ranks) + 1 + least))
    ranks = np.searchsorted(total, rng.random(size) * total[-1], side="right")
    return np.asarray(np.minimum(ranks, n_ranks - 1))


def _weighed(
    owners: NDArray[np.int64], words: NDArray[np.int64], n_texts: int, n_words: int
) -> SparseRows:
    """Return tf·idf of the words of texts, in rows of length 1 (as scikit-learn weighs them)."""
    places, counts = np.unique(owners * n_words + words, return_counts=True)
    rows, columns = np.divmod(places, n_words)
    found_in = np.bincount(columns, minlength=n_words)
    data = counts * (1.0 + np.log((1 + n_texts) / (1.0 + found_in)))[columns]
    data /= np.sqrt(np.bincount(rows, data * data, n_texts))[rows]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_texts))])
    return SparseRows(data, columns.astype(np.int32), indptr.astype(np.int64), n_words)


def text_start(X: SparseRows, n_clusters: int, rng: np.random.Generator) -> Array:
    """Return distinct rows in random order, rounded to 11 binary places.

    Many rows share no word with any center, and are as far from it as its length says. Those of
    rows as they are differ by rounding alone: every library would begin with other clusters. The
    squares of rounded ones are exact in float32, in whatever order they are added up.
    """
    rounded = np.rint(X.data / _GRID) * _GRID
    seen: dict[bytes, int] = {}
    order = rng.permutation(len(X))
    for i in order.tolist():
        mine = slice(*X.indptr[[i, i + 1]].tolist())
        seen.setdefault(X.indices[mine].tobytes() + rounded[mine].tobytes(), i)
        if len(seen) == n_clusters:
            break
    # So few texts may be alike that there are not as many different ones.
    chosen = [*seen.values(), *order.tolist()][:n_clusters]
    return X.with_values(rounded.astype(X.dtype))[np.array(chosen)]

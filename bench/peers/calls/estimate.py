"""A guess of how long rows take, from their sizes alone: printed before a long run."""

from bench.peers.calls.table import SEEDS, Row

#: scikit-learn, one thread, AVX2: nanoseconds of an iteration per row and center, and with each
#: feature; a cell of 60 000 × 64, k = 200 takes 4.4, one of 16 250 × 10, k = 25 takes 1.5.
_PAIR, _FEATURE = 1.0, 0.053
#: Iterations that other calls are worth.
_WORTH = {"predict": 1.0, "score": 1.1, "transform": 2.5}
#: Our call and its twin in units of theirs; seconds of the shortest turn with its pause, and of
#: what every row costs besides.
_OURS, _SHORTEST, _EXTRA = 0.7, 0.15, 2.0
#: Seconds of rounds that a row should last, and the fewest rounds of one that is longer.
ROW, FEWEST = 90.0, 3


def seconds_of_call(row: Row) -> float:
    """Guess what scikit-learn takes for a row's call."""
    cell = row.cell
    pairs = cell.n_samples * cell.n_clusters
    once = pairs * (_PAIR + _FEATURE * cell.n_features) * 1e-9
    if row.dtype == "float32":
        once *= 0.6
    iterations = _WORTH.get(row.call, float(cell.max_iter + 1))
    if row.call == "n_init":
        iterations *= 5
    elif row.call == "partial_fit":
        iterations = 3.0
    return once * iterations / (1.7 if row.n_threads > 1 else 1.0)


def count_of_rounds(row: Row, turn: float, rounds: int) -> int:
    """Return how many rounds a row is worth whose contestants take so many seconds together."""
    wanted = max(rounds, SEEDS) if row.draws else rounds
    return min(wanted, max(FEWEST, int(ROW / turn)))


def seconds_of_row(row: Row, n_isas: int, rounds: int) -> float:
    """Guess what all of a row takes: data, certificate, rounds."""
    turn = seconds_of_call(row) * (1.0 + _OURS * n_isas) + _SHORTEST * (2 + n_isas)
    return _EXTRA + turn * (1 + count_of_rounds(row, turn, rounds))

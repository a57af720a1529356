"""The order of contestants in each round: Latin squares, drawn anew for each block of rounds.

In a block of N rounds each of N contestants runs at each place once, so that none of them always
follows the same one, with a cache or a clock frequency that the other left behind. Slow ones join
only every m-th round.
"""

from collections.abc import Iterator, Sequence
from random import Random


def latin_square(n: int, rng: Random) -> list[list[int]]:
    """Return n orders of 0 … n − 1 in which each number stands at each place once."""
    places, names, shifts = (rng.sample(range(n), n) for _ in range(3))
    return [[names[(place + shift) % n] for place in places] for shift in shifts]


def rounds(every: Sequence[int], n_rounds: int, rng: Random) -> Iterator[list[int]]:
    """Yield the order of each round, as indices into ``every``.

    Contestant i joins every ``every[i]``-th round, beginning with the first one.
    """
    square: list[list[int]] = []
    for r in range(n_rounds):
        if not square:
            square = latin_square(len(every), rng)
        yield [i for i in square.pop() if r % every[i] == 0]

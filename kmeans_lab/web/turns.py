"""Turns of the lanes in a measured race: all lanes in every round, in a random order.

What slows the machine for a while slows the fits of a round alike, and their ratios stay. Orders
are Latin squares, as in ``kmeans_lab.measure.rounds``.
"""

from collections.abc import Callable
from random import Random

from kmeans_lab.measure import latin_squares
from kmeans_lab.measure.contestants import FEWEST
from kmeans_lab.web.load import running
from kmeans_lab.web.races import LaneRecord, Turn

#: Number of rounds. Slow lanes join every second or fourth, which is enough for an interval.
ROUNDS = 4 * FEWEST
#: A lane whose fit takes more seconds joins every second round; twice as many, every fourth.
SLOW = 0.05

#: Gives a lane its turn, (round or None, seconds of fits), and returns the lane's report; None if
#: the lane is over.
GiveTurn = Callable[[LaneRecord, tuple[int | None, float]], Turn | None]


def take_turns(lanes: list[LaneRecord], seconds: float, give: GiveTurn) -> list[int]:
    """Let lanes fit for at least so many seconds each.

    Returns
    -------
    list of int
        How many threads of other programs wanted a processor, at the beginning of each turn.
    """
    others: list[int] = []

    def turn(it: LaneRecord, number: int | None, budget: float) -> Turn | None:
        if (wanting := running()) is not None:
            others.append(max(0, wanting - 1))  # this thread wants one, too, and lanes wait for it
        return give(it, (number, budget))

    shares = []
    for it in lanes:  # a fit that does not count says how long one takes
        said = turn(it, None, 0.0)
        if said is not None and not said.watched:  # or it was its only one
            every = 1 if said.seconds <= SLOW else 2 if said.seconds <= 2 * SLOW else 4
            shares.append((it, every))
    if not shares:
        return others
    plan = latin_squares.rounds([every for _, every in shares], ROUNDS, Random())
    for number, places in enumerate(plan, 1):
        for i in places:
            it, every = shares[i]
            turn(it, number, seconds * every / ROUNDS)
    return others

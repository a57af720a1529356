"""Nanoseconds of a call that does nothing, for every way into compiled code.

What is called is the kernel's own ``update``, as the driver calls it, with four arrays that hold no
rows and one cluster of one feature: there is nothing to loop over. What is left is the price of a
call: parsing arguments, checking dtypes and shapes, releasing the GIL, copying to other memory and
back. Each kernel is in a process of its own; the processes take turns, and in each turn a Python
function that does nothing is called as often.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import repeat
from random import Random
from time import perf_counter
from typing import Any

import numpy as np

from kmeans_lab.isolation.children import ChildError
from kmeans_lab.kernel import read_only
from kmeans_lab.measure.calibration import prepared
from kmeans_lab.measure.statistics import Interval, ratio, sign_interval
from kmeans_lab.measure.timed import TimedChild
from kmeans_lab.registry import load_for

ROUNDS = 15
#: Seconds of calls in each turn.
TURN = 0.02
_MOST_CALLS = 200_000


@dataclass
class Calls:
    """The calls of one kernel.

    Attributes
    ----------
    kernel : str
    state : str
        "ready", or what ``KernelChild.describe`` calls a kernel that is not.
    why : str
        What is wrong, where something is.
    seconds, empty : list of float
        Of one call, and of one call of a Python function that does nothing; turn by turn.
    """

    kernel: str
    state: str = "ready"
    why: str = ""
    seconds: list[float] = field(default_factory=list)
    empty: list[float] = field(default_factory=list)

    def interval(self, confidence: float) -> Interval | None:
        """Return the median of the seconds of a call with its interval; None without calls."""
        return sign_interval(self.seconds, confidence) if self.seconds else None

    def times_empty(self, confidence: float) -> Interval | None:
        """Return how many calls of an empty Python function one call is worth."""
        return ratio(self.seconds, self.empty, confidence) if self.seconds else None


def measure(
    kernels: Iterable[str],
    n_rounds: int = ROUNDS,
    seed: int = 0,
    watch: Callable[[str, int, int], Any] = lambda name, done, total: None,
) -> list[Calls]:
    """Measure calls of each kernel.

    A kernel that cannot run, ends its process, or writes where nothing is to be added has a row
    with the reason.

    Parameters
    ----------
    kernels : iterable of str
        Names.
    n_rounds : int, optional
        Turns of each.
    seed : int, optional
        Of the order within each round.
    watch : callable, optional
        Is given a name, and how many turns of how many are done, before each turn.
    """
    found = [Calls(name) for name in kernels]
    with ExitStack() as stack:
        children = [stack.enter_context(TimedChild(it.kernel)) for it in found]
        for it, child in zip(found, children, strict=True):
            _ask(it, child, _first)
        rng = Random(seed)
        for r in range(n_rounds):
            for place, i in enumerate(rng.sample(range(len(found)), len(found))):
                watch(found[i].kernel, r * len(found) + place, n_rounds * len(found))
                _ask(found[i], children[i], _turn)
    return found


def _ask(it: Calls, child: TimedChild, what: Callable[[Calls, TimedChild], None]) -> None:
    if it.state == "ready":
        try:
            what(it, child)
        except ChildError as error:
            it.state, it.why, it.seconds, it.empty = "broken", str(error), [], []


def _first(it: Calls, child: TimedChild) -> None:
    told = child.describe()
    if told["state"] != "ready":
        it.state, it.why = told["state"], told["reason"]
        return
    child.ask(_prime, child.name)


def _turn(it: Calls, child: TimedChild) -> None:
    own, empty = child.checked(_two, child.ask(_batch))
    it.seconds.append(own)
    it.empty.append(empty)


def _two(answer: Any) -> Sequence[float]:
    own, empty = map(float, answer)
    if not (own > 0 and empty > 0):
        raise ValueError("a call takes time")
    return own, empty


# What runs in the child.

_work: list[Any] = []


def _nothing(rows: Any, labels: Any, sums: Any, counts: Any) -> None:
    pass


def _prime(name: str) -> None:
    """Call the kernel once, see that it adds nothing, and find out how many calls fill a turn."""
    kernel, _ = load_for(name, sparse=False)
    rows = prepared(kernel, read_only(np.empty((0, 1))), 1)
    labels, sums, counts = np.empty(0, np.int32), np.zeros((1, 1)), np.zeros(1, np.int64)
    arrays = rows, labels, sums, counts
    kernel.update(*arrays)
    if sums.any() or counts.any():
        raise ValueError(
            "update adds something where there are no rows; kmeans-lab check says more"
        )
    n_calls = 1
    while n_calls < _MOST_CALLS and _seconds(kernel.update, arrays, n_calls) < TURN / 2:
        n_calls *= 2
    _work[:] = kernel.update, arrays, n_calls


def _batch() -> tuple[float, float]:
    update, arrays, n_calls = _work
    return (
        _seconds(update, arrays, n_calls) / n_calls,
        _seconds(_nothing, arrays, n_calls) / n_calls,
    )


def _seconds(function: Callable[..., Any], arrays: tuple[Any, ...], n_calls: int) -> float:
    rows, labels, sums, counts = arrays
    start = perf_counter()
    for _ in repeat(None, n_calls):
        function(rows, labels, sums, counts)
    return perf_counter() - start

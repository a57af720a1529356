"""The interface of a library: ``train`` is timed, ``read`` is not.

``train(X, start, n_iter)`` runs exactly n_iter iterations from the starting centers and returns
anything; ``read(model, X)`` takes the ``Outcome`` out of it.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """A fit's result; None where the library does not say. ``refused`` is why it must not count."""

    centers: Any
    labels: Any = None
    n_iter: int | None = None
    inertia: float | None = None
    refused: str = ""


class LeftOut(Exception):
    """A library cannot be given these rows; the message says why."""


class Library:
    """What all of them share; a subclass imports its library when it is opened.

    ``exact``: Lloyd's iterations, not an approximation of them. ``own_start``: it takes no
    starting centers. ``sparse``: it takes sparse rows, or ``accept`` makes something of them.
    """

    distribution = ""
    dtypes: tuple[str, ...] = ("float64", "float32")
    exact = True
    own_start = False
    sparse = False
    remark = ""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def accept(self, X: Any) -> Any:
        """Return what ``train`` takes in place of X; not timed. X may be sparse: SciPy's."""
        return X

    def threads_set(self) -> int | None:
        """Return the library's own setting where it has one that can be read back."""
        return None

"""Types of the answers that a kernel's child process sends.

The code that runs there may send anything in their place: ``KernelChild`` reads every field that
it relies on, and ends a process that sends another shape.
"""

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray


class Description(TypedDict):
    """A kernel as its child describes it.

    Attributes
    ----------
    name : str
    state : {"ready", "unavailable", "broken"}
    why, reason : str
        A sentence on the state; the second one has a remedy.
    incomplete : bool
        It lacks a function that kernels must have.
    spec : dict
        The fields of its ``KernelSpec``.
    build : str or None
        How it was compiled.
    isa : str
        The instruction set that it chose; empty where it does not choose.
    verbs : list of str
        The functions that it has.
    file : str
        Where its module lies.
    seconds : float
        Duration of its import.
    lock : bool
        Whether the interpreter's lock is on after that.
    """

    name: str
    state: str
    why: str
    reason: str
    incomplete: bool
    spec: dict[str, Any]
    build: str | None
    isa: str
    verbs: list[str]
    file: str
    seconds: float
    lock: bool


class FitAnswer(TypedDict):
    """The fields of a ``KMeansResult`` but for its history, and a hash of X after the fit."""

    centers: NDArray[np.floating[Any]]
    labels: NDArray[np.int32]
    inertia: float
    n_iter: int
    converged: bool
    stop: str
    seconds: dict[str, float]
    kernel: str
    mode: str
    n_threads: int
    rescored: int
    inputs: str

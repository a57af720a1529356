"""A kernel's functions, called in its child: arrays go there, what was written comes back.

``RemoteKernel`` has the functions of the kernel's module, so that tests are written as if it were
local. The child knows neither why it is called nor the right answer.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from kmeans_lab.isolation.kernel_answers import own_code_alone
from kmeans_lab.isolation.kernel_child import KernelChild
from kmeans_lab.registry import load_kernel

_KEPT = 2  # prepared rows that the child keeps: no question needs more at once
_TELLS = ("changed", "greedy")  # what prepared rows may have


class Prepared:
    """A handle for what ``prepare`` returned in the child; X is kept here, too.

    ``tells`` names its optional features: "changed", "greedy".
    """

    def __init__(self, child: KernelChild, number: int, X: Any, tells: tuple[Any, ...]) -> None:
        self._child, self.number, self.X, self.tells = child, number, X, tells

    def changed(self) -> Any:
        """Return how many labels the last pass changed, as the rows there say."""
        return self._child.ask(_told, self.number, "changed")

    def greedy(self, first: int, draws: Any) -> Any:
        """Return the rows that greedy k-means++ chooses there."""
        return self._child.ask(_told, self.number, "greedy", first, draws)


class RemoteKernel:
    """The functions of the kernel of a child that was described.

    Attributes
    ----------
    child : KernelChild
    verbs : sequence of str
        The functions that the kernel has: attributes of this object.
    """

    def __init__(self, child: KernelChild, verbs: list[str]) -> None:
        self.child = child
        self._numbers = count()
        for verb in verbs:
            call: Callable[..., Any] = partial(self._call, verb)
            setattr(self, verb, self._prepare if verb == "prepare" else call)

    def _prepare(self, X: Any, *options: Any) -> Prepared:
        number = next(self._numbers)
        sent = _sent(X)
        tells = self.child.ask(_prepare, self.child.name, number, sent, options)
        return Prepared(self.child, number, X, self.child.checked(tuple, tells))

    def _call(self, verb: str, *arguments: Any) -> Any:
        sent = [
            ("prepared", it.number) if isinstance(it, Prepared) else ("array", _sent(it))
            for it in arguments
        ]
        returned, arrays = self.child.checked(
            _two, self.child.ask(_call, self.child.name, verb, sent)
        )
        for argument, array in zip(arguments, arrays, strict=True):
            target = argument.X if isinstance(argument, Prepared) else argument
            if target.flags.writeable:
                self.child.checked(_copy_back, target, array)
        return returned


def _sent(array: Any) -> tuple[Any, bool]:
    return array, array.flags.writeable


def _two(answer: Any) -> tuple[Any, list[Any]]:
    returned, arrays = answer
    return returned, list(arrays)


def _copy_back(target: Any, array: Any) -> None:
    if (array.dtype, array.shape) != (target.dtype, target.shape):
        raise ValueError("another array")
    target[...] = array


# What runs in the child.

_prepared: OrderedDict[int, tuple[Any, Any]] = OrderedDict()


def _received(array: Any, writeable: bool) -> Any:
    array = array.copy()  # in memory as a program has it
    if writeable:
        return array
    view = array.view()  # its base can be written to, as a caller's own array can
    view.flags.writeable = False
    return view


def _prepare(name: str, number: int, sent: tuple[Any, bool], options: tuple[Any, ...]) -> list[str]:
    own_code_alone(name)
    X = _received(*sent)
    kernel: Any = load_kernel(name)
    _prepared[number] = kernel.prepare(X, *options), X
    while len(_prepared) > _KEPT:
        _prepared.popitem(last=False)
    return [it for it in _TELLS if hasattr(_prepared[number][0], it)]


def _told(number: int, what: str, *arguments: Any) -> Any:
    rows, X = _prepared[number]
    if what == "changed":
        return int(rows.changed)
    return [int(row) for row in rows.greedy(X, *arguments)]


def _call(name: str, verb: str, sent: list[tuple[str, Any]]) -> tuple[Any, list[Any]]:
    own_code_alone(name)
    given, arrays = [], []
    for kind, it in sent:
        one, array = _prepared[it] if kind == "prepared" else (_received(*it),) * 2
        given.append(one)
        arrays.append(array if array.flags.writeable else None)
    returned = getattr(load_kernel(name), verb)(*given)
    if isinstance(returned, np.floating):
        returned = float(returned) if isinstance(returned, float) else returned
    elif type(returned) not in (float, int, bool, type(None)):
        returned = repr(returned)
    return returned, arrays

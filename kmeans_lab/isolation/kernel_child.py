"""A kernel in a process of its own: described, called and fitted there, judged here.

``KernelChild(name)`` starts a process that knows this one kernel. ``survey`` describes several
kernels, each in its own process: none of their modules is imported by the calling process.

In a child no other kernel of the lab can be imported, so that no kernel can pass their code off as
its own; ``foreign_library`` looks from outside at what is mapped there.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from kmeans_lab.isolation import availability, kernel_answers
from kmeans_lab.isolation.children import Child, ChildError, Ended
from kmeans_lab.isolation.messages import Description
from kmeans_lab.isolation.plugins import NotAKernel
from kmeans_lab.kernel import Array
from kmeans_lab.measure.certify import fingerprint
from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.presets import FitSettings
from kmeans_lab.registry import KERNELS, installed, place_of
from kmeans_lab.result import PHASES, Iteration, KMeansResult
from kmeans_lab.sparse.rows import SparseRows
from kmeans_lab.spec import KernelSpec

#: Processes that start at once where several kernels are described.
AT_ONCE = 4


class KernelChild(Child):
    """A child for one kernel.

    Parameters
    ----------
    name_or_place : str
        A kernel's name, the path of its .py file, or the name of its module.
    environment : dict of str to str, optional
        Variables to set there.
    executable : str, optional
        Another Python to start (see ``interpreters``).
    """

    def __init__(
        self,
        name_or_place: str,
        environment: dict[str, str] | None = None,
        executable: str | None = None,
    ) -> None:
        super().__init__(environment, executable)
        self.name = name_or_place  # until it is described
        self._place = place_of(name_or_place)
        self._spec = KERNELS.get(name_or_place)
        self._own = () if self._spec is None else (*self._spec.modules, *self._spec.requires)

    def describe(self, patience: float | None = None, *, sparse: bool = False) -> Description:
        """Import the kernel there, and return what there is to know about it.

        ``sparse``: about its module for sparse rows, where it has one.

        Raises
        ------
        Raised
            Its file or module cannot be found ("NotAKernel" among the kinds) or imported.
        Ended
            The import ended the process, or took too long.
        """
        found: Description = self.ask(
            kernel_answers.describe, self._place, self._spec, sparse, patience=patience
        )
        try:
            spec = KernelSpec(**found["spec"])
        except (TypeError, KeyError, ValueError):
            raise self._no_answer() from None
        found["spec"], found["lock"] = asdict(spec), bool(found.get("lock"))
        self._own = *spec.modules, *spec.requires
        self.name = str(found["name"])
        return found

    def fit(
        self,
        X: Array | SparseRows,
        n_clusters: int,
        *,
        callback: Callable[[Iteration], Any] | None = None,
        patience: float | None = None,
        **settings: Unpack[FitSettings],
    ) -> KMeansResult:
        """Run ``kmeans`` there and return its result; ``callback`` is called here.

        The iterations do not wait for the callback, and what it returns does not end the fit.
        ``CertificateError`` where X was modified there; ``Raised`` and ``Ended`` as ``ask``.
        """

        def hear(item: Any) -> None:
            assert callback is not None  # items are sent only with a callback
            callback(self.checked(_unpack, item, X, n_clusters))

        answer = self.ask(
            kernel_answers.fit,
            self.name,
            X,
            n_clusters,
            settings,
            callback is not None,
            hear=hear,
            patience=patience,
        )
        return self.result(answer, X, n_clusters)

    def foreign_code(self, X: Array | SparseRows) -> str | None:
        """Return whose code runs in the kernel's steps in place of its own, or None."""
        found = self.ask(kernel_answers.foreign_code, self.name, X)
        return None if found is None else str(found)

    def result(self, answer: Any, X: Array | SparseRows, n_clusters: int) -> KMeansResult:
        """Make a result of what ``answer_of`` returned; ``CertificateError`` if X has changed."""
        result, inputs = self.checked(_result, answer, X, n_clusters)
        if inputs != fingerprint(X):
            raise CertificateError("X was modified")
        assert isinstance(result, KMeansResult)  # guaranteed by _result
        return result

    def checked(self, read: Callable[..., Any], *arguments: Any) -> Any:
        """Return an answer as ``read`` checks it; end the process where that fails."""
        try:
            return read(*arguments)
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
            raise self._no_answer() from None

    def foreign_library(self) -> str | None:
        """Return another kernel's library that is mapped there, or None; on Linux."""
        if "kmeans_lab" in self._own:
            return None
        try:
            maps = Path(f"/proc/{self.pid}/maps").read_text(encoding="utf-8", errors="replace")
        except OSError:  # not Linux, or the process has ended
            return None
        mapped = {line.split(maxsplit=5)[-1] for line in maps.splitlines()}
        files = [file for file in mapped if file.endswith(tuple(EXTENSION_SUFFIXES))]
        for spec in KERNELS.values():
            if spec.module not in self._own:
                for file in files:
                    if any(f"/{library}" in file for library in _libraries(spec)):
                        return Path(file).name
        return None


def _libraries(spec: KernelSpec) -> list[str]:
    """Return how the paths of a kernel's compiled modules begin, from the package's folder on."""
    compiled = [it.removesuffix(".pyx").rstrip("*") for it in spec.sources if it.endswith(".pyx")]
    return [*(f"{it.replace('.', '/')}." for it in spec.modules), *compiled]


def survey(names: Iterable[str], patience: float | None = None) -> dict[str, Description]:
    """Describe kernels, each in a process of its own; some processes run side by side.

    Parameters
    ----------
    names : iterable of str
        Names of kernels, from any package.
    patience : float, optional
        Seconds that each may take.

    Returns
    -------
    dict of str to Description
        By name: what ``KernelChild.describe`` returns. A kernel whose import ends its process, or
        raises what no import should, is "broken" there, and the reason says how.
    """
    names = list(names)
    if not names:
        return {}
    with ThreadPoolExecutor(min(AT_ONCE, len(names))) as threads:
        return dict(zip(names, threads.map(lambda it: _row(it, patience), names), strict=True))


def _row(name: str, patience: float | None) -> Description:
    if name not in KERNELS and name in installed() and (fault := installed()[name].fault):
        return _broken(name, fault)
    try:
        with KernelChild(name) as child:
            return child.describe(patience)
    except Ended as end:
        where = KERNELS[name].module if name in KERNELS else installed()[name].module
        return _broken(name, f"importing {where} {end.does}")
    except ChildError as error:
        return _broken(name, str(error))


def _broken(name: str, why: str) -> Description:
    plugin = None if name in KERNELS else installed()[name]
    if plugin is not None:
        plugin.fault = why  # so that it is not imported here to find out
    spec = KERNELS[name] if plugin is None else plugin.spec
    return {
        "name": name,
        "state": "broken",
        "why": why,
        "reason": availability.reason_for(name, NotAKernel(why)),
        "incomplete": False,
        "spec": asdict(spec),
        "build": None,
        "isa": "",
        "verbs": [],
        "file": "",
        "seconds": 0.0,
        "lock": True,
    }


# How the parent reads the answers: every type and every shape is checked.


def _unpack(item: Any, X: Array | SparseRows, n_clusters: int) -> Iteration:
    n_iter, centers, labels, inertia, changed = item
    _hold_to(centers, labels, X, n_clusters)
    return Iteration(int(n_iter), centers, labels, float(inertia), int(changed))


def _hold_to(centers: Any, labels: Any, X: Array | SparseRows, n_clusters: int) -> None:
    right = (
        (labels.dtype, labels.shape) == (np.int32, X.shape[:1])
        and (centers.dtype, centers.shape) == (X.dtype, (n_clusters, X.shape[1]))
    )  # fmt: skip
    if not right:
        raise ValueError("arrays of another shape")


def _result(answer: Any, X: Array | SparseRows, n_clusters: int) -> tuple[KMeansResult, str]:
    _hold_to(answer["centers"], answer["labels"], X, n_clusters)
    seconds = {phase: float(answer["seconds"][phase]) for phase in PHASES}
    result = KMeansResult(
        centers=answer["centers"],
        labels=answer["labels"],
        inertia=float(answer["inertia"]),
        n_iter=int(answer["n_iter"]),
        converged=bool(answer["converged"]),
        stop=str(answer["stop"]),
        seconds=seconds,
        kernel=str(answer["kernel"]),
        mode=str(answer["mode"]),
        n_threads=int(answer["n_threads"]),
        rescored=int(answer["rescored"]),
    )
    return result, str(answer["inputs"])

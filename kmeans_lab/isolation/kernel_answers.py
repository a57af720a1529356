"""Functions that run in a kernel's child process, which knows only that kernel."""

import sys
from dataclasses import asdict
from time import perf_counter
from typing import Any

from kmeans_lab import registry
from kmeans_lab.crews.lock import lock_is_on
from kmeans_lab.driver import kmeans
from kmeans_lab.isolation import availability
from kmeans_lab.isolation.child_side import say
from kmeans_lab.isolation.messages import Description, FitAnswer
from kmeans_lab.kernel import Array
from kmeans_lab.measure.certify import fingerprint
from kmeans_lab.measure.provenance import find_foreign_code
from kmeans_lab.presets import FitSettings
from kmeans_lab.registry import KERNELS, find_spec, installed, load_for
from kmeans_lab.result import Iteration, KMeansResult
from kmeans_lab.sparse.reading import is_sparse
from kmeans_lab.sparse.rows import SparseRows
from kmeans_lab.spec import KernelSpec

_VERBS = ("assign", "update", "prepare", "assign_update", "inertia")


def describe(place: str, spec: KernelSpec | None, sparse: bool) -> Description:
    """Import a kernel, and return what ``KernelChild.describe`` promises."""
    if spec is not None:
        KERNELS[place] = spec  # possibly registered in the parent only
    if place not in KERNELS and place in installed():
        installed()[place].tried = True  # by the import that follows
    begin = perf_counter()
    name = registry.known_as(place)
    sparse = sparse and bool(find_spec(name).sparse)
    trouble = availability.trouble_of(name, sparse=sparse)
    seconds = perf_counter() - begin
    state, why = availability.described(trouble)
    incomplete = isinstance(trouble, registry.Incomplete)
    kernel: Any = None
    if incomplete or trouble is None:
        kernel = registry.load_sparse(name) if sparse else registry.load_module(name)
    return {
        "name": name,
        "state": state,
        "why": why,
        "reason": availability.reason_for(name, trouble),
        "incomplete": incomplete,
        "spec": asdict(find_spec(name)),
        "build": _text(getattr(kernel, "BUILD", None)),
        "isa": str(kernel.isa()) if trouble is None and hasattr(kernel, "isa") else "",
        "verbs": [verb for verb in _VERBS if callable(getattr(kernel, verb, None))],
        "file": str(getattr(kernel, "__file__", None) or ""),
        "seconds": seconds,
        "lock": lock_is_on(),
    }


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str) else None


class _Others:
    """An import finder that refuses the lab's other kernels."""

    def __init__(self, own: tuple[str, ...]) -> None:
        self.modules = {it for spec in KERNELS.values() for it in spec.modules} - {*own}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Refuse the modules of other kernels; leave all others to the finders that follow."""
        if name in self.modules:
            raise ImportError(
                f"{name} belongs to another kernel, and a kernel that is measured runs its own "
                "code; one that is made of others says requires=('kmeans_lab',) in its KernelSpec"
            )


def own_code_alone(name: str) -> str | None:
    """Let this process import no other kernel from now on; return one that it has imported."""
    spec = find_spec(name)
    if "kmeans_lab" in spec.requires:
        return None
    others = _Others(spec.modules)
    if not any(isinstance(finder, _Others) for finder in sys.meta_path):
        sys.meta_path.insert(0, others)
    return min(others.modules & {*sys.modules}, default=None)


def foreign_code(name: str, X: Array | SparseRows) -> str | None:
    """Return whose code runs in place of the kernel's own, or None."""
    other = own_code_alone(name)
    return other or find_foreign_code(*load_for(name, sparse=is_sparse(X)), X)


def fit(
    name: str, X: Array | SparseRows, n_clusters: int, settings: FitSettings, told: bool
) -> FitAnswer:
    """Run ``kmeans``, and report each iteration if that is requested."""
    own_code_alone(name)
    X = X.copy()  # in memory as a program has it
    callback = _say if told else None
    result = kmeans(X, n_clusters, kernel=name, callback=callback, **settings)
    return answer_of(result, X)


def _say(step: Iteration) -> None:
    say((step.n_iter, step.centers, step.labels, step.inertia, step.changed))


def answer_of(result: KMeansResult, X: Array | SparseRows) -> FitAnswer:
    """Return a child's report of a fit of X."""
    return {
        "centers": result.centers,
        "labels": result.labels,
        "inertia": result.inertia,
        "n_iter": result.n_iter,
        "converged": result.converged,
        "stop": result.stop,
        "seconds": result.seconds,
        "kernel": result.kernel,
        "mode": result.mode,
        "n_threads": result.n_threads,
        "rescored": result.rescored,
        "inputs": fingerprint(X),
    }

"""One library in a process of its own: a request per line on stdin, an answer per line on stdout.

``python -m bench.peers.worker NAME --threads T`` is started by ``bench.peers.process``. Requests
and answers are JSON objects; arrays are handed over as .npy files. An answer with "error" says
what went wrong, and the process stays alive where it can.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any, Literal, TextIO

from bench.peers import POOL_VARIABLES
from bench.peers.answers import Called, Draw, Fit, Hello, Pool, Prepared, Saved, Turn
from bench.peers.base import LeftOut


class Worker:
    """Answers requests about one library; see the methods named ``do_…``."""

    def __init__(self, name: str, threads: int) -> None:
        self.name, self.threads = name, threads
        self.library: Any = None
        self.given: dict[str, Any] = {}  # X, an array or a sparse one of SciPy's, by dtype
        self.data: dict[str, tuple[Any, Any]] = {}  # what the library takes, and the start
        self.side: Any = None
        self.folder = Path()
        self.certified: dict[tuple[str, int], Any] = {}  # centers by dtype and iterations

    def do_hello(self) -> Hello:
        """Import the library and say what it is."""
        from bench.peers.libraries import open_library, version_of

        self.library = library = open_library(self.name, self.threads)
        return {
            "dtypes": list(library.dtypes),
            "exact": library.exact,
            "own_start": library.own_start,
            "sparse": library.sparse,
            "remark": library.remark,
            "version": version_of(library),
            "pools": _pools(),
            "threads_set": library.threads_set(),
        }

    def do_load(self, folder: str, dtype: str) -> dict[str, object]:
        """Map X and the starting centers; a private view, so that no library can harm another."""
        import numpy as np

        self.folder = Path(folder)
        self.given[dtype] = self._read(dtype, "c")
        start = np.load(self.folder / f"start-{dtype}.npy")
        self.data[dtype] = self.library.accept(self.given[dtype]), start
        return {}

    def do_fit(self, dtype: str, n_iter: int, save: str) -> Fit:
        """Fit once and save what came out."""
        X, start = self.data[dtype]
        model, seconds, _ = clocked(self.library.train, X, start.copy(), n_iter)
        self.certified[dtype, n_iter] = self.library.read(model, X).centers
        return {"seconds": seconds, "pools": _pools(), **self._saved(model, dtype, save)}

    def do_turn(self, dtype: str, few: int, many: int, repeats: int, save: str) -> Turn:
        """Time fits of few and of many iterations in alternation; the last result is saved."""
        X, start = self.data[dtype]
        train, read = self.library.train, self.library.read
        train(X, start.copy(), few)  # wakes caches and thread pools up
        times: dict[str, list[float]] = {"few": [], "many": []}
        counts, cpu, model, strayed = set(), 0.0, None, 0
        for _ in range(repeats):
            for key, n_iter in (("few", few), ("many", many)):
                model = None  # releasing the last result is no part of the next fit
                model, seconds, spent = clocked(train, X, start.copy(), n_iter)
                times[key].append(seconds)
                cpu += spent
                outcome = read(model, X)
                counts.add((n_iter, outcome.n_iter))
                strayed += not _same(outcome.centers, self.certified[dtype, n_iter], dtype)
        wall = sum(times["few"]) + sum(times["many"])
        return {
            "few": times["few"],
            "many": times["many"],
            "counts": sorted(counts, key=str),
            "busy": cpu / wall,
            "wall": wall,
            "strayed": strayed,
            **self._saved(model, dtype, save),
        }

    def do_draw(self, dtype: str, what: str, seed: int, repeats: int) -> Draw:
        """Time fits, or seedings, that choose their own starting centers; return the medians."""
        from bench.peers.referee import inertia_of

        (X, start), given = self.data[dtype], self.given[dtype]
        call = getattr(self.library, what)
        seeds = range(seed * repeats, (seed + 1) * repeats)
        drawn = [clocked(call, X, len(start), each)[:2] for each in seeds]
        results = [result for result, _ in drawn]
        counts = [result[1] for result in results if isinstance(result, tuple)]
        centers = [result[0] if isinstance(result, tuple) else result for result in results]
        return {
            "seconds": median(seconds for _, seconds in drawn),
            "inertia": median(inertia_of(given, each) for each in centers),
            "n_iter": median(counts) if counts else None,
        }

    def do_prepare(self, call: str, folder: str, n_iter: int) -> Prepared:
        """Make a whole call ready, on the data that lie in the folder."""
        from bench.peers.calls.sides import Given, Side

        if self.side is None:
            self.side = Side(self.name, self.threads)
        self.side.prepare(call, Given(Path(folder), n_iter))
        return {"pools": _pools(), "isa": self.side.isa()}

    def do_call(self, call: str, seed: int, repeats: int, save: str) -> Called:
        """Time a whole call that was prepared."""
        return self.side.call(call, seed, repeats, Path(save), clocked)  # type: ignore[no-any-return]

    def _saved(self, model: Any, dtype: str, save: str) -> Saved:
        import numpy as np

        X = self.data[dtype][0]
        outcome = self.library.read(model, X)
        np.save(self.folder / f"{save}-centers.npy", np.asarray(outcome.centers))
        if outcome.labels is not None:
            np.save(self.folder / f"{save}-labels.npy", np.asarray(outcome.labels).ravel())
        pairs = zip(_parts(self.given[dtype]), _parts(self._read(dtype, "r")), strict=True)
        return {
            "n_iter": outcome.n_iter,
            "inertia": outcome.inertia,
            "labels": outcome.labels is not None,
            "modified": not all(np.array_equal(own, original) for own, original in pairs),
            "refused": outcome.refused,
        }

    def _read(self, dtype: str, mode: Literal["c", "r"]) -> Any:
        import numpy as np

        dense = self.folder / f"X-{dtype}.npy"
        if dense.exists():
            return np.load(dense, mmap_mode=mode)
        from scipy.sparse import load_npz

        return load_npz(dense.with_suffix(".npz"))


def _parts(X: Any) -> tuple[Any, ...]:
    """Return the arrays that hold X."""
    return (X.data, X.indices, X.indptr) if hasattr(X, "indptr") else (X,)


def clocked(call: Callable[..., Any], *arguments: Any) -> tuple[Any, float, float]:
    """Return a call's result, its wall seconds, and the processor seconds of all its threads."""
    cpu, wall = process_time(), perf_counter()
    result = call(*arguments)
    wall = perf_counter() - wall
    return result, wall, process_time() - cpu


def _same(centers: Any, certified: Any, dtype: str) -> bool:
    """Tell whether two fits ended alike; the order of a parallel sum may differ."""
    within = {"float64": 1e-6, "float32": 1e-3}[dtype] * abs(certified).max()
    return bool(abs(centers - certified).max() <= within)


def _pools() -> list[Pool]:
    import threadpoolctl

    found = threadpoolctl.threadpool_info()
    return [
        {
            "api": p["internal_api"],
            "threads": p["num_threads"],
            "blas": f"{p['version']} ({p.get('architecture')})" if p["user_api"] == "blas" else "",
        }
        for p in found
    ]


def serve(worker: Worker, requests: TextIO, answers: TextIO) -> None:
    """Answer until there are no more requests."""
    for line in requests:
        request = json.loads(line)
        try:
            answer = getattr(worker, f"do_{request.pop('do')}")(**request)
        except ImportError as error:
            answer = {"error": str(error), "kind": "unavailable"}
        except LeftOut as error:
            answer = {"error": str(error), "kind": "left out"}
        except Exception as error:  # whatever a library raises is the reason of its row
            unavailable = type(error).__name__ == "KernelUnavailable"
            sentence = str(error) if unavailable else f"{type(error).__name__}: {error}"
            answer = {"error": sentence, "kind": "unavailable" if unavailable else "failed"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.peers.worker")
    parser.add_argument("name")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    # Importing bench held every pool at one thread; nothing that has a pool is loaded yet.
    os.environ.update(dict.fromkeys(POOL_VARIABLES, str(options.threads)))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not end up between the answers
    serve(Worker(options.name, options.threads), sys.stdin, answers)


if __name__ == "__main__":
    main()

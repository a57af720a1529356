"""One lane of a race, in its own process: prepare, prove, time, show.

Interpreter, imports, compilation and proofs come before the clock starts. Fits are timed without a
callback; only a fit that takes longer than a second, and every fit of a race at once, is watched
and timed in one, less the seconds that the watching took.
"""

import gc
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from multiprocessing.connection import Connection
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from kmeans_lab.certify import CertificateError
from kmeans_lab.driver import kmeans
from kmeans_lab.measure.calls import seconds_of_assign
from kmeans_lab.measure.command import quiet_pools
from kmeans_lab.measure.explain import FLOPS
from kmeans_lab.presets import PRESETS, Workload
from kmeans_lab.registry import find_spec, known_as, load_kernel
from kmeans_lab.result import Iteration, KMeansResult
from kmeans_lab.web.proof import Proof, prove, refuse_other_bytes
from kmeans_lab.web.scene import Array, Plane
from kmeans_lab.web.workers import pin

#: Repeats end after so many fits, or so many seconds.
_FITS, _BUDGET = 5, 1.0
#: A fit that is expected to take longer is watched and timed at once.
_LONG = 1.0
#: Seconds between two frames of a race.
_PAUSE = 1 / 30


@dataclass
class Frames:
    """A callback that keeps or sends pictures, and knows what it cost."""

    send: Callable[[dict[str, Any]], Any]
    plane: Plane
    drawn: Any
    pause: float = 0.0
    cost: float = 0.0
    begin: float = field(default_factory=perf_counter)
    _due: float = 0.0
    _last: tuple[Iteration, float] | None = None

    def __call__(self, step: Iteration) -> bool:
        """Take a picture, where one is due."""
        now = perf_counter()
        at = now - self.begin - self.cost
        self._last = None
        if now >= self._due:
            self._due = now + self.pause
            self._show(step, at)
        else:
            self._last = step, at
        self.cost += perf_counter() - now
        return False

    def finish(self) -> None:
        """Show the last iteration, if it was not due."""
        if self._last is not None:
            self._show(*self._last)

    def _show(self, step: Iteration, at: float) -> None:
        assert step.labels is not None  # a callback is always given the labels
        small = "u1" if len(step.centers) <= 256 else "<u2"
        self.send(
            {
                "n_iter": step.n_iter,
                "centers": b64encode(self.plane.places(step.centers).tobytes()).decode(),
                "labels": b64encode(step.labels[self.drawn].astype(small).tobytes()).decode(),
                "inertia": step.inertia,
                "changed": step.changed,
                "seconds": at,
            }
        )


class Lane:
    """A fit of one kernel on the shared rows; ``run`` does everything in order."""

    def __init__(self, connection: Connection, order: dict[str, Any], X: Array, out: Any) -> None:
        self.connection, self.order, self.X, self.out = connection, order, X, out
        self.name = known_as(order["place"])
        self.spec = find_spec(self.name)
        own = self.spec.threading == "own" or order["threads"] == 1
        self.settings: dict[str, Any] = order["settings"] | {
            "init": order["centers"],
            "n_threads": order["threads"],
            "mode": "serial" if own else "threads",
        }

    def run(self) -> None:
        """Send states, frames and the result."""
        self._say("preparing", "compiles and proves itself" if self._jits else "proves itself")
        load_kernel(self.name)
        k = len(self.order["centers"])
        warm = self.settings | {"max_iter": 1, "init": "first"}
        kmeans(self.X[: max(64, k)], k, kernel=self.name, **warm)  # compiles, where it does
        workload = Workload(PRESETS["smoke"], self.X, self.order["centers"])
        expected = seconds_of_assign(self.name, workload)
        proof = prove(self.X, k, self.settings, self.name, expected)
        if self.order["mode"] == "race":
            self.connection.send(("ready", {}))
            self.connection.recv()  # all others are ready, too
            self._say("running")
            result, seconds = self._watched(_PAUSE, self._send_frame)
            self._finish(result, [seconds], [result], proof, watched=True)
            return
        self._say("running")
        if expected * self.settings["max_iter"] > _LONG:
            result, seconds = self._watched(_PAUSE, self._send_frame)
            if seconds > _LONG:
                self._finish(result, [seconds], [result], proof, watched=True)
                return
        results, spent = self._timed()
        self._finish(results[-1], spent, results, proof, watched=False)
        self._replay(median(spent))

    @property
    def _jits(self) -> bool:
        return self.spec.compiles_on_first_call

    def _say(self, state: str, sentence: str = "") -> None:
        self.connection.send(("lane", {"state": state, "sentence": sentence}))

    def _send_frame(self, frame: dict[str, Any]) -> None:
        self.connection.send(("frame", frame))

    def _fit(self, **more: Any) -> KMeansResult:
        k = len(self.order["centers"])
        return kmeans(self.X, k, kernel=self.name, **self.settings, **more)

    def _timed(self) -> tuple[list[KMeansResult], list[float]]:
        """Fit until there is enough; a collection of garbage belongs to nobody's time."""
        results: list[KMeansResult] = []
        spent: list[float] = []
        gc.collect()
        gc.disable()
        while len(spent) < _FITS and sum(spent) < _BUDGET:
            start = perf_counter()
            results.append(self._fit())
            spent.append(perf_counter() - start)
        gc.enable()
        return results, spent

    def _watched(
        self, pause: float, send: Callable[[dict[str, Any]], Any]
    ) -> tuple[KMeansResult, float]:
        """Fit once with pictures; return the seconds without them."""
        gc.collect()
        frames = Frames(send, self.order["plane"], self.order["drawn"], pause)
        frames.begin = start = perf_counter()
        result = self._fit(callback=frames)
        seconds = perf_counter() - start - frames.cost
        frames.finish()
        update = max(0.0, result.seconds["update"] - frames.cost)  # the driver shows it there
        return replace(result, seconds=result.seconds | {"update": update}), seconds

    def _replay(self, seconds: float) -> None:
        """Send every iteration, at the pace that was measured without a watcher."""
        kept: list[dict[str, Any]] = []
        _, watched = self._watched(0.0, kept.append)
        for frame in kept:
            self._send_frame(frame | {"seconds": frame["seconds"] * seconds / watched})

    def _finish(
        self,
        result: KMeansResult,
        spent: list[float],
        results: list[KMeansResult],
        proof: Proof,
        *,
        watched: bool,
    ) -> None:
        """Judge what came out, leave the labels for the others, and send the result."""
        try:
            proof = proof.with_results(self.X, results)
            refuse_other_bytes(self.X, self.order["inputs"])
        except CertificateError as error:
            proof = Proof(False, str(error), 0)
        np.frombuffer(self.out, np.int32, count=len(self.X))[:] = result.labels
        names = results[0].seconds
        phases = {name: median(it.seconds[name] for it in results) for name in names}
        data = {
            "seconds": median(spent),
            "n_iter": result.n_iter,
            "inertia": result.inertia,
            "stop": result.stop,
            "phases": phases,
            "share": self._share(phases["assign"], result.n_iter),
            "certificate": proof.to_dict(),
            "repeats": spent,
            "watched": watched,
            "labels_hash": blake2b(result.labels.tobytes(), digest_size=16).hexdigest(),
        }
        self.connection.send(("result", data))

    def _share(self, seconds: float, n_iter: int) -> float | None:
        """Return the part of the roofline that assign reaches, were all pairs computed."""
        roof = self.order["roof"]
        if roof is None or seconds <= 0:
            return None
        peak, read = roof
        n, d = self.X.shape
        per_value = FLOPS[self.spec.arithmetic] * len(self.order["centers"])
        limit = min(peak, read * per_value / self.X.itemsize)
        return float(per_value * n * d * n_iter / seconds / limit)


def run_lane(connection: Connection, order: dict[str, Any], memory: Any, out: Any) -> None:
    """Run one lane in this process; what goes wrong becomes a sentence."""
    pin(order["cores"])
    shape, dtype = order["shape"], order["dtype"]
    # A copy of its own: memory as a program has it, and nobody else's on the same pages.
    X: Array = np.frombuffer(memory, dtype=dtype, count=shape[0] * shape[1]).reshape(shape).copy()
    try:
        with quiet_pools():
            Lane(connection, order, X, out).run()
    except CertificateError as error:
        connection.send(("failed", f"{order['name']} is wrong: {error}; it gets no number"))
    except MemoryError:
        connection.send(("failed", f"{order['name']} ran out of memory; use fewer rows"))
    except Exception as error:  # whatever a kernel raises is its lane's business alone
        connection.send(("failed", f"{order['name']} failed: {type(error).__name__}: {error}"))
    else:
        connection.send(("finished", {}))

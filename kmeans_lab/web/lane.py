"""One lane of a race, in its own process: prepare, prove, time, show.

Interpreter, imports, compilation and proofs come before the clock starts. Fits are timed without a
callback, in the turns that the race runner gives; only a fit that takes longer than a second, and
every fit of a race at once, is watched and timed in one, less the seconds that the watching took.
"""

import gc
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from multiprocessing.connection import Connection
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from kmeans_lab.driver import kmeans
from kmeans_lab.isolation.pools import quiet_pools
from kmeans_lab.kernel import Array
from kmeans_lab.measure.calibration import seconds_of_assign
from kmeans_lab.measure.explain import FLOPS
from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.presets import PRESETS, FitSettings, Workload
from kmeans_lab.registry import find_spec, known_as, load_kernel
from kmeans_lab.result import PHASES, KMeansResult
from kmeans_lab.web.certificates import Proof, prove, refuse_other_bytes
from kmeans_lab.web.fits import Fits
from kmeans_lab.web.frames import Frame, Frames
from kmeans_lab.web.race_data import RaceData
from kmeans_lab.web.worker_process import pin

#: A fit that is expected to take longer is watched and timed at once.
_LONG = 1.0
#: Seconds between two frames of a race.
_PAUSE = 1 / 30


@dataclass(frozen=True, slots=True, eq=False)
class LaneOrder:
    """The task that the process of a lane is given.

    Attributes
    ----------
    name, place : str
        The kernel, and what a process finds it by.
    threads : int
    mode : {"measure", "race"}
    cores : list of int
        Those that it keeps to; all of them where empty.
    shape, dtype : (int, int), str
        Of the rows.
    roof : (float, float) or None
        Operations and bytes read per second of so many threads.
    settings : dict
        The stop rule, as ``kmeans`` takes it.
    data : RaceData
    """

    name: str
    place: str
    threads: int
    mode: str
    cores: list[int]
    shape: tuple[int, int]
    dtype: str
    roof: tuple[float, float] | None
    settings: FitSettings
    data: RaceData


class Lane:
    """A fit of one kernel on the shared rows; ``run`` does everything in order."""

    def __init__(self, connection: Connection, order: LaneOrder, X: Array, out: Any) -> None:
        self.connection, self.order, self.X, self.out = connection, order, X, out
        self.data = order.data
        self.name = known_as(order.place)
        self.spec = find_spec(self.name)
        own = self.spec.threading == "own" or order.threads == 1
        self.settings = order.settings | {
            "init": self.data.centers,
            "n_threads": order.threads,
            "mode": "serial" if own else "threads",
        }
        self.fits = Fits(self._fit, X, self.settings)
        self.watched = False

    def run(self) -> None:
        """Send states, frames and the result."""
        self._say("preparing", "compiles and proves itself" if self._jits else "proves itself")
        load_kernel(self.name)
        X, k = self.X.copy(), len(self.data.centers)  # of its own, as a program has it
        warm = self.settings | {"max_iter": 1, "init": "first"}
        kmeans(X[: max(64, k)], k, kernel=self.name, **warm)  # compiles, where it does
        expected = seconds_of_assign(self.name, Workload(PRESETS["smoke"], X, self.data.centers))
        proof = prove(X, k, self.settings, self.name, expected)
        refuse_other_bytes(X, self.data.inputs)
        self.connection.send(("ready", {}))
        if self.order.mode == "race":
            self.connection.recv()  # all others are ready, too
            self._say("running")
            self._watched(0.0)
        else:
            del X
            self._obey(may_be_long=expected * self.order.settings["max_iter"] > _LONG)
        self._finish(proof)

    def _obey(self, *, may_be_long: bool) -> None:
        """Fit whenever a turn is received, as (round, seconds of fits), until None is received."""
        gc.freeze()  # existing objects need not be scanned in every turn
        first = True
        while (turn := self.connection.recv()) is not None:
            if first:
                self._say("running")
            if first and may_be_long and self._watched(_LONG):
                spent = self.fits.seconds
            else:
                number, budget = turn
                spent = self.fits.turn(budget, number)
            first = False
            self.connection.send(("turn", {"seconds": median(spent), "watched": self.watched}))

    @property
    def _jits(self) -> bool:
        return self.spec.compiles_on_first_call

    def _say(self, state: str, sentence: str = "") -> None:
        self.connection.send(("lane", {"state": state, "sentence": sentence}))

    def _send_frame(self, frame: Frame) -> None:
        self.connection.send(("frame", frame))

    def _fit(self, X: Array, settings: FitSettings, callback: Frames | None = None) -> KMeansResult:
        k = len(self.data.centers)
        return kmeans(X, k, kernel=self.name, callback=callback, **settings)

    def _watched(self, hold: float) -> bool:
        """Fit once with pictures; the fit counts, less the watching, if it is longer than hold."""
        frames = Frames(self._send_frame, self.data.plane, self.data.drawn, _PAUSE, hold=hold)
        with self.fits.clock():
            result, seconds = self._fit_with(frames)
        if seconds <= hold:
            return False
        frames.release()
        self.watched = True
        self.fits.result = result
        self.fits.keep(result, seconds, 0)
        return True

    def _fit_with(self, frames: Frames) -> tuple[KMeansResult, float]:
        """Fit once with pictures; return the seconds without them."""
        X = self.X.copy()
        gc.collect()
        frames.begin = start = perf_counter()
        result = self._fit(X, self.settings, callback=frames)
        seconds = perf_counter() - start - frames.cost
        frames.finish()
        refuse_other_bytes(X, self.data.inputs)
        update = max(0.0, result.seconds["update"] - frames.cost)  # the driver shows it there
        return replace(result, seconds=result.seconds | {"update": update}), seconds

    def _replay(self, seconds: float) -> None:
        """Send every iteration, at the pace that was measured without a watcher."""
        kept: list[Frame] = []
        _, watched = self._fit_with(Frames(kept.append, self.data.plane, self.data.drawn))
        for frame in kept:
            self._send_frame(frame | {"seconds": frame["seconds"] * seconds / watched})

    def _finish(self, proof: Proof) -> None:
        """Judge what came out, leave the labels for the others, and send the result."""
        fits, result = self.fits, self.fits.result
        assert result is not None  # it had its turn
        try:
            proof = proof.with_result(self.X, result, fits.wrong)
            refuse_other_bytes(self.X, self.data.inputs)
        except CertificateError as error:
            proof = Proof(False, str(error), 0)
        np.frombuffer(self.out, np.int32, count=len(self.X))[:] = result.labels
        phases = {name: fits.phase(name) for name in PHASES}
        seconds = median(fits.seconds)
        data = {
            "seconds": seconds,
            "n_iter": result.n_iter,
            "inertia": result.inertia,
            "stop": result.stop,
            "phases": phases,
            "share": self._share(phases["assign"], result.n_iter),
            "certificate": asdict(proof),
            "repeats": fits.seconds,
            "rounds": fits.rounds,
            "waited": fits.waited,
            "watched": self.watched,
            "labels_hash": blake2b(result.labels.tobytes(), digest_size=16).hexdigest(),
        }
        self.connection.send(("result", data))
        if not self.watched:
            self._replay(seconds)

    def _share(self, seconds: float, n_iter: int) -> float | None:
        """Return the part of the roofline that assign reaches, were all pairs computed."""
        roof = self.order.roof
        if roof is None or seconds <= 0:
            return None
        peak, read = roof
        n, d = self.X.shape
        per_value = FLOPS[self.spec.arithmetic] * len(self.data.centers)
        limit = min(peak, read * per_value / self.X.itemsize)
        return float(per_value * n * d * n_iter / seconds / limit)


def run_lane(connection: Connection, order: LaneOrder, memory: Any, out: Any) -> None:
    """Run one lane in this process; what goes wrong becomes a sentence."""
    pin(order.cores)
    n, d = order.shape
    X: Array = np.frombuffer(memory, dtype=order.dtype, count=n * d).reshape(n, d)
    X.flags.writeable = False  # all lanes have it; each fit is given a copy
    try:
        with quiet_pools():
            Lane(connection, order, X, out).run()
    except CertificateError as error:
        connection.send(("failed", f"{order.name} is wrong: {error}; it gets no number"))
    except MemoryError:
        connection.send(("failed", f"{order.name} ran out of memory; use fewer rows"))
    except Exception as error:  # whatever a kernel raises is its lane's business alone
        connection.send(("failed", f"{order.name} failed: {type(error).__name__}: {error}"))
    else:
        connection.send(("finished", {}))

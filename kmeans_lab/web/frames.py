"""Pictures of a fit, iteration by iteration."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite
from time import perf_counter
from typing import Any, TypedDict

from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.result import Iteration
from kmeans_lab.web.race_data import Plane


class Frame(TypedDict):
    """A picture of one iteration, and its numbers."""

    n_iter: int
    centers: str  # places, base64
    labels: str  # of the rows that are drawn, base64
    inertia: float
    changed: int
    seconds: float


@dataclass
class Frames:
    """A callback that sends pictures and records the seconds that this took.

    Attributes
    ----------
    send : callable
        Given each picture.
    pause : float
        Seconds between two pictures.
    hold : float
        Pictures of the first ``hold`` seconds are kept until the fit has taken longer than that.
        One that does not is shown otherwise, and each of its iterations is to be seen once.
    """

    send: Callable[[Frame], object]
    plane: Plane
    drawn: Any
    pause: float = 0.0
    hold: float = 0.0
    cost: float = 0.0
    begin: float = field(default_factory=perf_counter)
    _held: list[Frame] | None = None
    _due: float = 0.0
    _last: tuple[Iteration, float] | None = None

    def __post_init__(self) -> None:
        if self.hold > 0:
            self._held = []

    def __call__(self, step: Iteration) -> bool:
        """Take a picture, where one is due."""
        now = perf_counter()
        at = now - self.begin - self.cost
        self._last = None
        if at > self.hold:
            self.release()
        if now >= self._due:
            self._due = now + self.pause
            self._show(step, at)
        else:
            self._last = step, at
        self.cost += perf_counter() - now
        return False

    def release(self) -> None:
        """Send the pictures kept so far, and from now on keep none."""
        for picture in self._held or ():
            self.send(picture)
        self._held = None

    def finish(self) -> None:
        """Show the last iteration, if it was not due."""
        if self._last is not None:
            self._show(*self._last)

    def _show(self, step: Iteration, at: float) -> None:
        assert step.labels is not None  # a callback is always given the labels
        if not isfinite(step.inertia):
            raise CertificateError(f"iteration {step.n_iter}: the inertia is {step.inertia}")
        small = "u1" if len(step.centers) <= 256 else "<u2"
        picture: Frame = {
            "n_iter": step.n_iter,
            "centers": b64encode(self.plane.places(step.centers).tobytes()).decode(),
            "labels": b64encode(step.labels[self.drawn].astype(small).tobytes()).decode(),
            "inertia": step.inertia,
            "changed": step.changed,
            "seconds": at,
        }
        if self._held is None:
            self.send(picture)
        else:
            self._held.append(picture)

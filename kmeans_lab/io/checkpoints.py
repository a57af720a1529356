"""How far a long fit has come, in a file: a fit that was ended goes on from there.

The file is JSON, replaced as a whole after each pass that ends a second or more after the last
time; its arrays are base64. What a fit finds from there on has the bits that it would have had.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import Any

import numpy as np

from kmeans_lab.io.errors import Refused, refusing_damage
from kmeans_lab.io.paths import refuse_unreadable
from kmeans_lab.result import Iteration

_FORMAT = "kmeans_lab progress 1"
#: Seconds between two savings: a pass that takes less is not worth one.
_EVERY = 1.0


@dataclass(slots=True, eq=False)
class Progress:
    """The state of a fit between two iterations.

    Attributes
    ----------
    repetition : int
        Which of n_init, from 0 on.
    n_iter : int
        Iterations of this repetition that have been done.
    old, new : ndarray of shape (n_clusters, n_features)
        Centers that rows were last assigned to, and those that follow.
    generator : dict
        The state of the random generator.
    history : list
        Of this repetition: n_iter, centers, inertia and changed of each iteration.
    best : dict or None
        The outcome of the best repetition so far, without its labels.
    """

    repetition: int
    n_iter: int
    old: Any
    new: Any
    generator: dict[str, Any]
    history: list[Any] = field(default_factory=list)
    best: dict[str, Any] | None = None


class Checkpoints:
    """The file that a fit's progress goes to, and what was found in it.

    Parameters
    ----------
    path : path-like
        Where there is no such file yet, a fit begins at its beginning.
    identity : dict
        What a fit must have in common with the one whose progress the file holds.

    Raises
    ------
    Refused
        The file is damaged, of another fit, or in no folder that can be written to.
    """

    def __init__(self, path: str | os.PathLike[str], identity: dict[str, Any]) -> None:
        self._path, self._identity, self._saved = Path(path), identity, monotonic()
        folder = self._path.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise Refused(
                f"resume={str(path)!r} cannot be written: {folder} must be a folder that can be "
                "written to; make it, or choose another"
            )
        self.found = self._read() if self._path.exists() else None

    def _read(self) -> Progress:
        refuse_unreadable(self._path)
        remedy = "give resume another name or, if it is the progress of a fit, remove it"
        with refusing_damage(self._path, remedy):
            told = json.loads(self._path.read_text(encoding="ascii"), object_hook=_decoded)
            if told.pop("format") != _FORMAT:
                raise ValueError("another format")
            identity = told.pop("identity")
            progress = Progress(**told)
        for name, value in self._identity.items():
            if identity.get(name) != value:
                raise Refused(
                    f"{self._path} holds the progress of another fit: its {name} was "
                    f"{identity.get(name)!r} and is {value!r}; give the same arguments and rows, "
                    "or remove it to begin again"
                )
        return progress

    def save(self, make: Callable[[], Progress]) -> None:
        """Replace the file, if it is time to.

        Raises
        ------
        Refused
            It cannot be written; what was there before is kept.
        """
        if monotonic() - self._saved < _EVERY:
            return
        told = {"format": _FORMAT, "identity": self._identity} | asdict(make())
        temporary = self._path.with_name(f".{self._path.name}.{token_hex(4)}.tmp")
        try:
            with temporary.open("x", encoding="ascii") as file:
                json.dump(told, file, default=_encoded)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            raise Refused(
                f"progress cannot be written to {self._path} ({error.strerror}); make room and fit "
                "again with the same resume, which goes on from what was written before"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        self._saved = monotonic()

    def remove(self) -> None:
        """Remove the file, when the fit has come to its end."""
        self._path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, eq=False)
class Keep:
    """What keeps the progress of a repetition.

    Attributes
    ----------
    checkpoints : Checkpoints
    repetition : int
    best : Run or None
        The outcome of the best repetition so far.
    draws : callable
        Returns the random generator.
    """

    checkpoints: Checkpoints
    repetition: int
    best: Any
    draws: Callable[[], np.random.Generator]

    def __call__(self, n_iter: int, old: Any, new: Any, seen: list[Iteration]) -> None:
        """Save the state after an iteration, if it is time to."""
        self.checkpoints.save(lambda: self._progress(n_iter, old, new, seen))

    def _progress(self, n_iter: int, old: Any, new: Any, seen: list[Iteration]) -> Progress:
        best = self.best and {
            **{name: getattr(self.best, name) for name in _OUTCOME},
            "history": [_in_line(it) for it in self.best.history],
        }
        state: Any = self.draws().bit_generator.state
        history = [_in_line(it) for it in seen]
        return Progress(self.repetition, n_iter, old, new, dict(state), history, best)


_OUTCOME = ("centers", "inertia", "n_iter", "converged", "stop")


def _in_line(it: Iteration) -> tuple[Any, ...]:
    return it.n_iter, it.centers, None, it.inertia, it.changed


def identity_of(
    X: Any, variance: float, rule: Any, *, init: Any, sample_weight: Any
) -> dict[str, Any]:
    """Return what a fit must have in common with the one whose progress it goes on from.

    Of the rows: their shape, dtype, variance, and the first and the last. Of arrays and functions:
    a digest of their values, and that they are functions.

    Raises
    ------
    Refused
        The stop rule is none of the package's: nobody can save its state.
    """
    if type(rule).__module__ != "kmeans_lab.stopping":
        raise Refused(
            f"resume saves no state of a stop rule like {type(rule).__name__}; use one of "
            "kmeans_lab.stopping, or leave resume out"
        )
    ends = _in_words(X[[0, len(X) - 1]])
    return {
        "n_samples": len(X),
        "n_features": X.shape[1],
        "dtype": X.dtype.name,
        "rows": f"variance {variance!r}, ends {ends}",
        "stop": repr(rule),
        "init": _in_words(init),
        "sample_weight": _in_words(sample_weight),
    }


def _in_words(value: Any) -> str:
    if value is None or isinstance(value, str):
        return str(value)
    if callable(value):
        return "a function"
    return f"array {sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]}"


def _encoded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        values = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"dtype": value.dtype.str, "shape": value.shape, "base64": values}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a file of progress")


def _decoded(told: dict[str, Any]) -> Any:
    if told.keys() != {"dtype", "shape", "base64"}:
        return told
    values = np.frombuffer(base64.b64decode(told["base64"], validate=True), told["dtype"])
    return values.reshape(told["shape"]).copy()

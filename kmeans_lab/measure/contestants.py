"""Contestants of a paired run: a kernel, the process that runs it, and what was measured of it."""

from dataclasses import dataclass, field

from kmeans_lab.isolation.interpreters import Interpreter
from kmeans_lab.isolation.messages import Description
from kmeans_lab.measure.certify import Certificate
from kmeans_lab.measure.schema import StartCosts, State
from kmeans_lab.measure.statistics import Interval, ratio
from kmeans_lab.measure.timed import TimedChild, Trial
from kmeans_lab.result import PHASES

#: The fewest rounds that slow kernels are left with.
FEWEST = 6
#: A fit that takes more seconds joins every second round only, or every fourth, and so on.
SLOW = 0.3
#: A fit that takes longer runs in the first round only: a ratio without an interval.
LONG = 20.0


@dataclass
class Contestant:
    """A kernel in the run, and what was measured of it.

    Attributes
    ----------
    name : str
        The kernel's, with ``" again"`` for the baseline's twin, and with ``" @3.13t"`` in another
        interpreter of this name.
    kernel : str
        A name of the registry.
    interpreter : Interpreter or None
        What it runs in, where that is not the interpreter of the command.
    lock : bool or None
        Whether the interpreter's lock was on in its process, after the import and after a whole
        fit; None where that was not found out.
    build, isa : str
        How the kernel was compiled there, and the instruction set that it chose; empty without.
    every : int
        The contestant joins one round in ``every``.
    state : {"ready", "valid", "INVALID", "unavailable", "broken", "left out"}
        Only "valid" has a number.
    why : str
        What is wrong, where something is.
    seconds : list of float
        Wall time of each whole fit.
    rounds : list of int
        In which round each of them ran, from 0.
    phases : dict of str to list of float
        The driver's own seconds of each fit, phase by phase.
    certificate : Certificate or None
        Of the fit that was judged, on X as it is.
    file : str
        Where its module lies.
    cores : float or None
        How many cores were busy in its timed fits, on average.
    trips : list of float
        Seconds of each fit by this process's clock, with the way to the child and back.
    child, trial : TimedChild and Trial, or None
        The process that runs its fits, and these, during the run.
    behind : bool
        It was left out because a fit takes far longer than the baseline's.
    start : dict or None
        Seconds before the first fit, measured in processes of their own (see
        ``calibration.start_costs``).
    """

    name: str
    kernel: str
    interpreter: Interpreter | None = None
    lock: bool | None = None
    build: str = ""
    isa: str = ""
    every: int = 1
    state: State = "ready"
    why: str = ""
    seconds: list[float] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    phases: dict[str, list[float]] = field(default_factory=lambda: {p: [] for p in PHASES})
    start: StartCosts | None = None
    certificate: Certificate | None = None
    file: str = ""
    trips: list[float] = field(default_factory=list)
    cores: float | None = None
    behind: bool = False
    child: TimedChild | None = field(default=None, repr=False)
    trial: Trial | None = field(default=None, repr=False)

    @property
    def code(self) -> tuple[str, str]:
        """The kernel and the name of its interpreter: the same for the baseline and its twin."""
        return self.kernel, self.interpreter.name if self.interpreter else ""

    @property
    def executable(self) -> str | None:
        """What starts its process; None for the interpreter of the command."""
        return self.interpreter.executable if self.interpreter else None

    def learn(self, told: Description) -> None:
        """Take over what its process says about the kernel."""
        self.file, self.lock = told["file"], told["lock"] if told["state"] == "ready" else None
        self.build, self.isa = told["build"] or "", told["isa"]

    def reject(self, state: State, why: str) -> None:
        """Take the contestant's number away, for good."""
        self.state, self.why = state, why
        self.seconds, self.rounds, self.trips = [], [], []
        self.phases = {p: [] for p in PHASES}

    def join_rounds(self, n_rounds: int, fewest: int = FEWEST) -> None:
        """Choose the rounds that the contestant joins by the seconds of its certified fit."""
        assert self.certificate is not None  # it is valid
        once = whole_seconds(self.certificate)
        # Not so rarely that too few rounds are left for an interval.
        most = n_rounds if once > LONG else max(1, n_rounds // fewest)
        # Powers of two: of two contestants, the rarer one meets the other in all of its rounds.
        while 2 * self.every <= most and once / self.every > SLOW:
            self.every *= 2

    def ratio_to(self, base: "Contestant", confidence: float) -> Interval | None:
        """Return the ratio of its times to those of another, from the rounds that both ran in.

        None for the other one itself, and where there are no such rounds.
        """
        at = dict(zip(base.rounds, base.seconds, strict=True))
        pairs = [(s, at[r]) for s, r in zip(self.seconds, self.rounds, strict=True) if r in at]
        if self is base or not pairs:
            return None
        return ratio([own for own, _ in pairs], [other for _, other in pairs], confidence)

    def replace_seconds(self, seconds: list[float]) -> None:
        """Replace the seconds by those of another clock; phases keep their shares."""
        wholes = [sum(parts) for parts in zip(*self.phases.values(), strict=True)]
        for phase, spent in self.phases.items():
            parts = zip(spent, seconds, wholes, strict=True)
            self.phases[phase] = [s * t / w if w > 0 else 0.0 for s, t, w in parts]
        self.seconds = seconds


def whole_seconds(certificate: Certificate) -> float:
    """Return what a certified fit took, without the judge."""
    spent = certificate.result.seconds
    return sum(spent.values()) - spent["update"]  # in which the judge spoke

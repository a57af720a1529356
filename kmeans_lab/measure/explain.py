"""Why a kernel is as fast as it is: its two steps against what the machine can do at most.

Everything is measured in one run, at the preset's starting centers: the limits, the steps, the
machine code behind them, the memory of a fit, and on request the instructions of each pair of row
and center. Where something cannot be determined, a reason is given instead.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.centering import middle_and_variance
from kmeans_lab.isolation.children import PATIENCE, Raised
from kmeans_lab.isolation.kernel_answers import own_code_alone
from kmeans_lab.kernel import CountsMet, Fused, Labels, read_only
from kmeans_lab.measure.calibration import prepared
from kmeans_lab.measure.certify import certify_assign, certify_update
from kmeans_lab.measure.counts import instructions_per_pair, lines_of_code, memory_of_a_fit
from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.measure.machinecode import CannotTell, MachineCode, of_kernel
from kmeans_lab.measure.roofline import Roof, measure_roof, timed
from kmeans_lab.measure.timed import LATE, TimedChild
from kmeans_lab.presets import Workload
from kmeans_lab.registry import find_spec, load_kernel

#: Seconds that the timed calls of a step may take, and how many calls at most.
_BUDGET, _CALLS = 1.0, 25
#: Floating-point operations of one pair of row and center, and one feature.
FLOPS = {"direct": 3, "expanded": 2}


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its time, its work, and what of the limits it uses.

    Attributes
    ----------
    seconds : float
        Median of a call.
    operations, bytes : float
        Nominal floating-point operations (of all pairs), and bytes of X.
    of_peak, of_read : float
        Shares of the machine's multiply-adds and of its bandwidth, were all pairs computed.
    """

    seconds: float
    operations: float
    bytes: float
    of_peak: float
    of_read: float


class TimedSteps(TypedDict):
    """What the child answers: labels and inertia of two calls, one update, seconds by step."""

    assigned: list[tuple[Labels, float]]
    sums: NDArray[np.float64]
    counts: NDArray[np.int64]
    seconds: dict[str, float]
    met: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known about a kernel on one preset; an unknown part is None and has a reason.

    Attributes
    ----------
    kernel, preset : str
    n_threads : int
    arithmetic : {"direct", "expanded"}
        How a distance is computed: Σ(x − c)², or ‖c‖² − 2x·c.
    steps : dict of str to Step
        "assign", "update" and, for kernels that have it, "assign_update".
    met : float
        Of all pairs of row and center, the share that the last call looked at.
    roof : Roof
    isa : str
        The instruction set that the kernel chose, where it chooses.
    code : MachineCode or None
    memory : int or None
        Bytes that a fit takes beyond X.
    instructions : float or None
        Per pair of row and center.
    lines : int or None
        Of source code that are neither blank nor comment.
    reasons : dict of str to str
        Why a part is None.
    """

    kernel: str
    preset: str
    n_threads: int
    arithmetic: str
    steps: dict[str, Step]
    met: float
    roof: Roof
    isa: str
    code: MachineCode | None
    memory: int | None
    instructions: float | None
    lines: int | None
    reasons: dict[str, str]

    def to_dict(self) -> dict[str, object]:
        """Return it as plain JSON types."""
        return asdict(self) | {"verdict": verdict(self)}


def explain(
    name: str, workload: Workload, preset: str, n_threads: int = 1, *, callgrind: bool = False
) -> Explanation:
    """Measure everything about one kernel.

    Raises
    ------
    CertificateError
        A step gives a wrong result: there is nothing to explain.
    KernelUnavailable
        The kernel, or the flagship, whose vectors measure the limits, is not there.
    """
    spec = find_spec(name)
    own = n_threads if spec.threading == "own" else 1
    X, centers = workload.X, workload.centers
    middle, _ = middle_and_variance(X)
    rows, centers = read_only(X - middle), read_only(centers - middle)
    roof = measure_roof(own)
    reasons: dict[str, str] = {}

    def unless_unknown(part: str, find: Callable[[], Any]) -> Any:
        try:
            return find()
        except CannotTell as error:
            reasons[part] = str(error)
            return None

    with TimedChild(name) as child:
        told = child.describe()
        child.patience = max(PATIENCE, LATE * child.seconds_of_assign(workload))
        steps, met = _time_steps(child, rows, centers, own, roof, FLOPS[spec.arithmetic])
        code = unless_unknown("code", lambda: _code(child, X.dtype.name, X.shape[1]))

    def count() -> float:
        if not callgrind:
            raise CannotTell("not asked for; --callgrind counts, and takes half a minute")
        return instructions_per_pair(name, rows[:2_000], centers, told["isa"])

    return Explanation(
        name,
        preset,
        own,
        spec.arithmetic,
        steps,
        met,
        roof,
        told["isa"],
        code,
        unless_unknown("memory", lambda: memory_of_a_fit(name, preset)),
        unless_unknown("instructions", count),
        unless_unknown("lines", lambda: lines_of_code(name, told["file"])),
        reasons,
    )


def _code(child: TimedChild, dtype: str, n_features: int) -> MachineCode:
    """Return the child's analysis of its kernel's code."""
    try:
        told = child.ask(_machine_code, child.name, dtype, n_features)
    except Raised as error:
        if CannotTell.__name__ in error.kinds:
            raise CannotTell(error.said) from None
        raise
    found: MachineCode = child.checked(lambda: MachineCode(**told))
    return found


def _machine_code(name: str, dtype: str, n_features: int) -> dict[str, object]:
    """Look at the kernel's code, in the child."""
    return asdict(of_kernel(name, dtype, n_features))


def _time_steps(
    child: TimedChild, rows: Any, centers: Any, n_threads: int, roof: Roof, flops: int
) -> tuple[dict[str, Step], float]:
    """Return the steps, judged and timed in the child, and the share of pairs that it looked at."""
    n, d = rows.shape
    k = len(centers)
    found: TimedSteps = child.ask(_timed_steps, child.name, rows, centers, n_threads)

    def judge() -> tuple[dict[str, float], float]:
        for labels, inertia in found["assigned"]:
            certify_assign(rows, centers, labels, inertia)
        certify_update(rows, found["assigned"][0][0], found["sums"], found["counts"])
        return {str(it): float(found["seconds"][it]) for it in found["seconds"]}, found["met"]

    spent, met = child.checked(judge)
    if (library := child.foreign_library()) is not None:
        raise CertificateError(f"code of {library} is in its process")
    operations = {"update": float(n) * d}
    peak = roof.operations[rows.dtype.name]
    steps = {}
    for name, seconds in spent.items():
        done = operations.get(name, float(flops) * n * d * k)
        of_peak, of_read = done / seconds / peak, rows.nbytes / seconds / roof.read
        steps[name] = Step(seconds, done, float(rows.nbytes), of_peak, of_read)
    return steps, float(met)


def _timed_steps(name: str, rows: Any, centers: Any, n_threads: int) -> TimedSteps:
    """Time the steps, in the child; the parent judges their results."""
    own_code_alone(name)
    kernel: Any = load_kernel(name)
    n, d = rows.shape
    k = len(centers)
    rows, centers = read_only(rows.copy()), read_only(centers.copy())
    given = prepared(kernel, rows, k, n_threads)
    labels = np.full(n, -1, np.int32)
    assigned = [(labels, kernel.assign(given, centers, labels))]
    sums, counts = np.zeros((k, d)), np.zeros(k, np.int64)
    kernel.update(given, labels, sums, counts)
    added, again = (sums.copy(), counts.copy()), labels.copy()
    calls: dict[str, Callable[[], Any]] = {
        "assign": lambda: kernel.assign(given, centers, again),
        "update": lambda: kernel.update(given, labels, sums, counts),
    }
    if isinstance(kernel, Fused):
        calls["assign_update"] = lambda: kernel.assign_update(given, centers, again, sums, counts)
    seconds = {}
    for step, call in calls.items():
        once = timed(call, 1)[0]
        seconds[step] = median(timed(call, int(np.clip(_BUDGET / max(once, 1e-9), 1, _CALLS))))
    assigned.append((again, kernel.assign(given, centers, again)))
    met = float(given.met) if isinstance(given, CountsMet) else 1.0
    return {
        "assigned": [(of, float(inertia)) for of, inertia in assigned],
        "sums": added[0],
        "counts": added[1],
        "seconds": seconds,
        "met": met,
    }


def verdict(it: Explanation) -> str:
    """Explain in two or three sentences why the kernel is as fast as it is."""
    assign = it.steps["assign"]
    said = [_of_the_code(it)]
    if it.met < 0.9:
        said.append(
            f"Bounds save it {1 - it.met:.0%} of all distances, so that it is "
            "faster than any kernel that computes them all could be."
            if assign.of_peak > 1
            else f"Bounds save it {1 - it.met:.0%} of all distances; the others, "
            "and the tests of the bounds, take the time."
        )
    elif max(assign.of_peak, assign.of_read) < 0.35:
        said.append(
            f"It uses {percent(assign.of_peak)} of the multiply-adds and "
            f"{percent(assign.of_read)} of the bandwidth available: neither of them limits it, its "
            "own instructions do."
        )
    elif assign.of_peak >= assign.of_read:
        said.append(
            f"It uses {assign.of_peak:.0%} of the multiply-adds that the machine can do: "
            "arithmetic is what limits it."
        )
    else:
        said.append(f"It reads X at {assign.of_read:.0%} of the bandwidth: memory limits it.")
    return " ".join([*said, *_of_the_update(it)])


def _of_the_update(it: Explanation) -> list[str]:
    """Explain what limits update, if a fit calls it."""
    fused, update = it.steps.get("assign_update"), it.steps.get("update")
    if fused is not None or update is None:
        return []
    share = update.seconds / (update.seconds + it.steps["assign"].seconds)
    limit = (
        f"it reads X at {update.of_read:.0%} of the bandwidth, which is its limit"
        if update.of_read >= 0.35
        else f"at {percent(update.of_read)} of the bandwidth its own instructions limit it"
    )
    return [f"Update takes {percent(share)} of an iteration; {limit}."]


def percent(share: float) -> str:
    """Return a share in percent; what is too small to show is called that."""
    return f"{share:.0%}" if share >= 0.01 else "less than 1%"


def _of_the_code(it: Explanation) -> str:
    if it.code is None:
        return (
            "Every number is a Python object, made and looked up one by one."
            if find_spec(it.kernel).threading == "gil"
            else "NumPy computes, one whole array after another."
        )
    if it.code.share < 0.75:
        return (
            "Its inner loop adds one number per instruction: a sum of floating-point numbers may "
            "not be reordered, which keeps compilers from using their vectors."
        )
    fused = ", multiplied and added at once" if it.code.fma else ""
    return f"Its inner loop computes with {it.code.widest} bits at a time{fused}."

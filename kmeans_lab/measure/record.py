"""Runs as JSON: raw samples, order, certificates and machine card, with a versioned schema.

``bench.json`` and ``scaling.json`` beside this file are the schemas. A run is compared with an
older one of the same machine only, and by intervals, never by a fixed percentage.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any, NoReturn, cast

from kmeans_lab.io.errors import MissingExtra, Refused
from kmeans_lab.io.paths import encoding_of
from kmeans_lab.isolation.interpreters import Interpreter, own_interpreter
from kmeans_lab.measure.contestants import Contestant
from kmeans_lab.measure.counts import digest_of
from kmeans_lab.measure.rounds import PairedRun
from kmeans_lab.measure.scaling import Growth, Scaling
from kmeans_lab.measure.schema import (
    BenchRecord,
    Card,
    ContestantRecord,
    GrowthRecord,
    InterpreterRecord,
    IntervalRecord,
    RoofRecord,
    RunRecord,
    ScalingRecord,
    WorkersRecord,
)
from kmeans_lab.registry import find_spec

FORMAT, VERSION = "kmeans-lab bench", 1
SCALING = "kmeans-lab scaling"  # the other format, of the same version
_MOST_BYTES = 8 << 20  # a run of all kernels on all presets has a quarter of one MiB
_SCHEMAS = Path(__file__).parent
_LEAST = 1e-30  # seconds; times are divided by
#: What has to agree before two runs are compared.
_SAME = ("cpu", "cores", "affinity", "system", "python", "numpy", "numba")


def to_dict(runs: list[PairedRun], card: Card) -> BenchRecord:
    """Return everything that is known about some runs, as plain JSON types."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "machine": card,
        "interpreters": interpreters_of(runs),
        "runs": [run_dict(run) for run in runs],
    }


def interpreters_of(runs: Sequence[PairedRun]) -> list[InterpreterRecord]:
    """Return what is known about the interpreters of some runs, that of this process first."""
    found = {it.name: it for it in (own_interpreter(), *(i for r in runs for i in r.interpreters))}
    return [_interpreter(it, runs) for it in found.values()]


def _interpreter(it: Interpreter, runs: Sequence[PairedRun]) -> InterpreterRecord:
    inside = [one for run in runs for one in run.contestants if one.code[1] == it.name]
    asked = [one for one in inside if one.lock is not None]
    return {
        "name": it.name,
        "version": it.version,
        "free_threaded": it.free_threaded,
        "locked": sorted({one.kernel for one in asked if one.lock}),
        "free": sorted({one.kernel for one in asked} - {one.kernel for one in asked if one.lock}),
        "numpy": it.numpy,
        "kmeans_lab": it.kmeans_lab,
        "builds": {one.kernel: one.build for one in inside if one.build},
        "instruction_sets": {one.kernel: one.isa for one in inside if one.isa},
    }


def run_dict(run: PairedRun) -> RunRecord:
    """Return one run as plain JSON types."""
    preset = run.workload.preset
    return {
        "preset": run.preset,
        "n_samples": preset.n_samples,
        "n_features": preset.n_features,
        "n_clusters": preset.n_clusters,
        "dtype": preset.dtype,
        "n_init": preset.n_init,
        "n_threads": run.n_threads,
        "baseline": run.baseline,
        "seed": run.seed,
        "confidence": run.confidence,
        "n_rounds": run.n_rounds,
        "partial": run.partial,
        "void": run.void,
        "floor": run.floor,
        "calibration": {"opening": run.opening, "closing": run.closing, "drift": run.drift},
        "roof": cast(RoofRecord, asdict(run.roof)) if run.roof else None,
        "orders": run.orders,
        "contestants": [_contestant(run, it) for it in run.contestants],
    }


def _contestant(run: PairedRun, it: Contestant) -> ContestantRecord:
    certified = it.certificate if it.state == "valid" else None
    ratio, sparse = run.ratio_of(it.name), run.workload.preset.sparse
    absent = it.state in ("unavailable", "broken") or (sparse and not find_spec(it.kernel).sparse)
    # The sources of another interpreter are the same, and called as they are here.
    here = next((o.file for o in run.contestants if o.code == (it.kernel, "") and o.file), it.file)
    return {
        "name": it.name,
        "kernel": it.kernel,
        "interpreter": it.interpreter.name if it.interpreter else None,
        "lock": it.lock,
        "cores": it.cores,
        "state": it.state,
        "why": it.why,
        "source": None if absent else digest_of(it.kernel, here, sparse=sparse),
        "arithmetic": find_spec(it.kernel).arithmetic,
        "every": it.every,
        "start": it.start,
        "n_iter": certified.result.n_iter if certified else None,
        "ties": certified.ties if certified else None,
        "rescored": certified.result.rescored if certified else None,
        "seconds": it.seconds,
        "rounds": it.rounds,
        "phases": it.phases,
        "ratio": cast(IntervalRecord, asdict(ratio)) if ratio else None,
    }


def dumps(data: Any) -> str:
    """Return JSON text in which a list of numbers or names takes one line."""
    text = json.dumps(data, indent=1)
    return re.sub(r"\[\s+([^][{}]+?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text) + "\n"


def scaling_dict(found: Sequence[Scaling | Growth], card: Card) -> ScalingRecord:
    """Return how some kernels scale, as plain JSON types."""
    return {
        "format": SCALING,
        "version": VERSION,
        "machine": card,
        "workers": [cast(WorkersRecord, asdict(it)) for it in found if isinstance(it, Scaling)],
        "growth": [growth_dict(it) for it in found if isinstance(it, Growth)],
    }


def growth_dict(it: Growth) -> GrowthRecord:
    """Return how the time of a kernel grows, as plain JSON types."""
    return cast(GrowthRecord, asdict(it))


def read(path: Path) -> BenchRecord:
    """Return a run that was written before; ``Refused`` says what is wrong with the file."""
    found: BenchRecord = read_as(path, schema_of("bench"), FORMAT, "a run", "bench --output")
    return found


def read_scaling(path: Path) -> ScalingRecord:
    """Return a scaling that was printed before; ``Refused`` says what is wrong with the file."""
    schema = schema_of("scaling")
    found: ScalingRecord = read_as(path, schema, SCALING, "a scaling", "scaling --json")
    return found


def schema_of(name: str) -> dict[str, Any]:
    """Return one of the JSON schemas beside this file."""
    text = (Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def read_as(
    path: Path, schema: dict[str, Any], form: str, what: str, wrote: str, most: int = _MOST_BYTES
) -> Any:
    """Return the content of a file of JSON; ``Refused`` says what is wrong with it.

    Parameters
    ----------
    path : Path
    schema : dict
        The JSON schema that it has to keep.
    form, what, wrote : str
        What it says that it is; the same in words; the command that writes such files.
    most : int
        Bytes that such a file has at most.
    """
    try:
        content = _content(path, wrote, most)
        text = content.decode(encoding_of(content))
        data = json.loads(text, parse_float=_finite, parse_constant=_no_number)
        json.dumps(data, ensure_ascii=False).encode()  # half characters could not be written
    except Refused:
        raise
    except RecursionError:
        raise Refused(f"{path} is nested too deeply; give a file that {wrote} wrote") from None
    except ValueError as error:  # not Unicode, not JSON, a number of thousands of digits
        raise Refused(f"{path} is not JSON ({error}); give a file that {wrote} wrote") from None
    except OSError as error:
        raise Refused(f"{path} cannot be read ({error.strerror}); check the path") from None
    if not isinstance(data, dict) or data.get("format") != form:
        raise Refused(f"{path} is not {what} of kmeans-lab; give a file that {wrote} wrote")
    if data.get("version") != VERSION:
        raise Refused(
            f"{path} has version {data.get('version')!r} of the format and this kmeans-lab reads "
            f"version {VERSION}; read it with the release that wrote it"
        )
    if fault := _fault(path, data, schema):
        raise Refused(f"{path.name}{fault}; the file is damaged: make it anew with {wrote}")
    return data


def _content(path: Path, wrote: str, most: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise Refused(
            f"{path} has more than {most >> 20} MiB, which no run has; give a file that {wrote} "
            "wrote"
        )
    if not content.strip(b"\0\t\r\n \xef\xbb\xbf\xff\xfe"):
        raise Refused(f"{path} is empty; give a file that {wrote} wrote")
    return content


def _finite(text: str) -> float:
    return float(text) if isfinite(float(text)) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _fault(path: Path, data: Any, schema: dict[str, Any]) -> str:
    """Say where the data break a schema, and how; nothing where they do not."""
    try:
        from jsonschema import Draft202012Validator, exceptions
    except ModuleNotFoundError:
        raise MissingExtra(f"reading {path} needs", "jsonschema") from None
    error = exceptions.best_match(Draft202012Validator(schema).iter_errors(data))
    if error is None:
        runs = [*data.get("runs", ()), *(cell["run"] for cell in data.get("cells", ()))]
        growth = data.get("growth", ())
        return next(filter(None, [*map(_disagreement, runs), *map(_uneven, growth)]), "")
    where = "".join(f", {part}" for part in error.absolute_path)
    shown = error.message if len(error.message) <= 200 else f"{error.message[:200]}…"
    return f"{where}: {shown}"


def _disagreement(run: RunRecord) -> str:
    """Say which parts of a run that each keep the schema do not belong together, or nothing."""
    names = [it["name"] for it in run["contestants"]]
    if names.count(run["baseline"]) != 1 or len({*names}) < len(names):
        return f", runs: {run['baseline']!r} and others are not there once each"
    for it in run["contestants"]:
        samples = {len(it["seconds"]), len(it["rounds"]), *map(len, it["phases"].values())}
        if len(samples) > 1:
            return f", runs, {it['name']}: seconds, rounds and phases have different lengths"
        if it["state"] == "valid" and it["n_iter"] is None:
            return f", runs, {it['name']}: valid, and without iterations"
        if it["seconds"] and not min(map(median, (it["seconds"], it["phases"]["assign"]))) > _LEAST:
            return f", runs, {it['name']}: a fit, or its assign, took no time"
    return ""


def _uneven(growth: GrowthRecord) -> str:
    different = len(growth["sizes"]) != len(growth["seconds"])
    return f", growth, {growth['kernel']}: not as many seconds as sizes" if different else ""


def hold_to_machine(what: str, other: Card, card: Card, whose: str = "here") -> None:
    """Raise ``Refused`` when a machine card is not the same as another.

    Older cards without the kernels' instruction sets are compared by the other fields.
    """
    for key in _SAME:
        if other.get(key) != card.get(key):
            raise Refused(
                f"{what} is from another machine ({key} {other.get(key)!r}, {whose} "
                f"{card.get(key)!r}), and times are compared on one machine only; measure both "
                "on one"
            )
    sets, own_sets = other.get("instruction_sets"), card.get("instruction_sets")
    if sets is not None and own_sets is not None and sets != own_sets:
        theirs, ours = (", ".join(sorted({*it.values()})) or "none" for it in (sets, own_sets))
        raise Refused(
            f"{what} was measured with another instruction set ({theirs}, {whose} {ours}), and "
            "times are compared with the same one; set KMEANS_LAB_ISA to the same for both"
        )


def _hold_to_interpreters(old: list[InterpreterRecord], new: list[InterpreterRecord]) -> None:
    """Raise ``Refused`` when interpreters of one name are not the same in two runs."""
    before = {it["name"]: it for it in old}
    for it in new:
        other = before.get(it["name"], it)
        for key in ("version", "numpy"):
            if it["name"] and other[key] != it[key]:  # the card speaks of the command's own
                raise Refused(
                    f"the older run had {other[key]!r} as {key} of the interpreter @{it['name']} "
                    f"and this one {it[key]!r}, and times are compared in the same one only; "
                    "measure both with one"
                )


def compare(old: BenchRecord, new: BenchRecord) -> list[tuple[str, str, str, str]]:
    """Return (preset and threads, contestant, change, verdict) of what both have.

    A ratio has changed when the two intervals have nothing in common; the change is that of the
    medians.

    Raises
    ------
    Refused
        The machines differ, or the runs have nothing in common.
    """
    hold_to_machine("the older run", old["machine"], new["machine"])
    _hold_to_interpreters(old.get("interpreters", []), new.get("interpreters", []))
    found = []
    for key, runs in _by_work(new).items():
        before = _by_work(old).get(key, {})
        for name, ratio in runs.items():
            if name in before:
                found.append((key, name, *_verdict(before[name], ratio)))
    if not found:
        raise Refused(
            "the older run has no certified ratio to the same baseline on the same preset and "
            "threads; run bench with the options that it was made with"
        )
    return found


def _by_work(data: BenchRecord) -> dict[str, dict[str, IntervalRecord]]:
    return {
        f"{run['preset']}, {run['n_threads']} thread{'s' * (run['n_threads'] > 1)}, "
        f"vs {run['baseline']}": {
            it["name"]: ratio for it in run["contestants"] if (ratio := it["ratio"]) is not None
        }
        for run in data["runs"]
        if not run["void"]
    }


def _verdict(old: IntervalRecord, new: IntervalRecord) -> tuple[str, str]:
    change = new["middle"] / old["middle"]
    if new["low"] > old["high"]:
        return f"{change:.3f}", "slower"
    if new["high"] < old["low"]:
        return f"{change:.3f}", "faster"
    return f"{change:.3f}", "not resolved"

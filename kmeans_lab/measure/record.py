"""Runs as JSON: raw samples, order, certificates and machine card, with a versioned schema.

``bench.json`` and ``scaling.json`` beside this file are the schemas. A run is compared with an
older one of the same machine only, and by intervals, never by a fixed percentage.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kmeans_lab.datafiles import Refused
from kmeans_lab.measure.facts import digest_of
from kmeans_lab.measure.rounds import PairedRun
from kmeans_lab.measure.scaling import Growth, Scaling
from kmeans_lab.measure.statistics import Interval
from kmeans_lab.registry import find_spec

FORMAT, VERSION = "kmeans-lab bench", 1
SCALING = "kmeans-lab scaling"  # the other format, of the same version
#: What has to agree before two runs are compared.
_SAME = ("cpu", "cores", "affinity", "system", "python", "numpy", "numba")


def to_dict(runs: list[PairedRun], card: dict[str, Any]) -> dict[str, Any]:
    """Return what there is to know about some runs, as plain JSON types."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "machine": card,
        "runs": [run_dict(run) for run in runs],
    }


def run_dict(run: PairedRun) -> dict[str, Any]:
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
        "roof": run.roof and asdict(run.roof),
        "orders": run.orders,
        "contestants": [_contestant(run, it) for it in run.contestants],
    }


def _contestant(run: PairedRun, it: Any) -> dict[str, Any]:
    certified = it.certificate if it.state == "valid" else None
    return {
        "name": it.name,
        "kernel": it.kernel,
        "state": it.state,
        "why": it.why,
        "source": None if it.state in ("unavailable", "broken") else digest_of(it.kernel),
        "arithmetic": find_spec(it.kernel).arithmetic,
        "every": it.every,
        "start": it.start,
        "n_iter": certified and certified.result.n_iter,
        "ties": certified and certified.ties,
        "rescored": certified and certified.result.rescored,
        "seconds": it.seconds,
        "rounds": it.rounds,
        "phases": it.phases,
        "ratio": interval_dict(run.ratio_of(it.name)),
    }


def interval_dict(interval: Interval | None) -> dict[str, Any] | None:
    """Return an interval's numbers by name."""
    if interval is None:
        return None
    return {name: getattr(interval, name) for name in ("middle", "low", "high", "confidence", "n")}


def dumps(data: Any) -> str:
    """Return JSON text in which a list of numbers or names takes one line."""
    text = json.dumps(data, indent=1)
    return re.sub(r"\[\s+([^][{}]+?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text) + "\n"


def scaling_dict(found: Sequence[Scaling | Growth], card: dict[str, Any]) -> dict[str, Any]:
    """Return how some kernels scale, as plain JSON types."""
    return {
        "format": SCALING,
        "version": VERSION,
        "machine": card,
        "workers": [asdict(it) for it in found if isinstance(it, Scaling)],
        "growth": [asdict(it) for it in found if isinstance(it, Growth)],
    }


def read(path: Path, form: str = FORMAT) -> dict[str, Any]:
    """Return what was written before; ``Refused`` says what is wrong with the file."""
    what, wrote = {
        FORMAT: ("a run", "bench --output"),
        SCALING: ("a scaling", "scaling --json"),
    }[form]
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Refused(f"{path} is not JSON ({error}); give a file that {wrote} wrote") from None
    if not isinstance(data, dict) or data.get("format") != form:
        raise Refused(f"{path} is not {what} of kmeans-lab; give a file that {wrote} wrote")
    if data.get("version") != VERSION:
        raise Refused(
            f"{path} has version {data.get('version')!r} of the format and this kmeans-lab reads "
            f"version {VERSION}; read it with the release that wrote it"
        )
    schema = _schema("bench" if form == FORMAT else "scaling")
    if lacks := _lacks(data, schema, schema["$defs"], path.name):
        raise Refused(f"{lacks}; the file is damaged: make it anew with {wrote}")
    return data


def _schema(name: str) -> dict[str, Any]:
    found = (Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(found)
    return schema


def _lacks(data: Any, schema: dict[str, Any], defs: dict[str, Any], where: str) -> str:
    """Say which part that the schema requires is not there, or nothing; no number is looked at."""
    if "$ref" in schema:
        schema = defs[schema["$ref"].rpartition("/")[2]]
    if isinstance(data, dict):
        for name in schema.get("required", ()):
            if name not in data:
                return f"{where} has no {name!r}"
        parts = [
            _lacks(data[name], part, defs, f"{where}, {name}")
            for name, part in schema.get("properties", {}).items()
            if name in data
        ]
    elif isinstance(data, list):
        if len(data) < schema.get("minItems", 0):
            return f"{where} is empty"
        parts = [_lacks(it, schema.get("items", {}), defs, where) for it in data]
    else:
        wanted = schema.get("type")
        return f"{where} is no {wanted}" if wanted in ("object", "array") else ""
    return next(filter(None, parts), "")


def hold_to_machine(
    what: str, other: dict[str, Any], card: dict[str, Any], whose: str = "here"
) -> None:
    """Raise ``Refused`` when a machine card is not the same as another."""
    for key in _SAME:
        if other.get(key) != card.get(key):
            raise Refused(
                f"{what} is from another machine ({key} {other.get(key)!r}, {whose} "
                f"{card.get(key)!r}), and times are compared on one machine only; measure both "
                "on one"
            )


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return (preset and threads, contestant, change, verdict) of what both have.

    A ratio has changed when the two intervals have nothing in common; the change is that of the
    medians.

    Raises
    ------
    Refused
        The machines differ, or the runs have nothing in common.
    """
    hold_to_machine("the older run", old["machine"], new["machine"])
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


def _by_work(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{run['preset']}, {run['n_threads']} thread{'s' * (run['n_threads'] > 1)}, "
        f"vs {run['baseline']}": {
            it["name"]: it["ratio"] for it in run["contestants"] if it["ratio"] is not None
        }
        for run in data["runs"]
        if not run["void"]
    }


def _verdict(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, str]:
    change = new["middle"] / old["middle"]
    if new["low"] > old["high"]:
        return f"{change:.3f}", "slower"
    if new["high"] < old["low"]:
        return f"{change:.3f}", "faster"
    return f"{change:.3f}", "not resolved"

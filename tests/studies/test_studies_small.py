"""The studies that take long run on less of everything, and their pages are whole.

That their numbers are those of docs/ is asked of the whole studies, by ``make test-all``.
"""

import re
from importlib import import_module

import numpy as np
import pytest

from kmeans_lab.studies import run_study

rng = np.random.default_rng(0)
CLOUD = np.concatenate([rng.normal(m, 0.02, (150, 2)) for m in (0, 0.5, 1)])
TRUTH = np.repeat(range(3), 150)
PICTURE = rng.integers(0, 255, (40 * 60, 3)).astype(np.float64)

#: What stands in a module of kmeans_lab.studies, and what takes its place.
LESS = {
    "starts": {"RUNS": 6, "FEWER": 2},
    "starts_claims": {"RUNS": 6},
    "how_many": {"STARTS": 2, "REFERENCES": 3, "DRAWS": 3},
    "limits": {"RATIOS": (1, 2, 10, 100), "DRAWS": 2},
    "dbscan": {
        "SETS": {name: (lambda: (CLOUD, TRUTH), 0.05, 5, 3) for name in ("fireworks", "blobs")},
        "RADII": (0.02, 0.05),
        "clouds": lambda: CLOUD,
        "_PEAK": "print(1.0)",  # of a process, for as many points as the study has
    },
    "compress": {
        "SHAPE": (40, 60, 3),
        "CROP": (slice(5, 20), slice(5, 20)),
        "STARTS": 1,
        "photograph": lambda: PICTURE,
    },
    "minibatch": {"SEEDS": 1, "LARGE": ("grid-10000-10", "grid-10000-20")},
}


@pytest.mark.parametrize(
    "study",
    [
        pytest.param(it, marks=pytest.mark.slow if it in {"starts", "limits"} else ())
        for it in sorted(LESS.keys() - {"starts_claims"})
    ],
)
def test_it_runs_on_less_and_its_page_is_whole(study, tmp_path, monkeypatch):
    for module, values in LESS.items():
        for name, value in values.items():
            monkeypatch.setattr(import_module(f"kmeans_lab.studies.{module}"), name, value)
    written = run_study(study.replace("_", "-"), tmp_path)
    page = (tmp_path / f"{written.name}.md").read_text(encoding="utf-8")
    links = set(re.findall(r"\]\(([^)]+)\)", page))
    assert {it.name for it in written.files if it.suffix != ".svg"} == links
    assert written.claims
    assert all(claim.words in page for claim in written.claims)

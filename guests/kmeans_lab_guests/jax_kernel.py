"""Both steps in JAX: written for one row, mapped over all rows, compiled by XLA.

``jit`` compiles each function for every new shape of its arguments, which takes a tenth of a
second. It runs on the CPU, or on an accelerator where this JAX has one. Distances are computed in
float64 for both dtypes. XLA takes as many threads as the machine has, whatever ``n_threads`` says,
or as many as OMP_NUM_THREADS says where that is set before the import.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if "OMP_NUM_THREADS" in os.environ:  # XLA reads this name alone, once
    os.environ.setdefault("NPROC", os.environ["OMP_NUM_THREADS"])

import jax
import jax.numpy as jnp
import numpy as np

from kmeans_lab import KernelSpec
from kmeans_lab_guests.arrays import OUTSIDE

if TYPE_CHECKING:
    from kmeans_lab.kernel import Counts, Labels, Rows, Sums

SPEC = KernelSpec(
    module="",
    summary="JAX: a function of one row, mapped over all and compiled by XLA",
    remedy="pip install jax",
    requires=("jax", "jaxlib", "numpy"),
    whole=True,
    compiles_on_first_call=True,
    debugging="jax.disable_jit() runs it line by line; tracebacks leave out JAX's own lines",
    wheels="Linux, macOS arm64 and Windows x86-64",
)


@jax.jit
def _assign(rows: Any, centers: Any) -> tuple[Any, Any]:
    centers = centers.astype(jnp.float64)

    def nearest(row: Any) -> tuple[Any, Any]:
        diffs = row.astype(jnp.float64) - centers
        distances = jnp.sum(diffs * diffs, axis=1)
        j = jnp.argmin(distances)  # the first of equals
        return j.astype(jnp.int32), distances[j]

    labels, best = jax.vmap(nearest)(rows)
    return labels, jnp.sum(best)


@jax.jit
def _update(rows: Any, labels: Any, sums: Any, counts: Any) -> tuple[Any, Any]:
    return sums.at[labels].add(rows.astype(jnp.float64)), counts.at[labels].add(1)


def prepare(X: Rows, n_clusters: int, n_threads: int) -> Any:
    """Copy X to JAX's device, once for all passes."""
    with jax.enable_x64(True):
        return jax.device_put(X)


def assign(rows: Any, centers: Rows, labels: Labels) -> float:
    """Overwrite labels with each row's nearest center; return the inertia."""
    if len(centers) == 0:
        raise ValueError("assign needs at least one center")
    with jax.enable_x64(True):
        found, inertia = _assign(rows, centers)
    labels[:] = found
    return float(inertia)


def update(rows: Any, labels: Labels, sums: Sums, counts: Counts) -> None:
    """Add each row to its cluster's sum, and one to its count."""
    if len(labels) and not 0 <= np.min(labels) <= np.max(labels) < len(counts):
        raise ValueError(OUTSIDE)
    with jax.enable_x64(True):
        sums[:], counts[:] = _update(rows, labels, sums, counts)

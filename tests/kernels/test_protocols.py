"""``kernel.py`` states what kernels have, and the table says which of them has it."""

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import kmeans_lab
from kmeans_lab import KERNELS
from kmeans_lab import kernel as contract
from kmeans_lab.registry import AUTO, PROVIDERS
from kmeans_lab.spec import Part

PROTOCOLS = [it for it in vars(contract).values() if getattr(it, "_is_protocol", False)]
MEMBERS = {name for it in PROTOCOLS for name in it.__dict__ | it.__annotations__}
STATED = {name for name in MEMBERS if not name.startswith("_")}
PARTS = {
    "seeding": contract.Seeds,
    "limits": contract.MeasuresLimits,
    "measuring": contract.MeasuresRows,
    "blocks": contract.AddsBlocks,
    "batches": contract.MeetsBatches,
    "sparse-blocks": contract.AddsSparseBlocks,
}
OF_SPARSE_ROWS = ("batches", "sparse-blocks")  # parts of the module for these


def module_of(name, part):
    """Return the module of a kernel that would have a part, or None."""
    spec = KERNELS[name]
    module = spec.sparse if part in OF_SPARSE_ROWS else spec.module
    return import_module(module) if module else None


#: What code asks of a kernel by a name in quotes.
ASKED = re.compile(r'(?:get|has)attr\((?:kernel|chunk|prepared|given|load_kernel\(\w+\)), "(\w+)"')


def test_every_part_is_a_protocol_with_a_line_for_each_member():
    assert {"assign", "update", "prepare", "isa", "met", "greedy", "close"} <= STATED
    for it in PROTOCOLS:
        assert it.__doc__, it
        for name, member in vars(it).items():
            if not name.startswith("_"):
                assert inspect.getdoc(member), name


def test_each_function_of_a_kernel_is_stated(kernel):
    shown = {
        name
        for name, it in vars(kernel).items()
        if callable(it) and not inspect.isclass(it) and it.__module__ == kernel.__name__
    }
    names = {*shown, *getattr(kernel, "__all__", ())}
    assert {"assign", "update"} <= {it for it in names if not it.startswith("_")} <= STATED


def test_code_asks_for_nothing_that_is_not_stated():
    package = Path(kmeans_lab.__file__).parent
    asked = {
        name
        for path in package.rglob("*.py")
        for name in ASKED.findall(path.read_text(encoding="utf-8"))
    }
    assert {"isa", "BUILD"} <= asked
    asked.discard("tells")  # of rows in another process (isolation.remote.Prepared)
    assert {name for name in asked if not name.startswith("__")} <= STATED


def test_a_row_promises_what_its_module_has(kernel_name, kernel):
    spec = KERNELS[kernel_name]
    assert set(PARTS) == {*get_args(Part)}
    for part, protocol in PARTS.items():
        module = module_of(kernel_name, part)
        assert isinstance(module, protocol) == (part in spec.provides), part
    if spec.threading == "own":
        assert isinstance(kernel, contract.Prepares)
    if spec.centers:
        assert isinstance(kernel, contract.TellsInertia)
    X = np.random.default_rng(0).normal(size=(64, 2))
    if spec.balls:
        kernel.prepare(X, 3, 1, balls=False)
    elif isinstance(kernel, contract.Prepares):
        with pytest.raises(TypeError):
            kernel.prepare(X, 3, 1, balls=False)


def test_the_table_says_who_is_tried_and_who_provides():
    assert AUTO == ["cpp-simd", "cython-tiled", "numba-tiled", "numpy"]
    assert [KERNELS[name].auto for name in AUTO] == [1, 2, 3, 4]
    assert set(PROVIDERS) == {*get_args(Part)}
    for part, name in PROVIDERS.items():
        assert isinstance(module_of(name, part), PARTS[part])


@pytest.mark.parametrize("folder", ["kmeans_lab", "bench"])
def test_no_code_asks_for_a_kernel_of_ours_by_name(folder):
    # DBSCAN has a table of its own, and Kernel "python" there is another one.
    root = Path(kmeans_lab.__file__).parent.parent / folder
    names = "|".join(map(re.escape, KERNELS))
    compared = re.compile(rf"[=!]= [\"'](?:{names})[\"']")
    found = [
        f"{path.relative_to(root)}: {line.strip()}"
        for path in root.rglob("*.py")
        if path.name not in ("registry.py", "dbscan.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if compared.search(line)
    ]
    assert found == []

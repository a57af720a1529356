"""The four plain kernels are the same loops, step by step, in four languages."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = "kmeans_lab/_py_kernel.py"
OTHERS = ("kmeans_lab/_numba_kernel.py", "kmeans_lab/_cy_kernel.pyx", "cpp/kmeans.cpp")
SIZES = {
    "rows.shape[0]": "n_samples",
    "rows.shape[1]": "n_features",
    "centers.shape[0]": "n_clusters",
}


def python_of(text, suffix, name):
    """Return a function of a kernel as Python: without types, in C++ also without braces."""
    if suffix == ".py":
        (found,) = (it for it in ast.parse(text).body if getattr(it, "name", "") == name)
        return ast.unparse(found)
    if suffix == ".pyx":
        body = re.search(rf"^cdef \w+ _{name}\(.*?nogil:\n(.*?)(?=^\S)", text, re.M | re.S)[1]
        return "def _():\n" + re.sub(r"^ +cdef .*\n|<\w+> ", "", body, flags=re.MULTILINE)
    body = re.search(rf"^\w+ {name}\([^{{]*\) {{\n(.*?)^}}", text, re.M | re.S)[1]
    body = re.sub(r"static_cast<[\w:]+>\(([^()]*)\)", r"\1", " ".join(body.split()))
    body = body.replace("std::numeric_limits<double>::infinity()", "inf")
    body = re.sub(r"\b(const )?(double|Index|std::int32_t) (?=\w+ = )", "", body)
    body = re.sub(r"for \((\w+) = 0; \1 < (\w+); \+\+\1\) {", r"for \1 in range(\2):{", body)
    body = re.sub(r"if \(([^()]*)\) {", r"if \1:{", body)
    lines, depth = ["def _():"], 1
    for statement, end in re.findall(r"([^;{}]*)([;{}])", body):
        if end != "}":
            lines.append("    " * depth + statement.strip())
        depth += {"{": 1, "}": -1, ";": 0}[end]
    return "\n".join(lines)


class Same(ast.NodeTransformer):
    """Writes in one way what the languages write in several: sizes, elements, infinity."""

    def __init__(self):
        self.named = {}  # rows that a name stands for

    def visit_Assign(self, node):
        self.generic_visit(node)
        if isinstance(node.value, ast.Subscript) and node.targets[0].id in ("row", "center"):
            self.named[node.targets[0].id] = node.value
            return None
        return node

    def visit_Name(self, node):
        return self.named.get(node.id, node)

    def visit_Attribute(self, node):
        self.generic_visit(node)
        return ast.Name("inf") if ast.unparse(node) == "np.inf" else node

    def visit_Call(self, node):
        self.generic_visit(node)
        return node.args[0] if ast.unparse(node.func) == "np.float64" else node

    def visit_Subscript(self, node):
        if size := SIZES.get(ast.unparse(node)):
            return ast.Name(size)
        self.generic_visit(node)
        if isinstance(node.value, ast.Subscript):  # rows[i][f]
            return ast.Subscript(node.value.value, ast.Tuple([node.value.slice, node.slice]))
        match node.slice:
            case ast.BinOp(ast.BinOp(i, ast.Mult(), ast.Name("n_features")), ast.Add(), f):
                return ast.Subscript(node.value, ast.Tuple([i, f]))
        return node


def steps(text, suffix, name):
    """Return the lines of a function from one language to the next: its sums and its loop."""
    (function,) = ast.parse(python_of(text, suffix, name).replace("INFINITY", "inf")).body
    lines = [ast.unparse(it) for it in map(Same().visit, function.body) if it is not None]
    wanted = ("inertia = ", "for i in range(n_samples)", "return ")
    return "\n".join(it for it in lines if it.startswith(wanted)).splitlines()


def steps_of(file, name):
    return steps((ROOT / file).read_text(encoding="utf-8"), Path(file).suffix, name)


@pytest.mark.parametrize("file", OTHERS)
@pytest.mark.parametrize(("name", "n_steps"), [("assign", 15), ("update", 5)])
def test_each_step_has_its_counterpart(file, name, n_steps):
    expected = steps_of(REFERENCE, name)
    assert len(expected) == n_steps
    assert steps_of(file, name) == expected


@pytest.mark.parametrize("file", [REFERENCE, *OTHERS])
@pytest.mark.parametrize(
    ("name", "step", "other"),
    [
        ("assign", "distance < best", "distance <= best"),
        ("assign", "diff * diff", "diff"),
        ("assign", "inertia += best", "inertia -= best"),
        ("assign", "= nearest", "= j"),
        ("assign", "distance", "squared"),
        ("update", "counts[j] += 1", "counts[j] = 1"),
        ("update", "f] += ", "f] -= "),
    ],
)
def test_a_step_that_differs_is_seen(file, name, step, other):
    text = (ROOT / file).read_text(encoding="utf-8")
    assert step in text
    drifted = steps(text.replace(step, other), Path(file).suffix, name)
    assert drifted != steps(text, Path(file).suffix, name)

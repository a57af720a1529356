"""Advice in sentences, each with the numbers that it rests on."""

from collections.abc import Callable, Iterable

from kmeans_lab.choosing.tool import Tool
from kmeans_lab.formatting import digits, faster, memory_size

_Tools = dict[str, Tool]


def advice(tools: _Tools) -> list[str]:
    """Return all advice whose kernels were measured."""
    known = {name: it for name, it in tools.items() if it.seconds is not None}
    found = []
    for question, answer in _ADVICE:
        try:
            text = answer(known)
        except KeyError:  # a kernel that it rests on was not measured
            continue
        found += [f"- **{question}** {text}"] * bool(text)
    return found


def _daily(t: _Tools) -> str:
    numba, python = t["numba"], t["python"]
    left = 2 * numba.fit / python.fit
    return (
        f"Numba. The same {numba.costs['lines'] or 0:,} lines with a decorator on each function: "
        f"what took 2 s in plain Python takes {digits(1e3 * left)} ms, after "
        f"{digits(numba.first)} s for the import and the compiler. Caching the compiled code "
        "(`cache=True`) shortens that from the second run on."
    )


def _arrays(t: _Tools) -> str:
    numpy, cpp, broadcast = t["numpy"], t["cpp"], t["numpy-broadcast"]
    return (
        f"NumPy, and nothing else: its {numpy.costs['lines'] or 0:,} lines take "
        f"{_beside(numpy, cpp)}. The textbook one-liner, which holds all differences at once, is "
        f"another matter: it is {_speed(numpy, broadcast)} than that product."
    )


def _wheels(t: _Tools) -> str:
    cython, cpp, numba = t["cython"], t["cpp"], t["numba"]
    return (
        "Cython, or C++ through pybind11 or nanobind: your users install "
        f"{memory_size(cython.size)} or {memory_size(cpp.size)} more and wait for nothing, "
        f"whereas those of Numba install {memory_size(numba.size)} and wait {digits(numba.first)} "
        f"s in each process that finds no cache. You pay with {digits(cython.build)} or "
        f"{digits(cpp.build)} s of a compiler for each platform and Python release."
    )


def _often(t: _Tools) -> str:
    fast = _by_call(t, "numba", "cython", "cpp", "nanobind")
    slow = _by_call(t, "c-cffi", "c-ctypes", "rust", "jax", "torch")
    return (
        f"{_join(map(_named, fast))}; not {_join(map(_named, slow))}. A million calls cost "
        f"{digits(fast[0].call)} s of nothing but calling at one end of this list, and "
        f"{digits(slow[-1].call)} s at the other. Better still, move the loop over them into the "
        "kernel."
    )


def _threads(t: _Tools) -> str:
    held = [f"`{name}`" for name, it in t.items() if it.costs["threading"] == "gil"]
    if not held:
        return ""
    return (
        f"Whatever releases the GIL, which {_join(held)} {'do' if len(held) > 1 else 'does'} not: "
        "with the usual interpreter, only processes help there. "
        "[Free-threaded Python](free-threading.md) changes that."
    )


def _design(t: _Tools) -> str:
    plain = [t[it] for it in ("numba", "cython", "cpp")]
    tuned = [t[it] for it in ("numba-tiled", "cython-tiled", "cpp-simd")]
    fits = sorted(it.fit for it in plain)
    gains = (f"{digits(a.fit / b.fit)} ×" for a, b in zip(plain, tuned, strict=True))
    lines = [_join(f"{it.costs['lines'] or 0:,}" for it in them) for them in (plain, tuned)]
    return (
        "Change the design, not the tool. The same loops in Numba, Cython and C++ differ by no "
        f"more than {digits(100 * (fits[-1] / fits[0] - 1), 2)} % between the slowest and the "
        f"fastest; a better design makes them {_join(gains)} as fast, for {lines[1]} lines in "
        f"place of {lines[0]}. [How](performance.md#how-the-flagship-works)."
    )


def _bindings(t: _Tools) -> str:
    nanobind, cpp = t["nanobind"], t["cpp"]
    return (
        f"Either: behind nanobind, the very same templates take {_beside(nanobind, cpp)}, which is "
        f"bound by pybind11. A call costs {digits(nanobind.call)} µs with nanobind and "
        f"{digits(cpp.call)} with pybind11, and the compiled files have "
        f"{memory_size(nanobind.size)} and {memory_size(cpp.size)}. One wheel of nanobind's can "
        "serve all Python releases from 3.12 on."
    )


def _libraries(t: _Tools) -> str:
    c, cffi, rust, cpp = t["c-ctypes"], t["c-cffi"], t["rust"], t["cpp"]
    return (
        "ctypes: no compiler stands between the library and Python, and one file serves every "
        f"release. The loops take {_beside(c, cpp)} in C, and {_beside(rust, cpp)} in Rust. The "
        f"price is {digits(c.call)} µs for each call, in which Python code checks the arrays; "
        f"cffi's is {digits(cffi.call)} µs."
    )


def _typed(t: _Tools) -> str:
    mypyc, python, pythran = t["mypyc"], t["python"], t["pythran"]
    return (
        "mypyc, if there are no arrays in it. It takes arrays apart into Python numbers, so that a "
        f"fit is only {faster(python.fit / mypyc.fit)} than in plain Python. With arrays, Pythran "
        f"compiles the same lines in {digits(pythran.build)} s, and a fit is "
        f"{faster(python.fit / pythran.fit)}."
    )


def _frameworks(t: _Tools) -> str:
    torch, compiled, jax = t["torch"], t["torch-compile"], t["jax"]
    numpy = t["numpy"]
    return (
        f"Stay there; but {memory_size(torch.size)} of PyTorch or {memory_size(jax.size)} of JAX "
        "are no way to speed up one loop. Beside NumPy, on one core, in float64, eager PyTorch is "
        f"{_speed(numpy, torch)}, JAX {_speed(numpy, jax)}, and torch.compile "
        f"{_speed(numpy, compiled)}, after a first call of {digits(compiled.first)} s that "
        "needs a C++ compiler where it runs."
    )


_ADVICE: tuple[tuple[str, Callable[[_Tools], str]], ...] = (
    ("Your loop takes 2 s and runs once a day?", _daily),
    ("Your loop is a matrix product in disguise?", _arrays),
    ("You ship wheels?", _wheels),
    ("You call it very often, on small arrays?", _often),
    ("You need threads?", _threads),
    ("You want ten times more?", _design),
    ("nanobind or pybind11?", _bindings),
    ("You have a library in C or Rust?", _libraries),
    ("You have typed Python?", _typed),
    ("Your data are in PyTorch or JAX already?", _frameworks),
)


def _by_call(tools: _Tools, *names: str) -> list[Tool]:
    return sorted((tools[name] for name in names), key=lambda it: it.call)


def _named(it: Tool) -> str:
    return f"`{it.costs['kernel']}` ({digits(it.call)} µs)"


def _beside(one: Tool, other: Tool) -> str:
    share = one.fit / other.fit
    name = other.costs["kernel"]
    if _same(share, one):
        return f"as long as `{name}`, as far as this run can tell"
    return f"{digits(share)} times as long as `{name}`"


def _speed(baseline: Tool, one: Tool) -> str:
    times = baseline.fit / one.fit
    return "as fast" if _same(times, one) else faster(times)


def _same(times: float, one: Tool) -> bool:
    """Whether a ratio is no larger than what the run resolves."""
    return 1 / one.floor <= times <= one.floor


def _join(parts: Iterable[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last

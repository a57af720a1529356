"""Machine code of a compiled kernel: widest registers, fused multiply-adds, packed arithmetic.

Extension modules are read with objdump, Numba's functions by their own ``inspect_asm``. Only x86-64
is understood.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kmeans_lab.kernel import KeepsBinaries, PicksInstructions
from kmeans_lab.registry import find_spec, load_kernel, place_of

#: Floating-point arithmetic that a distance is made of, with its suffix: packed or scalar.
_ARITHMETIC = re.compile(r"\bv?(?:add|sub|mul|fn?m(?:add|sub)\d*)(p|s)([sd])\b")
_FMA = re.compile(r"\bvfn?m(?:add|sub)\d*[ps][sd]\b")
_REGISTER = re.compile(r"%?\b([xyz])mm\d+")
#: An address of objdump's, or a label of LLVM's; and a jump to one.
_PLACE = re.compile(r"^\s*([0-9a-f]+|\.?L\w+):")
_JUMP = re.compile(r"\bj[a-z]+\s+(?:0x)?([0-9a-f]+\b|\.?L\w+)")
_BITS = {"x": 128, "y": 256, "z": 512}


class CannotTell(Exception):
    """Something cannot be determined; the message says why."""


@contextmanager
def scratch_folder() -> Iterator[str]:
    """Yield a folder that is removed afterwards; ``CannotTell`` where none can be made."""
    try:
        folder = tempfile.TemporaryDirectory()
    except OSError as error:
        raise CannotTell(
            f"no folder for temporary files can be written to ({error}); set TMPDIR to one that can"
        ) from None
    with folder as path:
        yield path


@dataclass(frozen=True, slots=True)
class MachineCode:
    """What the main loop of a kernel is made of.

    Attributes
    ----------
    source : str
        Where the code was found.
    widest : int
        Bits of the widest register that packed arithmetic uses; 0 where there is none.
    fma : bool
        It holds fused multiply-adds.
    packed, scalar : int
        Instructions of floating-point arithmetic, on several numbers at once and on one.
    """

    source: str
    widest: int
    fma: bool
    packed: int
    scalar: int

    @property
    def share(self) -> float:
        """Of that arithmetic, the share that is packed."""
        return self.packed / max(self.packed + self.scalar, 1)


def of_text(assembly: str, source: str) -> MachineCode:
    """Count what the main loop of an assembly text holds.

    That is the innermost loop that computes the most numbers in one turn; what is around it hardly
    runs, and does not count.
    """
    loops = [_count(lines, source) for lines in innermost_loops(assembly)]
    empty = MachineCode(source, 0, False, 0, 0)
    return max(loops, key=lambda code: code.packed * code.widest / 64 + code.scalar, default=empty)


def innermost_loops(assembly: str) -> list[list[str]]:
    """Return the lines of every loop that holds no other: from a jump's target back to the jump."""
    lines = assembly.splitlines()
    places = {m[1]: i for i, line in enumerate(lines) if (m := _PLACE.match(line))}
    spans = sorted(
        (i - places[m[1]], places[m[1]], i)
        for i, line in enumerate(lines)
        if (m := _JUMP.search(line)) and places.get(m[1], i) < i
    )
    inner: list[tuple[int, int]] = []
    for _, first, last in spans:  # the shortest first
        if not any(first <= a and b <= last for a, b in inner):
            inner.append((first, last))
    return [lines[first : last + 1] for first, last in inner]


def _count(lines: list[str], source: str) -> MachineCode:
    counts: Counter[str] = Counter()
    widest, fma = 0, False
    for line in lines:
        found = _ARITHMETIC.search(line)
        if found is None:
            continue
        counts[found[1]] += 1
        fma = fma or bool(_FMA.search(line))
        if found[1] == "p":
            widths = [_BITS[name] for name in _REGISTER.findall(line)]
            widest = max(widest, *widths, 0)
    return MachineCode(source, widest, fma, counts["p"], counts["s"])


def of_kernel(name: str, dtype: str, n_features: int) -> MachineCode:
    """Look at the code that a kernel's assign runs; ``CannotTell`` where there is none to see."""
    kernel: Any = load_kernel(name)
    if find_spec(name).compiles_on_first_call:
        return _of_jitted(name, dtype, n_features)
    elsewhere = isinstance(kernel, KeepsBinaries)
    binary = kernel.binary() if elsewhere else getattr(kernel, "__file__", "")
    if not str(binary).endswith((".so", ".pyd")):
        raise CannotTell("it is interpreted: what is compiled belongs to the packages it calls")
    isa = kernel.isa() if isinstance(kernel, PicksInstructions) else ""
    return of_text(_disassembled(binary, isa), "objdump")


_JITTED = """
import sys
import numpy as np
from kmeans_lab.registry import known_as, load_kernel

kernel, dtype, d = load_kernel(known_as(sys.argv[1])), sys.argv[2], int(sys.argv[3])
rows = np.random.default_rng(0).normal(size=(500, d)).astype(dtype)
given = kernel.prepare(rows, 9, 1) if hasattr(kernel, "prepare") else rows
kernel.assign(given, rows[:9].copy(), np.empty(500, np.int32))
holders = [vars(kernel), vars(given) if hasattr(given, "__dict__") else {}]
functions = {name: value for holder in holders for name, value in holder.items()
             if hasattr(value, "inspect_asm") and name != "update"}
for function in functions.values():
    print(*function.inspect_asm().values(), sep="\\n")
"""


def _of_jitted(name: str, dtype: str, n_features: int) -> MachineCode:
    """Compile anew in a process of its own: what Numba loads from its cache cannot be seen."""
    with scratch_folder() as folder:
        run = subprocess.run(
            (sys.executable, "-c", _JITTED, place_of(name), dtype, str(n_features)),
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"NUMBA_CACHE_DIR": folder},
        )
    if run.returncode != 0:
        last = run.stderr.strip().splitlines()[-1:] or [f"exit status {run.returncode}"]
        raise CannotTell(f"compiling it anew failed: {last[0]}")
    return of_text(run.stdout, "Numba")


def _disassembled(binary: str, isa: str) -> str:
    if not sys.platform.startswith("linux"):
        raise CannotTell("extension modules are looked at on Linux only")
    try:
        run = subprocess.run(
            ("objdump", "-d", "-C", "--no-show-raw-insn", binary),
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise CannotTell("there is no objdump; install binutils") from None
    if run.returncode != 0:
        raise CannotTell(f"objdump failed: {run.stderr.strip()}")
    functions = re.findall(r"^[0-9a-f]+ <(.*)>:\n((?:.+\n)*)", run.stdout, flags=re.MULTILINE)
    assigning = [it for it in functions if re.search("assign|_score", it[0])]
    own = [body for name, body in assigning if isa and f"::{isa}::" in name]
    bodies = own or [body for _, body in assigning] or [body for _, body in functions]
    return "\n".join(bodies)

"""``kmeans-lab explain``: what is said about a kernel can be counted, or says why it cannot."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kmeans_lab import registry
from kmeans_lab.cli import main as cli
from kmeans_lab.formatting import as_text
from kmeans_lab.measure import counts, kernel_tables, machinecode
from kmeans_lab.measure.calibration import start_costs
from kmeans_lab.measure.explain import Explanation, Step, verdict
from kmeans_lab.measure.machinecode import CannotTell, MachineCode, of_kernel, of_text
from kmeans_lab.measure.roofline import Roof
from kmeans_lab.presets import PRESETS
from tests.support.helpers import force_isa, require_ready
from tests.support.planted import GOOD

# objdump's way of writing: a scalar loop around a packed one, and a scalar one after it.
OBJDUMP = """
    1000:	vmovapd (%rdi),%zmm0
    1006:	vaddsd %xmm1,%xmm2,%xmm3
    1010:	vfmadd231pd (%rax),%zmm1,%zmm0
    1016:	vfmadd231pd %zmm4,%zmm5,%zmm6
    101c:	cmp    %rdx,%rax
    101f:	jne    1010 <assign+0x10>
    1021:	vmulsd %xmm1,%xmm2,%xmm3
    1025:	jb     1000 <assign>
    1030:	subsd  %xmm1,%xmm2
    1034:	mulsd  %xmm2,%xmm2
    1038:	addsd  %xmm2,%xmm3
    103c:	jne    1030 <assign+0x30>
    1040:	vdivpd %zmm1,%zmm2,%zmm3
"""
LLVM = """
.LBB0_1:
	vmulpd	%ymm1, %ymm2, %ymm3
.LBB0_2:
	vsubpd	(%rdi), %ymm2, %ymm3
	vmulpd	%ymm3, %ymm3, %ymm3
	vaddsd	%xmm3, %xmm4, %xmm4
	jne	.LBB0_2
	jne	.LBB0_1
	retq
"""


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(registry, "_added", {})
    monkeypatch.setattr(registry, "_places", {})


def test_the_loop_that_computes_most_is_found_in_both_ways_of_writing():
    assert of_text(OBJDUMP, "objdump") == MachineCode("objdump", 512, True, 2, 0)
    assert of_text(LLVM, "Numba") == MachineCode("Numba", 256, False, 2, 1)
    assert of_text("ret\n", "objdump") == MachineCode("objdump", 0, False, 0, 0)
    assert MachineCode("", 512, True, 3, 1).share == 0.75


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize("name", ["cpp-simd", "cython-tiled"])
def test_the_tuned_kernels_use_the_registers_of_their_instruction_set(
    name, isa, monkeypatch, pytestconfig
):
    require_ready(name, pytestconfig.getoption("--require-kernels"))
    force_isa(monkeypatch, name, isa)
    code = of_kernel(name, "float64", 10)
    assert code.widest == {"baseline": 128, "avx2": 256, "avx512": 512}[isa]
    assert code.fma == (isa != "baseline")
    assert code.share > 0.9


@pytest.mark.kernels("numba", "numba-tiled")
@pytest.mark.slow_for("numba-tiled")
def test_what_numba_compiles_is_compiled_anew_and_seen(kernel_name):
    from llvmlite.binding import get_host_cpu_features

    code = of_kernel(kernel_name, "float64", 10)
    vectors = kernel_name == "numba-tiled"
    fused = vectors and get_host_cpu_features()["fma"]  # LLVM asks the processor
    assert (code.source, code.fma, code.share > 0.9) == ("Numba", fused, vectors)
    assert code.packed + code.scalar > 4


def test_interpreted_kernels_have_no_machine_code_of_their_own():
    for name in ("python", "numpy"):
        with pytest.raises(CannotTell, match="it is interpreted"):
            of_kernel(name, "float64", 10)


def test_a_missing_objdump_is_named(monkeypatch):
    def absent(*args, **options):
        raise FileNotFoundError

    monkeypatch.setattr(machinecode.subprocess, "run", absent)
    with pytest.raises(CannotTell, match="there is no objdump; install binutils"):
        of_kernel("cpp", "float64", 10)


def test_without_a_folder_for_temporary_files_the_rest_is_told(monkeypatch):
    def nowhere():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(machinecode.tempfile, "TemporaryDirectory", nowhere)
    remedy = r"no folder for temporary files .*; set TMPDIR to one that can"
    with pytest.raises(CannotTell, match=remedy):
        of_kernel("numba", "float64", 10)
    with pytest.raises(CannotTell, match=remedy):
        counts.instructions_per_pair("cpp", None, None)
    assert start_costs("numba", "float64", 2) is None
    assert start_costs("cpp", "float64", 2)["import"] > 0


def explained(capsys, *arguments):
    status = cli.main(["explain", *arguments])
    return status, *capsys.readouterr()


def test_everything_about_a_kernel_as_json(capsys):
    status, out, err = explained(capsys, "cpp", "--preset", "smoke-wide", "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    step = found["steps"]["assign"]
    assert step["operations"] == 3 * 300 * 16 * 8
    assert step["bytes"] == 300 * 16 * 8
    peak, read = found["roof"]["operations"]["float64"], found["roof"]["read"]
    assert step["of_peak"] == pytest.approx(step["operations"] / step["seconds"] / peak)
    assert step["of_read"] == pytest.approx(step["bytes"] / step["seconds"] / read)
    assert 1e9 < peak < 1e13
    assert found["roof"]["operations"]["float32"] > peak
    assert 1e8 < read < 1e13
    assert 1e8 < found["roof"]["triad"] < 1e13
    assert found["met"] == 1.0
    assert found["memory"] >= 0  # of 38 kB, less than a process's counters are exact to
    assert 50 < found["lines"] < 130
    assert found["reasons"].keys() == {"instructions"}
    assert "--callgrind counts" in found["reasons"]["instructions"]


def test_the_pages_fit_80_columns_and_begin_with_the_verdict(capsys):
    for name in ("python", "cpp-simd"):
        status, out, err = explained(capsys, name, "--preset", "smoke")
        assert (status, err) == (0, "")
        assert max(map(len, out.splitlines())) <= 80
        assert "…" not in out
        assert out[0].isupper()
        assert f"{name} on smoke, 1 thread" in out


def test_a_kernel_of_ones_own_is_explained_too(capsys, tmp_path):
    (tmp_path / "mine.py").write_text(GOOD)
    status, out, err = explained(capsys, "mine.py", "--preset", "smoke", "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["lines"] == len([line for line in GOOD.splitlines() if line])
    assert found["memory"] is not None


def test_a_wrong_kernel_is_not_explained(capsys, tmp_path):
    (tmp_path / "bad.py").write_text(GOOD + "def assign(*a):\n    return good_assign(*a) + 1\n")
    status, out, err = explained(capsys, "bad.py", "--preset", "smoke")
    assert (status, out) == (1, "")
    assert "bad is INVALID (assign returned the inertia" in err


@pytest.fixture
def valgrind(monkeypatch, tmp_path):
    """Return a valgrind that writes what it was asked for: 1000 instructions, 640 for each call."""
    program = tmp_path / "valgrind"
    program.write_text(
        '#!/bin/sh\nfor word in "$@"; do case $word in --callgrind-out-file=*) '
        "out=${word#*=};; esac; last=$word; done\n"
        'echo "summary: $((1000 + 640 * last))" > "$out"\n'
        f'echo "$KMEANS_LAB_ISA" > {tmp_path}/isa\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return program


def test_instructions_are_counted_with_what_valgrind_and_the_processor_know(valgrind, isa):
    X = PRESETS["smoke"].load().X
    assert counts.instructions_per_pair("cpp-simd", X[:40], X[:8]) == 640 / 320
    counted = valgrind.with_name("isa").read_text()
    assert counted == f"{'avx2' if isa == 'avx512' else isa}\n"


def test_instructions_are_counted_by_the_pair(valgrind, monkeypatch, tmp_path):
    X = PRESETS["smoke"].load().X
    assert counts.instructions_per_pair("cpp", X[:40], X[:8]) == 640 / 320
    valgrind.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotTell, match="there is no valgrind; install it"):
        counts.instructions_per_pair("cpp", X[:40], X[:8])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_the_memory_of_a_fit_is_at_least_its_labels_and_not_its_data():
    labels = 4 * 1_000_000
    assert labels < counts.memory_of_a_fit("cpp", "grid-1000000-10") < 16e6


def test_a_child_that_fails_says_its_last_line():
    with pytest.raises(CannotTell, match=r"measures it failed: ValueError: .*'none' is not known"):
        counts.memory_of_a_fit("cpp", "none")


def test_lines_of_code_leave_out_blanks_comments_and_docstrings(tmp_path):
    (tmp_path / "a.py").write_text('"""Doc\nstring."""\n\n# why\nx = 1  # this counts\n\ny = 2\n')
    (tmp_path / "a.cpp").write_text("// why\n#include <x>\n\nint x;\n")
    assert counts._count_lines(tmp_path / "a.py") == 2
    assert counts._count_lines(tmp_path / "a.cpp") == 2
    for name in ("cpp-simd", "numba-tiled", "cython-tiled"):
        assert counts.lines_of_code(name) > 500
    assert counts.lines_of_code("python") < 60


def test_without_a_checkout_lines_cannot_be_counted(monkeypatch):
    monkeypatch.setattr(counts, "_REPOSITORY", Path("/nowhere"))
    with pytest.raises(CannotTell, match="its sources are not installed; run from a checkout"):
        counts.lines_of_code("cpp")


def test_an_installed_package_carries_the_sources_that_lie_outside_of_it(monkeypatch, tmp_path):
    names, digest = list(counts.sources_of("cpp-simd")), counts.digest_of("cpp-simd")
    assert len(names) > 10
    shutil.copytree(counts._REPOSITORY / "cpp", tmp_path / "cpp")
    monkeypatch.setattr(counts, "_REPOSITORY", Path("/nowhere"))
    monkeypatch.setattr(counts, "_CARRIED", tmp_path)
    assert list(counts.sources_of("cpp-simd")) == names
    assert counts.digest_of("cpp-simd") == digest


NOTHING = dict.fromkeys(("code", "memory", "instructions", "lines"), "not looked at")


def made_up(seconds, size=1e7, met=1.0, code=None, kernel="cpp"):
    """A kernel that computes 1e9 operations on so many bytes, where 100e9 and 10e9 are possible."""
    roof = Roof(1, {"float64": 100e9, "float32": 200e9}, 10e9, 10e9)
    step = Step(seconds, 1e9, size, 1e9 / seconds / 100e9, size / seconds / 10e9)
    steps = {"assign": step}
    return Explanation(
        kernel, "p", 1, "direct", steps, met, roof, "", code, None, None, None, {}
    )  # fmt: skip


def test_the_verdict_names_the_limit_that_binds():
    vectors = MachineCode("objdump", 512, True, 16, 0)
    scalar = replace(vectors, packed=1, scalar=8)
    assert verdict(made_up(0.0125, code=vectors)) == (
        "Its inner loop computes with 512 bits at a time, multiplied and added at once. It uses "
        "80% of the multiply-adds that the machine can do: arithmetic is what limits it."
    )
    assert "adds one number per instruction" in verdict(made_up(0.5, code=scalar))
    assert "uses 2% of the multiply-adds and less than 1% of the" in verdict(made_up(0.5))
    assert "It reads X at 90% of the bandwidth: memory limits it." in verdict(made_up(0.1, 9e8))
    assert "Bounds save it 70%" in verdict(made_up(0.5, met=0.3))
    assert "faster than any kernel that computes them all" in verdict(made_up(0.009, met=0.3))
    assert "Every number is a Python object" in verdict(made_up(50.0, kernel="python"))


def test_the_verdict_says_what_limits_update_where_a_fit_calls_it():
    it = made_up(0.9)
    it.steps["update"] = Step(0.1, 1e6, 8e8, 0.001, 0.8)
    assert verdict(it).endswith(
        "Update takes 10% of an iteration; it reads X at 80% of the bandwidth, which is its limit."
    )
    it.steps["update"] = Step(0.1, 1e6, 1e7, 0.001, 0.01)
    assert verdict(it).endswith("at 1% of the bandwidth its own instructions limit it.")
    it.steps["assign_update"] = it.steps["assign"]
    assert "Update takes" not in verdict(it)


def test_a_fit_that_takes_no_memory_is_not_an_unknown_one():
    shown = as_text(*kernel_tables.of_explanation(replace(made_up(0.5), memory=0, reasons=NOTHING)))
    assert "0 KiB beyond X" in shown

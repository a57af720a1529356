"""What the guests compile; everything else about the distribution is in pyproject.toml.

A guest whose tool is missing, or whose build fails, does not keep the others from being installed:
the reason is left in a text file in place of what would have been compiled, and kmeans_lab shows
it in the guest's row. No guest is compiled for the processor at hand, nor with ``-ffast-math``.
"""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from sysconfig import get_config_var
from time import perf_counter

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

PACKAGE = "kmeans_lab_guests"
NAME = "kmeans-lab-guests"
# The loops round as Python does: compilers may fuse a product with an addition otherwise.
FLAGS = ["-O3", "-ffp-contract=off"]
# What debuggers read is left out, so that the sizes of these files can be compared.
LINK = ["-Wl,--strip-all"] if sys.platform == "linux" else []


class Missing(Exception):
    """What a guest needs was not found."""


class Build(build_ext):
    """Builds each guest by itself, and keeps the reason where one cannot be built."""

    def run(self):
        """Build all guests, and leave what came of it beside the Python files."""
        if self.inplace:
            for stem in GUESTS:
                remove(Path(PACKAGE), stem)
        super().run()
        if self.inplace:  # setuptools copies extension modules of the names that it knows
            for path in self.folder.iterdir():
                shutil.copy(path, PACKAGE)

    def build_extensions(self):
        """Build guests; none stops the others."""
        self.folder = Path(self.build_lib, PACKAGE)
        self.folder.mkdir(parents=True, exist_ok=True)
        seconds = {}
        for stem in GUESTS:
            remove(self.folder, stem)
            begin = perf_counter()
            try:
                GUESTS[stem](self)
                seconds[stem] = round(perf_counter() - begin, 1)
            except (Exception, SystemExit) as error:  # mypyc ends the process
                detail = " ".join(str(error).split()) or type(error).__name__
                said = detail
                if not isinstance(error, Missing):  # whose whole command nobody wants in a table
                    said = f"its build failed when {NAME} was installed (pip --verbose shows how)"
                remove(self.folder, stem)
                (self.folder / f"{stem}.txt").write_text(f"{said}\n", encoding="utf-8")
                self.warn(f"{stem}: {detail}")
        told = json.dumps(seconds, indent=1)
        (self.folder / "_built.json").write_text(f"{told}\n", encoding="utf-8")

    def compile_module(self, extension):
        """Compile one extension module."""
        extension._full_name = extension.name  # what setuptools adds to those it knows
        extension._needs_stub = False
        extension.extra_link_args += LINK
        self.build_extension(extension)


def remove(folder, stem):
    """Delete what an earlier build of this guest left."""
    for path in folder.glob(f"{stem}*"):
        if path.suffix in (".so", ".txt"):
            path.unlink()


def found(tool):
    """Return the path of a program, or raise Missing."""
    path = shutil.which(tool)
    if path is None:
        raise Missing(f"{tool} was not found when {NAME} was installed")
    return path


def imported(module, package):
    """Return a module, or raise Missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise Missing(f"{package} was not found when {NAME} was installed") from error


def c_library(build):
    """Compile kmeans.c to a shared library without Python."""
    found(build.compiler.compiler[0])
    source = [f"{PACKAGE}/kmeans.c"]
    objects = build.compiler.compile(source, output_dir=build.build_temp, extra_postargs=FLAGS)
    build.compiler.link_shared_object(
        objects, str(build.folder / "libkmeans_c.so"), extra_postargs=LINK
    )


def rust_library(build):
    """Compile kmeans.rs to a shared library; its standard library is inside."""
    command = [found("rustc"), "--edition=2021", "--crate-type=cdylib"]
    command += ["-Copt-level=3", "-Cstrip=symbols"]
    command += ["-o", str(build.folder / "libkmeans_rust.so"), f"{PACKAGE}/kmeans.rs"]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(run.stderr)


def mojo_library(build):
    """Compile kmeans.mojo to a shared library, for any processor of the kind."""
    command = [found("mojo"), "build", "--emit=shared-lib", "-O3"]
    if platform.machine() == "x86_64":  # whose first ones fuse no product with an addition
        command.append("--target-cpu=x86-64")
    command += ["-o", str(build.folder / "libkmeans_mojo.so"), f"{PACKAGE}/kmeans.mojo"]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(run.stderr)


def cffi_module(build):
    """Let cffi write the module around kmeans.c, and compile it."""
    ffi = imported("cffi", "cffi").FFI()
    for real, dtype in (("double", "float64"), ("float", "float32")):
        sizes = "ptrdiff_t n_samples, ptrdiff_t n_features, ptrdiff_t n_clusters"
        ffi.cdef(
            f"double assign_{dtype}({real}* rows, {real}* centers, int32_t* labels, {sizes});"
            f"int update_{dtype}({real}* rows, int32_t* labels, double* sums, int64_t* counts,"
            f"{sizes});"
        )
    include = str(Path(PACKAGE).resolve())
    options = {"include_dirs": [include], "extra_compile_args": FLAGS}
    ffi.set_source(f"{PACKAGE}._cffi", '#include "kmeans.c"', **options)
    build.compile_module(ffi.distutils_extension(build.build_temp))


def mypyc_module(build):
    """Compile typed Python; mypy looks at this file alone."""
    mypycify = imported("mypyc.build", "mypy").mypycify
    source = f"{PACKAGE}/mypyc_kernel.py"
    options = ["--follow-imports=skip", "--ignore-missing-imports", "--no-error-summary"]
    for extension in mypycify([*options, source], opt_level="3", target_dir=build.build_temp):
        extension.extra_compile_args.append("-ffp-contract=off")
        build.compile_module(extension)


def pythran_module(build):
    """Translate pythran_loops.py to C++, and compile it."""
    pythran = imported("pythran", "pythran")
    target = str(build.folder / f"_pythran{get_config_var('EXT_SUFFIX')}")
    source = f"{PACKAGE}/pythran_loops.py"
    flags = {"extra_compile_args": FLAGS, "extra_link_args": LINK}
    pythran.compile_pythranfile(source, target, module_name="_pythran", **flags)


def nanobind_module(build):
    """Compile nanobind itself, and its binding of the loops of cpp/kmeans.cpp."""
    nanobind = imported("nanobind", "nanobind")
    home = Path(nanobind.source_dir())
    # It keeps no state, and needs no lock where Python has none.
    lockless = [("NB_FREE_THREADED", None)] if get_config_var("Py_GIL_DISABLED") else []
    build.compile_module(
        Extension(
            f"{PACKAGE}._nanobind",
            [f"{PACKAGE}/nanobind.cpp", str(home / "nb_combined.cpp")],
            include_dirs=[
                nanobind.include_dir(),
                str(home.parent / "ext" / "robin_map" / "include"),
                imported("kmeans_lab", "kmeans-lab").get_include(),
            ],
            define_macros=[("NDEBUG", None), ("NB_COMPACT_ASSERTIONS", None), *lockless],
            extra_compile_args=[
                "-std=c++17",
                "-fvisibility=hidden",
                "-fno-strict-aliasing",
                *FLAGS,
            ],
            language="c++",
        )
    )


#: What is built: the stem of the file → how.
GUESTS: dict[str, Callable[[Build], None]] = {
    "libkmeans_c": c_library,
    "libkmeans_rust": rust_library,
    "libkmeans_mojo": mojo_library,
    "_cffi": cffi_module,
    "mypyc_kernel": mypyc_module,
    "_nanobind": nanobind_module,
    "_pythran": pythran_module,
}

setup(
    # Names alone: setuptools builds a distribution with compiled files, and copies what is there.
    ext_modules=[Extension(f"{PACKAGE}.{stem}", [], optional=True) for stem in GUESTS],
    cmdclass={"build_ext": Build},
)

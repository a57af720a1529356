"""The extension modules; everything else about the package is in pyproject.toml.

Without a compiler nothing is built, and the error says what to install: there is no half of a
kernel laboratory.

Portable by default: no ``-march=native``, no ``-ffast-math``. For research builds,
``KMEANS_LAB_MARCH=native pip install -e .`` adds ``-march=native``; the flags are compiled
into each module, so that every table can show them. No extension needs NumPy's headers.
"""

import json
import os
import platform
import shutil
import sys
import sysconfig
from glob import glob
from pathlib import Path
from time import perf_counter

from Cython.Build import cythonize
from pybind11.setup_helpers import Pybind11Extension
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, PlatformError

march = os.environ.get("KMEANS_LAB_MARCH", "")
optimise = ["/O2"] if sys.platform == "win32" else ["-O3"]
if march:
    optimise.append(f"/arch:{march}" if sys.platform == "win32" else f"-march={march}")
unix = sys.platform != "win32"
threads = ["-pthread"] if unix else []
# gcc remarks that wide vectors are passed differently between instruction sets; none is passed.
quiet = ["-Wno-psabi"] if unix else []
built = {}  # seconds that each source took, translation to C included
# The plain kernels round as Python does: on processors that can fuse a product with an addition,
# compilers would.
plain = [*optimise, "-ffp-contract=off"] if unix else optimise


def told(options):
    """Return the macro by which a module knows how it was compiled."""
    return ("KMEANS_LAB_FLAGS", '"' + " ".join(options) + '"')


def tiled(name, *options):
    """Return the tiled Cython kernel compiled for one instruction set."""
    options = [*optimise, *options]
    return Extension(
        f"kmeans_lab._cy_tiled_{name}",
        [f"kmeans_lab/_cy_tiled_{name}.pyx"],
        depends=glob("kmeans_lab/_cy_tiled*.pxi"),
        define_macros=[told(options)],
        extra_compile_args=options,
        # A compiler that does not take these flags leaves the kernel with the other modules.
        optional=name != "baseline",
    )


class Build(build_ext):
    """Times each module, and builds the flagship without vectors where the compiler needs that."""

    def run(self):
        """Build all modules, and leave beside them what they took."""
        super().run()
        package = Path("kmeans_lab" if self.inplace else f"{self.build_lib}/kmeans_lab")
        seconds = {source: round(taken, 1) for source, taken in sorted(built.items())}
        (package / "_built.json").write_text(json.dumps(seconds, indent=1) + "\n", encoding="utf-8")

    def build_extensions(self):
        """Refuse in one sentence what would fail in a hundred lines."""
        tools = [getattr(self.compiler, name, None) for name in ("compiler", "compiler_cxx")]
        for tool in filter(None, tools):  # Microsoft's has no such names, and a sentence of its own
            if shutil.which(tool[0]) is None:
                raise PlatformError(
                    f"kmeans-lab compiles C and C++ and there is no {tool[0]!r} here; install a "
                    "compiler (Debian: apt install g++, Fedora: dnf install gcc-c++, macOS: "
                    "xcode-select --install), or take a wheel: pip install --only-binary "
                    "kmeans-lab kmeans-lab"
                )
        headers = Path(sysconfig.get_path("include"), "Python.h")
        if unix and not headers.exists():
            raise PlatformError(
                f"kmeans-lab compiles against Python's headers and there is no {headers}; install "
                "them (Debian: apt install python3-dev, Fedora: dnf install python3-devel), or "
                "take a wheel: pip install --only-binary kmeans-lab kmeans-lab"
            )
        super().build_extensions()

    def build_extension(self, extension):
        """Build one module, from the C that Cython writes anew where that is its source."""
        source, start = extension.sources[0], perf_counter()
        if source.endswith(".pyx"):
            extension.sources = cythonize(extension, build_dir="build", force=True)[0].sources
        self._build(extension)
        built[source] = perf_counter() - start

    def _build(self, extension):
        """Build one module, if need be by its portable code."""
        try:
            super().build_extension(extension)
        except CompileError:
            if not extension.name.endswith("._simd_kernel"):
                raise
            self.warn(f"{extension.name}: no vectors with this compiler; building portable code")
            extension.define_macros.append(("LAB_PORTABLE", None))
            super().build_extension(extension)


tiled_levels = [tiled("baseline")]
# The other two where the compiler takes these flags; the processor is asked at run time.
if unix and platform.machine() in ("x86_64", "AMD64"):
    avx2 = ["-mavx2", "-mfma", "-ffp-contract=fast"]
    tiled_levels.append(tiled("avx2", *avx2))
    avx512 = [f"-mavx512{part}" for part in ("f", "bw", "dq", "vl")]
    tiled_levels.append(tiled("avx512", *avx2, *avx512, "-mprefer-vector-width=512"))

setup(
    # Lists are copied: pybind11 adds the C++ standard to its own, which a C compiler may refuse.
    ext_modules=[
        Pybind11Extension(
            "kmeans_lab._cpp_kernel",
            ["cpp/kmeans.cpp"],
            cxx_std=17,
            define_macros=[told(plain)],
            extra_compile_args=[*plain],
        ),
        Pybind11Extension(
            "kmeans_lab._cpp_dbscan",
            ["cpp/dbscan.cpp"],
            depends=["cpp/dbscan_index.h", "cpp/simd_patience.h"],
            cxx_std=17,
            define_macros=[told(plain)],
            extra_compile_args=[*plain],
        ),
        Pybind11Extension(
            "kmeans_lab._simd_kernel",
            ["cpp/simd.cpp"],
            depends=glob("cpp/*.h"),
            cxx_std=17,
            define_macros=[told(optimise)],
            extra_compile_args=[*optimise, *threads, *quiet],
            extra_link_args=threads,
        ),
        Extension(
            "kmeans_lab._cy_kernel",
            ["kmeans_lab/_cy_kernel.pyx"],
            define_macros=[told(plain)],
            extra_compile_args=[*plain],
        ),
        *tiled_levels,
    ],
    cmdclass={"build_ext": Build},
    # Always: an extension left over from other flags would otherwise pass for up to date.
    options={"build_ext": {"force": True}},
)

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
import re
import shutil
import sys
import sysconfig
from glob import glob
from pathlib import Path
from threading import Lock
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
cpp_headers = glob("cpp/**/*.h", recursive=True)
# gcc remarks that wide vectors are passed differently between instruction sets; none is passed.
quiet = ["-Wno-psabi"] if unix else []
built = {}  # seconds that each source took, translation to C included
translating = Lock()  # modules are compiled side by side, and Cython has state of its own
# The plain kernels round as Python does: on processors that can fuse a product with an addition,
# compilers would.
plain = [*optimise, "-ffp-contract=off"] if unix else optimise


def told(options):
    """Return the macro by which a module knows how it was compiled."""
    return ("KMEANS_LAB_FLAGS", '"' + " ".join(options) + '"')


def tiled(level, name, *options, instructions=""):
    """Return the tiled Cython kernel, its loops compiled for one instruction set.

    The flags of the file stay those of any processor, so that importing the module runs on it.
    """
    # Or else a call of the C library follows each square root, in case there is no number.
    options = [*optimise, *(["-fno-math-errno"] if unix else []), *options]
    wide = [f"-m{part}" for part in instructions.split(",") if part]
    return Extension(
        f"kmeans_lab.tuned.cython_{name}",
        [f"kmeans_lab/tuned/cython_{name}.pyx"],
        depends=glob("kmeans_lab/tuned/*.pxi"),
        include_dirs=["cpp"],
        define_macros=[
            told([*options, *(["(loops:", *wide[:-1], wide[-1] + ")"] if wide else [])]),
            ("KMEANS_LAB_LEVEL", str(level)),
            *([("KMEANS_LAB_LOOP", f'__attribute__((target("{instructions}")))')] if wide else []),
        ],
        extra_compile_args=options,
        # A compiler that does not take these flags leaves the kernel with the other modules.
        optional=bool(wide),
    )


# What Cython writes of a function that is generic over the type of rows, as all our loops are.
LOOP = re.compile(r"^static (?=[^(\n]*\b__pyx_fuse_\d+__pyx_f_\w+\()", re.MULTILINE)


def mark_loops(source):
    """Let the loops in a file of Cython's carry instructions that the rest of it must not have."""
    text, found = LOOP.subn("static KMEANS_LAB_LOOP ", source.read_text(encoding="utf-8"))
    if found == 0:  # nor may the build go on without this module, as it does where a compiler fails
        raise SystemExit(
            f"{source} holds no loop of the form that Cython 3 gives them, and wide vectors "
            "anywhere else would end the process on processors without them; build with the "
            "Cython that pyproject.toml names"
        )
    source.write_text(text, encoding="utf-8")


class Build(build_ext):
    """Times each module, and builds the flagship without vectors where the compiler needs that.

    What is not in place gets the C++ sources, too: pages show the source of every kernel.
    """

    def run(self):
        """Build all modules, and leave beside them what they took."""
        super().run()
        package = Path("kmeans_lab" if self.inplace else f"{self.build_lib}/kmeans_lab")
        if not self.inplace:
            shutil.rmtree(package / "_sources", ignore_errors=True)  # of an earlier build
            shutil.copytree("cpp", package / "_sources" / "cpp")
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
        self.parallel = self.parallel or os.cpu_count()
        super().build_extensions()

    def build_extension(self, extension):
        """Build one module, from the C that Cython writes anew where that is its source."""
        source, spent = extension.sources[0], 0.0
        if source.endswith(".pyx"):
            with translating:
                start = perf_counter()
                extension.sources = cythonize(extension, build_dir="build", force=True)[0].sources
                spent = perf_counter() - start
            if any(name == "KMEANS_LAB_LOOP" for name, _ in extension.define_macros):
                mark_loops(Path(extension.sources[0]))
        start = perf_counter()
        self._build(extension)
        built[source] = spent + perf_counter() - start

    def _build(self, extension):
        """Build one module, if need be by its portable code."""
        try:
            super().build_extension(extension)
        except CompileError:
            if not extension.name.endswith(".simd"):
                raise
            self.warn(f"{extension.name}: no vectors with this compiler; building portable code")
            extension.define_macros.append(("LAB_PORTABLE", None))
            super().build_extension(extension)


tiled_levels = [tiled(0, "baseline")]
# The other two where the compiler takes these flags; the processor is asked at run time.
if unix and platform.machine() in ("x86_64", "AMD64"):
    fuse, avx2 = "-ffp-contract=fast", "avx2,fma"
    avx512 = f"{avx2},avx512f,avx512bw,avx512dq,avx512vl"
    tiled_levels += [
        tiled(1, "avx2", fuse, instructions=avx2),
        tiled(2, "avx512", fuse, "-mprefer-vector-width=512", instructions=avx512),
    ]

setup(
    # Lists are copied: pybind11 adds the C++ standard to its own, which a C compiler may refuse.
    # The one that takes longest comes first: the others are compiled beside it.
    ext_modules=[
        *(
            Pybind11Extension(
                f"kmeans_lab.{name}",
                [f"cpp/{source}"],
                depends=cpp_headers,
                include_dirs=["cpp"],
                cxx_std=17,
                define_macros=[told(options)],
                extra_compile_args=[*options, *(threads + quiet if own else [])],
                extra_link_args=[*threads] if own else [],
            )
            # `own`: with threads of its own, and loops for several instruction sets.
            for name, source, options, own in (
                ("tuned.simd", "simd/module.cpp", optimise, True),
                ("sparse.simd", "sparse/simd.cpp", optimise, True),
                ("_cpp_kernel", "kmeans.cpp", plain, False),
                ("_cpp_dbscan", "dbscan/dbscan.cpp", plain, False),
                ("sparse._cpp_kernel", "sparse/kmeans.cpp", plain, False),
            )
        ),
        *(
            Extension(
                name,
                [f"{name.replace('.', '/')}.pyx"],
                include_dirs=["cpp"],
                define_macros=[told(plain)],
                extra_compile_args=[*plain],
            )
            for name in ("kmeans_lab._cy_kernel", "kmeans_lab.sparse._cy_kernel")
        ),
        *tiled_levels,
    ],
    cmdclass={"build_ext": Build},
    # Always: an extension left over from other flags would otherwise pass for up to date.
    options={"build_ext": {"force": True}},
)

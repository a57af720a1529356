"""Other Pythons: on a processor that QEMU emulates, under another name, of another version."""

import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.helpers import ROOT

QEMU = shutil.which("qemu-x86_64")
#: The best instruction set of each: NumPy itself runs on nothing older than the first.
BEST = {"Nehalem": "baseline", "Haswell": "avx2"}
#: The variable that names another Python in which kmeans_lab is installed from this checkout.
VARIABLE = "KMEANS_LAB_OTHER_PYTHON"
#: Marks what needs one.
needs_other = pytest.mark.skipif(
    VARIABLE not in os.environ, reason=f"{VARIABLE} names no other Python with this kmeans_lab"
)


def emulate(
    processor: str, *arguments: str, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run Python on another processor; the finished run, its output as text.

    CI installs QEMU, so that a test which needs it cannot be left out there without a word.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("x86-64 processors are emulated on x86-64 Linux only")
    if QEMU is None:
        reason = "no qemu-x86_64 on the PATH; install_system.sh installs Debian's qemu-user"
        if os.environ.get("CI") and shutil.which("apt-get"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    # OpenBLAS asks more of the emulated processor than it says it has.
    environment = os.environ | {"OPENBLAS_CORETYPE": processor}
    environment.pop("KMEANS_LAB_ISA", None)
    command = [QEMU, "-cpu", processor, sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=timeout, check=False
    )


def wrapper(
    folder: Path,
    before: str = "",
    run: str = "exec ",
    first: Path | None = None,
    *,
    others: bool = True,
) -> str:
    """Write a shell script that runs this Python with this kmeans_lab; return its path.

    ``before``: lines of shell; ``run``: what comes before the command; ``first``: a folder where
    modules are looked for; ``others``: whether they are looked for wherever this process does.
    """
    path = folder / "python-of-another-name"
    places = [str(first)] * (first is not None) + [str(ROOT), *(sys.path if others else ())]
    paths = os.pathsep.join(filter(None, places))
    python = shlex.quote(sys.executable)
    path.write_text(
        f"#!/bin/sh\n{before}\nexport PYTHONPATH={shlex.quote(paths)}\n"
        f'{run}{python} "$@"\nstatus=$?\nexit $status\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)

"""Processors that this machine is not: a Python on one of them, emulated by QEMU."""

import os
import platform
import shutil
import subprocess
import sys

import pytest

QEMU = shutil.which("qemu-x86_64")
#: The best instruction set of each: NumPy itself runs on nothing older than the first.
BEST = {"Nehalem": "baseline", "Haswell": "avx2"}


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

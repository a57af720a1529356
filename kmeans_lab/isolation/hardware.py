"""The machine that this process runs on: what stays the same from run to run."""

import os
import platform
from typing import TypedDict


class Hardware(TypedDict):
    """The part of a machine card that is the same in every run on a machine."""

    cpu: str
    cores: int | None
    affinity: int | None
    system: str


def cpu_model() -> str:
    """Return the processor's name as the operating system reports it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except FileNotFoundError:
        pass  # not Linux
    return platform.processor() or "unknown processor"


def hardware() -> Hardware:
    """Return the part of the card that is the same in every run on a machine."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "affinity": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "system": f"{platform.system()} {platform.machine()}",
    }

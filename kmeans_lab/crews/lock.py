"""Python's lock (the GIL): whether threads of Python code wait for each other here.

A free-threaded build of CPython starts without it, and turns it on for good when a module is
imported that does not declare that it can do without.
"""

import sys
import sysconfig

from kmeans_lab.spec import KernelSpec


def lock_is_on() -> bool:
    """Whether this interpreter runs the Python code of one thread at a time."""
    asked = getattr(sys, "_is_gil_enabled", None)  # new in Python 3.13
    return True if asked is None else bool(asked())


def may_run_without() -> bool:
    """Whether this is a free-threaded build, whatever has become of its lock since it started."""
    return bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def threads_help(spec: KernelSpec) -> bool:
    """Whether calls of a kernel in several threads run side by side."""
    return spec.threading != "gil" or not lock_is_on()


def why_locked() -> str:
    """Return why the lock is on, for the end of a sentence, where it need not be; else nothing."""
    if not (may_run_without() and lock_is_on()):
        return ""
    return (
        " (this is a free-threaded Python, and a module that was imported, or PYTHON_GIL=1, has "
        "turned the lock on: python -W default names the module)"
    )

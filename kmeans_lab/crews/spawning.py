"""Check that worker processes can start, and refuse in one sentence where they cannot.

A spawned process reads the program's main module again, in the same folder. Where that cannot
work, it would fail before any code of this package runs, and print a traceback.
"""

import os
import sys
from multiprocessing import current_process, get_all_start_methods, get_start_method, process
from typing import Any

#: Prefix of the names of worker processes: tells them from those that a program starts itself.
WORKER = "kmeans_lab worker"
#: Exit code of a worker in which the main module has called kmeans before the worker was ready.
UNGUARDED = 77

GUARD = "call kmeans(mode='processes') below \"if __name__ == '__main__':\""
_INSTEAD = "use mode='threads' or mode='serial' there"


def refuse_where_workers_cannot_start() -> None:
    """Raise ``RuntimeError`` where a process of this program cannot start worker processes."""
    me = current_process()
    if getattr(me, "_inheriting", False):  # it is a child that still reads the main module
        if me.name.startswith(WORKER):
            raise SystemExit(UNGUARDED)  # silently: its parent says what to do
        raise RuntimeError(
            "mode='processes' cannot start workers while a process that was itself started by "
            f"multiprocessing reads the main module again; {GUARD}"
        )
    if me.daemon:
        raise RuntimeError(
            "mode='processes' cannot start workers inside a daemonic process, for instance in a "
            f"multiprocessing.Pool; {_INSTEAD}"
        )
    method = get_start_method(allow_none=True)
    if method is not None and method not in get_all_start_methods():
        raise RuntimeError(
            "mode='processes' cannot start workers inside a process that was started by "
            f"{method!r}, for instance by joblib; {_INSTEAD}"
        )
    _refuse_a_missing_folder()
    _refuse_a_missing_main()


def _refuse_a_missing_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:
        raise RuntimeError(
            "mode='processes' starts workers in the current folder, which has been deleted; change "
            "to another one, or use mode='threads'"
        ) from None


def _refuse_a_missing_main() -> None:
    """Refuse a main module whose file is missing, since workers would read it again."""
    main: Any = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if file is None or getattr(main, "__spec__", None) is not None or hasattr(sys, "frozen"):
        return  # there is nothing to read: python -c, a notebook; or it is found by its name
    path = os.path.join(getattr(process, "ORIGINAL_DIR", None) or "", file)
    if not os.path.isfile(path):
        raise RuntimeError(
            "mode='processes' reads the program again in each worker, and there is no file "
            f"{file}; run it from a file, or use mode='threads'"
        )

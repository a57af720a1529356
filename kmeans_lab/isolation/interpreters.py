"""Other Python interpreters that kernels can run in, for comparisons between interpreters.

An interpreter is asked before it is used. It has to be Python, with the same sources of kmeans_lab,
since the functions that run there are named by this process, and with what these need. The question
is a text on its command line (``interpreter_facts``), so that any interpreter can answer it.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO, Any

import kmeans_lab
from kmeans_lab.io.errors import Refused, short
from kmeans_lab.isolation import interpreter_facts
from kmeans_lab.isolation.children import end_group, environment_of
from kmeans_lab.isolation.interpreter_facts import MARK, OLDEST

#: Seconds within which an interpreter has to say what it is; on a busy machine it takes one.
PATIENCE = 30.0
_MOST = 1 << 20  # bytes of its answer
_PACKAGE = Path(kmeans_lab.__file__).parent


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter that has the sources of this kmeans_lab.

    Attributes
    ----------
    name : str
        A short one, such as "3.13t", where "t" stands for free-threaded; of two that would have
        the same name, the second has " (2)" at its end. Empty for the one that runs this.
    executable : str
        What starts it.
    version : str
        The whole of ``sys.version``, in one line.
    free_threaded : bool
        Whether it was built to run without the lock.
    numpy : str
        The version of its NumPy.
    kmeans_lab : str
        The version of its kmeans_lab as installed; empty where that is found by its path alone.
    """

    name: str
    executable: str
    version: str
    free_threaded: bool
    numpy: str
    kmeans_lab: str


def own_interpreter() -> Interpreter:
    """Return the interpreter that runs this."""
    told = interpreter_facts.facts()
    return _interpreter("", told["executable"], told)


def find_interpreters(executables: Sequence[str]) -> list[Interpreter]:
    """Ask interpreters what they are; ``Refused`` where one cannot run the kernels of this package.

    Parameters
    ----------
    executables : sequence of str
        Their paths, or names that are found on PATH.
    """
    found: list[Interpreter] = []
    for executable in executables:
        told = _ask(executable)
        _refuse_unfit(executable, told)
        major, minor, _ = told["release"]
        name = label = f"{major}.{minor}{'t' * bool(told['free_threaded'])}"
        same = 1
        while name in {it.name for it in found}:
            same += 1
            name = f"{label} ({same})"
        found.append(_interpreter(name, shutil.which(executable) or executable, told))
    return found


def _interpreter(name: str, executable: str, told: Any) -> Interpreter:
    built = bool(told["free_threaded"])
    return Interpreter(name, executable, told["version"], built, told["numpy"], told["kmeans_lab"])


def _ask(executable: str) -> dict[str, Any]:
    """Return what an interpreter says about itself."""
    text = Path(interpreter_facts.__file__).read_text(encoding="utf-8")
    # The folder of the command has no modules for it; -P is an option of new interpreters only.
    text = f"import sys; sys.path[:] = [it for it in sys.path if it]\n{text}"
    answer, late, code = _output([executable, "-c", text])
    for line in answer.decode("utf-8", "replace").splitlines():
        if line.startswith(MARK):
            with suppress(ValueError):  # somebody else's line
                return dict(json.loads(line.removeprefix(MARK)))
    needed = f"give the path of a Python {OLDEST[0]}.{OLDEST[1]} or newer that has kmeans_lab"
    if late:
        raise Refused(
            f"{executable} did not say within {PATIENCE:g} s what it is, as any Python does; "
            f"{needed}"
        )
    how = f"signal {-code}" if code < 0 else f"exit status {code}"
    raise Refused(f"{executable} did not answer as Python does ({how}); {needed}")


def _output(command: list[str]) -> tuple[bytes, bool, int]:
    """Return what a command prints, whether it took too long, and its exit status.

    Whatever it does, it is over when this returns, and so is all that it started.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment_of(command[0]),
            start_new_session=True,
        )
    except OSError as error:
        raise Refused(
            f"{command[0]} cannot be started ({error.strerror}); give the path of a Python "
            "interpreter, such as .venv/bin/python"
        ) from None
    found: list[bytes] = []
    # In a thread: a process that has left the group may hold the pipe open for ever.
    reader = Thread(target=_read, args=(process.stdout, found), daemon=True)
    reader.start()
    reader.join(PATIENCE)
    late = reader.is_alive()
    if not late:
        with suppress(subprocess.TimeoutExpired):
            process.wait(1.0)  # whoever has closed the pipe is about to end
    end_group(process)
    reader.join(1.0)
    code = process.wait()
    return found[0] if found else b"", late, code


def _read(pipe: IO[bytes], found: list[bytes]) -> None:
    with pipe:
        found.append(pipe.read(_MOST))


def _refuse_unfit(executable: str, told: dict[str, Any]) -> None:
    """Raise ``Refused`` where an interpreter cannot run the kernels of this package."""
    oldest = ".".join(map(str, OLDEST))
    if tuple(told["release"]) < OLDEST:
        raise Refused(
            f"{executable} is Python {'.'.join(map(str, told['release']))} and kmeans_lab needs "
            f"{oldest} or newer; give another one"
        )
    if os.name == "posix" and told["parent"] != os.getpid():
        raise Refused(
            f"{executable} starts Python in another process, which would not end with it; give the "
            f"interpreter itself, {told['executable']}"
        )
    ours = _PACKAGE.parent
    source = f"--editable {ours}" if (ours / "setup.py").is_file() else "kmeans-lab"
    remedy = f"install this one there: {executable} -m pip install {source}"
    if not told["folder"]:
        raise Refused(
            f"{executable} has no kmeans_lab, whose kernels are to run in it; {remedy} (without "
            "numba's wheels: docs/free-threading.md)"
        )
    own = interpreter_facts.digest_of_package(str(_PACKAGE))
    if told["digest"] != own:
        which = f"{told['kmeans_lab']}, " if told["kmeans_lab"] else ""
        raise Refused(
            f"{executable} has other sources of kmeans_lab ({which}{told['folder']}) than this "
            f"Python ({_PACKAGE}), and both must run the same code; {remedy}"
        )
    if told.get("lacks"):
        name, why = told["lacks"]
        raise Refused(
            f"{executable} cannot import {name} ({short(why, 100)}), which kmeans_lab needs; "
            f"install it there: {executable} -m pip install {name}"
        )
    if int(told["numpy"].partition(".")[0]) < 2:  # arrays could not be sent to and fro
        raise Refused(
            f"{executable} has NumPy {told['numpy']} and kmeans_lab needs 2.0 or newer; "
            f"{executable} -m pip install 'numpy>=2'"
        )

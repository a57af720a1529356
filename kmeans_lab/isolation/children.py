"""Run third-party code in a child process, which answers one call after another.

``Child`` starts a fresh Python and asks it to call functions by reference::

    with Child() as child:
        found = child.ask(describe, place)           # describe(place), called there
        result = child.ask(fit, rows, hear=judge)    # and judge(item) for each say(item) there

Whatever the code does there, the answer here is a value, a ``Raised``, or an ``Ended``: nothing
that it does ends or blocks the process that asks. Answers are plain data and NumPy arrays, and
nothing in them can make this process call a function. What the code prints goes to stderr.
"""

import io
import os
import pickle
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import TracebackType
from typing import IO, Any, Self

from kmeans_lab.isolation import child_side
from kmeans_lab.isolation.child_side import LENGTH, PIECE

#: Seconds that an answer may take, unless the caller sets another limit.
PATIENCE = 60.0

_MOST = 2**26  # bytes of an answer, beside twice what was sent: a child cannot fill our memory
_POSIX = os.name == "posix"
_START = f"""
import sys
from importlib.util import module_from_spec, spec_from_file_location
sys.path[:] = sys.argv[3:] or sys.path
spec = spec_from_file_location({child_side.__name__!r}, sys.argv[1])
sys.modules[spec.name] = module = module_from_spec(spec)
spec.loader.exec_module(module)
module.serve(int(sys.argv[2]))
"""

#: What an answer may be made of, beside plain data.
_GLOBALS = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
}


class ChildError(RuntimeError):
    """A child gave no answer; the message is a sentence about the code that ran there."""


class Ended(ChildError):
    """The process is over, or was ended because it took too long.

    Attributes
    ----------
    does : str
        What the code does to its process, for a sentence: "ends the process (signal 11)", "takes
        longer than 60 s".
    late : bool
        It took too long.
    """

    def __init__(self, sentence: str, does: str, *, late: bool = False) -> None:
        super().__init__(sentence)
        self.does, self.late = does, late


class Raised(ChildError):
    """The code raised an exception, which is reported by its name and its text.

    Attributes
    ----------
    kinds : tuple of str
        The names of its class and of the base classes.
    said : str
        Its text.
    """

    def __init__(self, kinds: tuple[str, ...], said: str) -> None:
        super().__init__(f"{kinds[0]}: {said}" if said else kinds[0])
        self.kinds, self.said = kinds, said


class Child:
    """A child process that calls functions; close it, or use it in a ``with`` statement.

    It is fresh: no module but ``kmeans_lab`` and what that needs has been imported. It is a session
    of its own, which Ctrl-C in a terminal does not reach, and ends when this process does.

    Parameters
    ----------
    environment : dict of str to str, optional
        Variables to set there, beside those of this process.
    executable : str, optional
        Another Python to start, with the same sources of kmeans_lab (see ``interpreters``), which
        looks for modules where it does by itself.

    Attributes
    ----------
    pid : int
    patience : float
        Seconds that an answer may take where ``ask`` is told nothing else.
    """

    def __init__(
        self, environment: dict[str, str] | None = None, executable: str | None = None
    ) -> None:
        places = sys.path if executable is None else []
        arguments = _START, child_side.__file__, str(os.getpid()), *places
        try:
            self._process = subprocess.Popen(
                (executable or sys.executable, "-P", "-c", *arguments),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=environment_of(executable) | (environment or {}),
                start_new_session=True,
            )
        except OSError as error:
            raise OSError(
                f"a process of its own for a kernel cannot be started ({error.strerror}); end "
                "other processes, or raise the limits on processes and memory"
            ) from None
        assert self._process.stdin is not None  # they were asked for
        assert self._process.stdout is not None
        self._orders, self._answers = self._process.stdin, self._process.stdout
        if _POSIX:
            for pipe in (self._orders, self._answers):
                os.set_blocking(pipe.fileno(), False)
        self._deadline, self._sent = 0.0, 0
        self.pid = self._process.pid
        self.patience = PATIENCE
        self._end: Ended | None = None

    def ask(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        hear: Callable[[Any], Any] | None = None,
        patience: float | None = None,
    ) -> Any:
        """Call ``function(*arguments)`` there and return what it returns.

        Parameters
        ----------
        function : callable
            One that a fresh process can import by its module and name.
        *arguments
            What can be pickled.
        hear : callable, optional
            Called with each item that the function passes to ``say``, in its order. Where this
            raises, the process is ended.
        patience : float, optional
            Seconds that each item and the answer may take; default ``self.patience``.

        Raises
        ------
        Raised
            The call raised; the process goes on and can be asked again.
        Ended
            The process ended, was ended because it took too long, or sent an invalid answer.
        """
        whole = False
        try:
            with self._limit(patience):
                self._send(function, arguments)
                what, value = self._receive()
            while what == "item":
                if hear is not None:
                    hear(value)
                with self._limit(patience):
                    what, value = self._receive()
            whole = True
        except Raised:
            whole = True
            raise
        finally:
            if not whole:  # a late answer would be taken for the next one
                self.close()
        return value

    @property
    def over(self) -> bool:
        """Whether the process takes no more calls."""
        return self._end is not None

    def close(self) -> None:
        """End the process and all that it started, and wait until it is gone."""
        if self._end is None:
            self._end = Ended("its process was ended", "was ended")
        self._kill()
        self._process.wait()
        for pipe in (self._orders, self._answers):
            with suppress(OSError):  # unwritten data have no reader any more
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _kill(self) -> None:
        end_group(self._process)

    def _send(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        if self._end is not None:
            raise self._end
        data = pickle.dumps((function, arguments), protocol=5)
        self._sent = max(self._sent, len(data))
        try:
            left = memoryview(LENGTH.pack(len(data)) + data)
            while left:
                self._wait_for(self._orders, writing=True)
                left = left[self._orders.write(left) or 0 :]
        except OSError:  # it does not read any more
            raise self._over() from None

    def _receive(self) -> tuple[str, Any]:
        if self._end is not None:
            raise self._end
        (length,) = LENGTH.unpack(self._read(LENGTH.size))
        if length > _MOST + 2 * self._sent:
            raise self._no_answer()
        data = self._read(length)
        try:
            what, value = read(data)
        except Exception:  # the code may have sent any bytes
            raise self._no_answer() from None
        if what in ("answer", "item"):
            return what, value
        if what == "raised" and isinstance(value, tuple) and len(value) == 2 and value[0]:
            raise Raised(tuple(map(str, value[0])), str(value[1]))
        raise self._no_answer()

    def _read(self, length: int) -> bytearray:
        data = bytearray()
        while len(data) < length:
            self._wait_for(self._answers, writing=False)
            piece = self._answers.read(min(length - len(data), PIECE))
            if not piece:
                raise self._over()
            data += piece
        return data

    def _wait_for(self, pipe: IO[bytes], *, writing: bool) -> None:
        """Wait until a pipe can be used or the deadline has passed."""
        if not _POSIX:
            return  # a timer ends the process
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_WRITE if writing else selectors.EVENT_READ)
            if not selector.select(max(0.0, self._deadline - monotonic())):
                self._late()
                assert self._end is not None  # set by _late
                raise self._end

    def _no_answer(self) -> Ended:
        self._end = Ended("its process sent an invalid answer", "sends an invalid answer")
        self._kill()
        return self._end

    def _over(self) -> Ended:
        """Say how the process ended, once it has."""
        self._wait_for_its_end()
        if self._end is None:
            code = self._process.returncode
            how = f"signal {-code}" if code < 0 else f"exit status {code}"
            self._end = Ended(f"it ended its process ({how})", f"ends the process ({how})")
        return self._end

    def _wait_for_its_end(self) -> None:
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:  # it closed the pipe and lives on
            self._end = self._end or Ended("its process closed its pipe", "closes its pipe")
            self._kill()
            self._process.wait()

    def _late(self) -> None:
        much = f"longer than {self._patience:g} s"
        self._end = Ended(f"it took {much}", f"takes {much}", late=True)
        self._kill()

    @contextmanager
    def _limit(self, patience: float | None) -> Iterator[None]:
        """End the process if the block that follows takes longer than its patience."""
        self._patience = self.patience if patience is None else patience
        self._deadline = monotonic() + self._patience
        timer = None if _POSIX else threading.Timer(self._patience, self._late)
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()


def environment_of(executable: str | None) -> dict[str, str]:
    """Return variables for a process of another interpreter, or of this one for None.

    PYTHONHOME says where the modules of this one are.
    """
    return {k: v for k, v in os.environ.items() if executable is None or k != "PYTHONHOME"}


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a process that was started as a session of its own, and all that it has started."""
    # As long as nobody has waited for it, even if it has ended, no other has its number.
    if process.returncode is None and hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):  # it may not lead a session yet
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


class _Reader(pickle.Unpickler):
    """Unpickles plain data and arrays only: what a child sends may come from any code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _GLOBALS:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an answer")
        return super().find_class(module, name)


def read(data: bytes | bytearray) -> Any:
    """Return what a child has packed; plain data and arrays, or ``pickle.UnpicklingError``."""
    return _Reader(io.BytesIO(data)).load()

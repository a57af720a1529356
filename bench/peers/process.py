"""The parent's side of a worker: send requests, apply timeouts, turn each failure into a reason."""

import json
import os
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from bench.peers import POOL_VARIABLES


class Refused(Exception):
    """A library gets no number; the message is the reason that its row prints."""


class Unequal(Refused):
    """A fit that is right and did other work: fewer rows or iterations. It stands beside."""


class Process:
    """One library in a process of its own; a context manager that ends it."""

    def __init__(
        self, name: str, threads: int, folder: Path, timeout: float, isa: str = ""
    ) -> None:
        self.name, self.threads, self.timeout = name, threads, timeout
        safe = f"{name}-{threads}{isa}".replace(":", "-").replace("/", "-")
        self._errors = folder / f"stderr-{safe}.txt"
        self._rest = b""
        added = dict.fromkeys(POOL_VARIABLES, str(threads))
        if isa:
            added["KMEANS_LAB_ISA"] = isa
        with self._errors.open("wb") as errors:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "bench.peers.worker", name, "--threads", str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=Path(__file__).parents[2],
                env=os.environ | added,
            )

    @property
    def pid(self) -> int:
        """Return the process's number."""
        return self._child.pid

    def ask(self, do: str, **arguments: object) -> Any:
        """Send a request and return its answer; ``Refused`` with the reason if there is none."""
        self.send(do, **arguments)
        return self.answer()

    def send(self, do: str, **arguments: object) -> None:
        """Send a request; ``answer`` must be called before the next one."""
        request = json.dumps({"do": do} | arguments) + "\n"
        assert self._child.stdin is not None
        if self._child.stdin.closed:
            raise Refused("failed: its process has ended")
        try:
            self._child.stdin.write(request.encode())
            self._child.stdin.flush()
        except BrokenPipeError:
            raise Refused(self._last_words()) from None

    def answer(self) -> Any:
        """Wait for the answer to the last request; ``Refused`` if there is none."""
        line = self._line()
        try:
            answer = json.loads(line)
        except ValueError:
            self.end()
            raise Refused(f"failed: answered {line[:60]!r} in place of JSON") from None
        if "error" in answer:
            raise Refused(f"{answer['kind']}: {answer['error'].strip()}")
        return answer

    def _line(self) -> bytes:
        assert self._child.stdout is not None
        pipe, deadline = self._child.stdout.fileno(), monotonic() + self.timeout
        while b"\n" not in self._rest:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - monotonic()))
            if not ready:
                self.end()
                raise Refused(f"failed: no answer within {self.timeout:g} s")
            received = os.read(pipe, 65_536)
            if not received:
                raise Refused(self._last_words())
            self._rest += received
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _last_words(self) -> str:
        self.end()
        words = self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = f": {words[-1].strip()}" if words else ""
        return f"failed: the process ended with status {self._child.returncode}{said}"

    def end(self) -> None:
        """End the process: by closing its input, then by force."""
        if self._child.stdin is not None and not self._child.stdin.closed:
            with suppress(BrokenPipeError):
                self._child.stdin.close()  # the end of its requests
        try:
            self._child.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

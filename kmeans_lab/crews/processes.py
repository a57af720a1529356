"""Processes that share X, labels and partial results in one block of shared memory.

Each worker is sent the kernel's *name*, imports it, and keeps its own chunks for the whole fit.
A command is one short message over a pipe; arrays are never sent. A worker that dies is seen at
once through its sentinel. The block has a name only until every worker has mapped it, so that
nothing can leave it behind.
"""

import multiprocessing.process
import multiprocessing.resource_tracker
import os
import pickle
import shutil
import signal
import warnings
import weakref
from contextlib import nullcontext, suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.shared_memory import SharedMemory
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.crews.base import Crew, Job
from kmeans_lab.crews.blas import one_blas_thread
from kmeans_lab.crews.chunks import Chunks
from kmeans_lab.crews.helpers import undisturbed
from kmeans_lab.crews.layout import Layout, copy_rows, partials_in, rows_in
from kmeans_lab.crews.spawning import GUARD, UNGUARDED, WORKER, refuse_where_workers_cannot_start
from kmeans_lab.kernel import Array, Kernel, Labels, read_only
from kmeans_lab.registry import KERNELS, load_kernel, load_sparse
from kmeans_lab.sparse.rows import SparseRows


class WorkerDiedError(RuntimeError):
    """A worker process ended in the middle of a fit; the message says how."""


_RESERVED_AT_ONCE = 1 << 22  # bytes, a millisecond: a signal undoes what one call has reserved
_SHARED_MEMORY_FOLDER = "/dev/shm"  # where Linux keeps it; only its free space is read


class _Block(SharedMemory):
    """Shared memory that may outlive its fit: in the arrays that a traceback holds."""

    _name: str | None = None  # None: it could not be opened
    _fd: int
    _mapped = False

    def __init__(self, name: str | None = None, size: int = 0) -> None:
        self._creator = os.getpid() if name is None else None  # the process that removes the name
        super().__init__(name, create=name is None, size=size)
        self._mapped = True

    def reserve(self) -> None:
        """Reserve its memory: writing to a page that is missing would end the process."""
        if hasattr(os, "posix_fallocate"):  # Linux hands out pages at the first write
            for first in range(0, self.size, _RESERVED_AT_ONCE):
                os.posix_fallocate(self._fd, first, min(_RESERVED_AT_ONCE, self.size - first))

    def close_file(self) -> None:
        """Close the file: the mapping has one of its own, which goes with the last array."""
        if self._fd >= 0:
            file, self._fd = self._fd, -1
            os.close(file)

    def unlink(self) -> None:
        """Remove the name, once; the memory is freed with the last process that has mapped it."""
        if self._name and self._creator == os.getpid():
            self._creator = None
            if not self._mapped and os.name == "posix":  # unlink() unregisters it
                multiprocessing.resource_tracker.register(self._name, "shared_memory")
            super().unlink()

    def close(self) -> None:
        """Unmap the block, or leave that to the last array that refers to it."""
        self.close_file()
        with suppress(BufferError):
            super().close()

    def __del__(self) -> None:
        self.unlink()
        super().__del__()


#: Crews whose processes run, held weakly: one that nothing else refers to ends.
_crews: weakref.WeakSet["ProcessCrew"] = weakref.WeakSet()


class ProcessCrew(Crew):
    """A share of the chunks in each process."""

    _processes: Any = ()
    _block: _Block | None = None
    _one_process = False  # workers get no weights

    def __init__(self, job: Job) -> None:
        self._rescored = 0
        self._processes = []
        self._pipes: list[Connection[Any, Any]] = []
        super().__init__(job)

    def _start(self) -> None:
        rows = self.job.rows
        layout = Layout.of(rows, self.job.n_clusters, len(self.bounds))
        _refuse_what_does_not_fit(layout.size)  # before anything is started
        try:
            _crews.add(self)
            # Processes first: in a script without its main guard, starting one fails in every
            # worker, which then has no block of its own to leave behind.
            for w in range(self.n_workers):
                undisturbed(partial(self._start_process, w))
            block = self._make_block(layout.size)
            views = layout.views(block)
            copy_rows(rows, views)
            views["labels"].fill(-1)
            self.rows = rows_in(views)
            self.labels, self._centers = views["labels"], views["centers"]
            self.partials = partials_in(views)
            del views
            for w, share in enumerate(self.shares()):
                setup = self.job.name, block.name, layout, self.bounds, share
                self._send(w, (*setup, self.kernel_threads))
            self._collect()
            undisturbed(block.unlink)  # all have mapped it
        except BaseException:
            self.close(kill=True)
            raise

    def _start_process(self, w: int) -> None:
        # spawn: a forked child of a process with threads can inherit a lock that is never released
        context = get_context("spawn")
        mine, theirs = context.Pipe()
        process = context.Process(
            target=_serve, args=(theirs,), daemon=True, name=f"{WORKER} {w + 1}"
        )
        try:
            process.start()
        except (OSError, MemoryError) as error:
            raise RuntimeError(
                f"mode='processes' could not start worker process {w + 1} of {self.n_workers} "
                f"({error}); ask for fewer n_threads, use mode='threads', or raise the "
                "system's limits on processes and memory (ulimit -u, ulimit -v)"
            ) from error
        theirs.close()
        self._processes.append(process)
        self._pipes.append(mine)

    def _make_block(self, size: int) -> _Block:
        def make() -> None:
            self._block = _Block(size=size)

        try:
            undisturbed(make)
            assert self._block is not None  # undisturbed(make) has set it
            self._block.reserve()
            undisturbed(self._block.close_file)
        except OSError as error:
            raise MemoryError(
                f"mode='processes' needs {size / 2**20:.0f} MiB of shared memory, which the system "
                f"refuses ({error.strerror}); use mode='threads'"
            ) from error
        return self._block

    def _run(self, order: str, centers: Array) -> None:
        np.copyto(self._centers, centers)
        for w in range(self.n_workers):
            self._send(w, order)
        self._rescored = sum(self._collect())

    def labels_to_keep(self, *, last: bool) -> Labels:
        """Return a copy: the labels themselves lie in shared memory, which is freed."""
        return self.labels.copy()

    def rescored(self) -> int:
        """Count the near-ties that the workers have decided by direct differences so far."""
        return self._rescored

    def _send(self, w: int, message: Any) -> None:
        try:
            self._pipes[w].send(message)
        except OSError:  # the worker's end is closed: it has died since its last answer
            self._report_death(w)

    def _collect(self) -> list[int]:
        """Wait for every worker's answer: its count of rescored near-ties, or its exception."""
        answers = []
        for w, (process, pipe) in enumerate(zip(self._processes, self._pipes, strict=True)):
            wait([pipe, process.sentinel])
            try:
                answer = pipe.recv()
            except (EOFError, OSError):  # a dead worker's end of the pipe is closed
                self._report_death(w)
            if isinstance(answer, BaseException):
                raise answer
            answers.append(answer)
        return answers

    def _report_death(self, w: int) -> NoReturn:
        process = self._processes[w]
        process.join()
        code = process.exitcode
        if code == UNGUARDED:
            raise WorkerDiedError(
                "mode='processes' reads the main module again in each worker, and there it called "
                f"kmeans again; {GUARD}, or use mode='threads'"
            ) from None
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise WorkerDiedError(
            f"worker process {w + 1} of {self.n_workers} {how} during the fit, and its share of "
            f"the result is lost; in a script, {GUARD}, and use fewer n_threads where memory runs "
            "out"
        ) from None

    def close(self, *, kill: bool = False) -> None:
        """End the processes and release the block."""
        try:
            undisturbed(partial(self._end, kill))
        except BaseException:
            self._end(kill=True)  # the crew has not begun
            raise

    def _end(self, kill: bool) -> None:
        _crews.discard(self)
        processes, self._processes = self._processes, []
        pipes, self._pipes = self._pipes, []
        for process in processes:
            if kill:
                process.kill()
        for pipe in pipes:
            pipe.close()  # a waiting worker reads the end of the pipe and leaves
        for process in processes:
            process.join()
            process.close()
        block, self._block = self._block, None
        if block is not None:
            block.unlink()
            for view in ("rows", "labels", "_centers", "partials"):
                self.__dict__.pop(view, None)  # missing ones: the start was interrupted
            block.close()

    def __del__(self) -> None:
        if self._processes or self._block is not None:  # an exception left nobody to close it
            self._end(kill=True)

    def forget(self) -> None:
        """Leave the workers to the process that started them, of which this is a forked child.

        multiprocessing would end them when the child exits, and an open pipe would keep them alive
        when the parent does.
        """
        for process in self._processes:
            getattr(multiprocessing.process, "_children", set()).discard(process)
        for pipe in self._pipes:
            pipe.close()
        self._processes, self._pipes = [], []


def start_process_crew(job: Job) -> Crew:
    """Start worker processes for a registered kernel.

    ``RuntimeError`` where this process cannot start any.
    """
    load = load_sparse if isinstance(job.rows, SparseRows) else load_kernel
    if job.name not in KERNELS or load(job.name) is not job.kernel:
        raise ValueError(
            f"mode='processes' sends kernels by name and this {job.name!r} is not in the registry; "
            "add a row to KERNELS or use mode='threads'"
        )
    refuse_where_workers_cannot_start()
    return ProcessCrew(job)


def _serve(pipe: "Connection[Any, Any]") -> None:
    """Compute one share in a worker process until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent sees Ctrl-C and ends its workers
    block = None
    try:
        name, block_name, layout, bounds, share, n_threads = pipe.recv()
        block = _Block(block_name)
        block.close_file()
        if share.start > 0:
            warnings.simplefilter("ignore")  # the first worker warns for all
        with one_blas_thread() if KERNELS[name].blas else nullcontext():
            views = layout.views(block)
            kernel = load_sparse(name) if "indptr" in views else load_kernel(name)
            _answer_orders(pipe, kernel, views, bounds, share, n_threads)
    except (EOFError, BrokenPipeError):
        pass  # the parent has closed its end: the fit is over
    except BaseException as error:  # it is raised again in the parent
        with suppress(OSError):  # the parent has ended the fit
            pipe.send(_picklable(error))
    if block is not None:
        block.close()


def _answer_orders(
    pipe: "Connection[Any, Any]",
    kernel: Kernel,
    views: dict[str, NDArray[Any]],
    bounds: list[tuple[int, int]],
    share: range,
    n_threads: int,
) -> None:
    centers, partials = read_only(views["centers"]), partials_in(views)
    chunks = Chunks(kernel, rows_in(views), views["labels"], partials, bounds, share, n_threads)
    pipe.send(0)
    while True:
        order = pipe.recv()
        getattr(chunks, order)(centers)
        pipe.send(chunks.rescored())


def _picklable(error: BaseException) -> BaseException:
    """Return the error, or its text where it cannot be sent through a pipe."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"a worker process failed: {type(error).__name__}: {error}")
    return error


def _refuse_what_does_not_fit(size: int) -> None:
    """Refuse a block beyond the free shared memory: writing to it would end the process."""
    try:
        free = shutil.disk_usage(_SHARED_MEMORY_FOLDER).free
    except FileNotFoundError:
        return  # not Linux: the operating system refuses by itself
    if size > free:
        raise MemoryError(
            f"mode='processes' needs {size / 2**20:.0f} MiB of shared memory and "
            f"{free / 2**20:.0f} MiB are free in {_SHARED_MEMORY_FOLDER}; use mode='threads'"
        )


def _forget_all() -> None:
    for crew in tuple(_crews):
        crew.forget()
    _crews.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)

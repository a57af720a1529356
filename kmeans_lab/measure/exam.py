"""``kmeans-lab check``: the questions of ``conformance``, asked of a kernel in its own process."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kmeans_lab.io.errors import Refused
from kmeans_lab.isolation.children import ChildError, Ended, Raised
from kmeans_lab.isolation.kernel_child import KernelChild
from kmeans_lab.isolation.messages import Description
from kmeans_lab.isolation.remote import RemoteKernel
from kmeans_lab.measure.conformance import QUESTIONS, many_rows
from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.numerics.whole_numbers import Wrong

#: Seconds that a call may take, and one with very many rows.
PATIENCE, MANY_PATIENCE = 60.0, 300.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of one question to a kernel.

    Attributes
    ----------
    question : str
        What was asked.
    wrong : str
        What is wrong, in a sentence; empty where nothing is.
    asked : bool
        Whether it was asked at all; where it was not, ``wrong`` says why.
    """

    question: str
    wrong: str
    asked: bool = True


def examine(name: str) -> Iterator[Answer]:
    """Ask all questions of a kernel, in a process of its own; yield the answers as they come.

    A question that ends the process is answered wrong, and the next one is asked in a new process.
    After a second one, or one that took longer than ``PATIENCE``, no other is asked.

    Raises
    ------
    Refused
        The kernel cannot run here, for another reason than that it lacks a function.
    """
    exam = _Exam(name)
    try:
        yield (first := exam.begin())
        right = not first.wrong
        if "no function" in first.wrong:
            return
        for question, ask in QUESTIONS.items():
            answer = exam.ask(question, ask)
            right = right and not answer.wrong
            yield answer
        if right:  # a wrong kernel might take minutes
            yield exam.ask("it is right on many rows, too", many_rows, MANY_PATIENCE)
    finally:
        exam.end()


class _Exam:
    """An examination of one kernel, in one process after another."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.late = ""
        self.ended = False
        self.child: KernelChild | None = None
        self.kernel: Any = None

    def begin(self) -> Answer:
        """Start a process, and ask which functions the kernel has."""
        question = "it has assign and update"
        try:
            found = self._start()
        except ChildError as error:
            return Answer(question, f"importing it: {error}")
        if found["state"] != "ready" and not found["incomplete"]:
            raise Refused(found["reason"])
        missing = [verb for verb in ("assign", "update") if verb not in found["verbs"]]
        none = f"there is no function {' and no function '.join(missing)}"
        return Answer(question, none if missing else "")

    def ask(
        self, name: str, question: Callable[[str, Any], None], patience: float | None = None
    ) -> Answer:
        """Ask a question, unless the kernel has ended or stopped its processes before."""
        if self.late:
            return Answer(name, f"it was not asked: {self.late}", asked=False)
        return Answer(name, self._wrong_in(name, question, patience))

    def _wrong_in(
        self, name: str, question: Callable[[str, Any], None], patience: float | None
    ) -> str:
        """Return what is wrong with the kernel's answer to a question."""
        try:
            if self.child is None or self.child.over:
                self._start()
            assert self.child is not None  # it was started
            self.child.patience = PATIENCE if patience is None else patience
            question(self.name, self.kernel)
        except (Wrong, CertificateError) as error:
            return str(error)
        except Raised as error:
            return f"it raised {error}"
        except Ended as end:
            if end.late or self.ended:
                self.late = f"at {name!r} {end}" + " as once before" * self.ended
            self.ended = True
            return str(end)
        except Exception as error:  # it returned what cannot be added or compared
            return f"its answer cannot be used ({type(error).__name__}: {error})"
        return ""

    def _start(self) -> Description:
        self.end()
        self.child = KernelChild(self.name)
        found = self.child.describe(PATIENCE)
        self.kernel = RemoteKernel(self.child, found["verbs"])
        return found

    def end(self) -> None:
        """End the process."""
        if self.child is not None:
            self.child.close()

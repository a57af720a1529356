"""Detect processes forked in the middle of a fit: threads and workers stay with the parent."""

import os

#: Forks between the process that imported this module and this one.
_generation = 0


def generation() -> int:
    """Return a number that is different in every process forked from this one."""
    return _generation


def refuse_elsewhere(begun: int) -> None:
    """Raise ``RuntimeError`` in a process that was forked since the generation ``begun``."""
    if _generation != begun:
        raise RuntimeError(
            "this process was forked inside a callback, init function, stop rule or kernel of a "
            "fit, and the fit goes on in its parent alone, with its threads and workers; end the "
            "child there with os._exit, or call kmeans anew in it"
        )


def _count() -> None:
    global _generation
    _generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count)

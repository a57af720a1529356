"""A kernel of the lab whose assignment takes longer: its name and the share are in SLOWED."""

import os
from time import perf_counter
from typing import Any

from kmeans_lab.registry import load_kernel

_NAME, _SHARE = os.environ["SLOWED"].split()


def _lengthened(function: Any, share: float) -> Any:
    def call(*arguments: Any) -> Any:
        start = perf_counter()
        answer = function(*arguments)
        end = perf_counter()
        while perf_counter() < end + share * (end - start):
            pass
        return answer

    return call


for _verb in ("prepare", "assign", "update", "assign_update", "inertia"):
    if (_function := getattr(load_kernel(_NAME), _verb, None)) is not None:
        _slow = _verb.startswith("assign")
        globals()[_verb] = _lengthened(_function, float(_SHARE)) if _slow else _function

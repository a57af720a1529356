"""The pytest-benchmark suites and the code that they share.

Importing this package holds every thread pool at one thread that has not been loaded yet: one
thread for every kernel, set before NumPy reads it. conftest.py confirms it with threadpoolctl.
"""

import os

#: Every pool that could compute behind a kernel's back.
ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)
os.environ.update(dict.fromkeys(ONE_THREAD, "1"))

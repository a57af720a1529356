"""kmeans_lab beside other libraries: a process per library and thread count, equal work only.

``python -m bench.peers`` runs it. Nothing is imported here: a worker sets its thread count first.
"""

#: Every variable from which a thread pool takes its size when it is loaded.
POOL_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)

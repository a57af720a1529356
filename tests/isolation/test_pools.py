"""The thread pools that a record names."""

import io
import json

from scipy.io import mmread
from threadpoolctl import threadpool_info

from kmeans_lab.isolation.pools import pools


def test_only_pools_of_arithmetic_are_recorded() -> None:
    # SciPy registers its reader of such files, whose version is a function, at the first file.
    mmread(io.BytesIO(b"%%MatrixMarket matrix array real general\n1 1\n2.5\n"))
    assert "scipy_mmio" in {pool["internal_api"] for pool in threadpool_info()}
    found = pools()
    assert found
    assert all(pool["num_threads"] >= 1 for pool in found)
    assert json.loads(json.dumps(found)) == found

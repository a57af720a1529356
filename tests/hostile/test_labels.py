"""Labels that name no cluster: update refuses them before it writes anywhere."""

import numpy as np
import pytest

from tests.support.helpers import cloud, prepared

pytestmark = pytest.mark.hostile

N, K = 500, 9


def test_a_label_out_of_range_is_refused_and_nothing_added(kernel, dtype):
    X = cloud(seed=0, n_samples=N, n_features=4, dtype=dtype)
    rows = prepared(kernel, X, K)
    for place in (0, N // 2, N - 1):
        for wrong in (-1, K, -(2**31), 2**31 - 1):
            labels, sums, counts = np.zeros(N, np.int32), np.zeros((K, 4)), np.zeros(K, np.int64)
            labels[place] = wrong
            with pytest.raises(ValueError, match="labels from 0 to n_clusters - 1"):
                kernel.update(rows, labels, sums, counts)
            assert not sums.any()
            assert not counts.any()


def test_the_first_and_the_last_cluster_are_within_range(kernel, dtype):
    X = cloud(seed=0, n_samples=N, n_features=4, dtype=dtype)
    labels = np.arange(N, dtype=np.int32) % 2 * (K - 1)
    sums, counts = np.zeros((K, 4)), np.zeros(K, np.int64)
    kernel.update(prepared(kernel, X, K), labels, sums, counts)
    np.testing.assert_array_equal(counts, np.bincount(labels, minlength=K))

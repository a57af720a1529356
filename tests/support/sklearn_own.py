"""A pytest plugin: scikit-learn's own tests of KMeans and MiniBatchKMeans, run against ours.

``python -m pytest -p tests.support.sklearn_own --pyargs sklearn.cluster.tests.test_k_means``

What is left out, and why, by a part of the test's name:
"""

import pytest
import sklearn.cluster

import kmeans_lab

EXCLUDED = {
    "test_minibatch_reassign": "calls the private _mini_batch_step; see test_minibatch.py",
    "test_minibatch_update_consistency": "calls the private _mini_batch_step",
    "test_sample_weight_init": "calls the private KMeans._init_centroids; see test_weights.py",
    "test_sample_weight_zero": "calls the private KMeans._init_centroids; see test_weights.py",
}

sklearn.cluster.KMeans = kmeans_lab.KMeans
sklearn.cluster.MiniBatchKMeans = kmeans_lab.MiniBatchKMeans


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is excluded."""
    left_out = [item for item in items if any(word in item.name for word in EXCLUDED)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)

"""Numbers beyond what compiled code holds, and what vanishes beside something large."""

import numpy as np
import pytest

from kmeans_lab import KMeans, MiniBatchKMeans, kmeans
from kmeans_lab.compress import compress
from kmeans_lab.dbscan import dbscan
from kmeans_lab.registry import KERNELS, load_kernel
from kmeans_lab.silhouette import silhouette_samples
from kmeans_lab.soft import responsibilities
from tests.support.helpers import cloud

pytestmark = pytest.mark.hostile

X = cloud(seed=2, n_samples=60, n_features=2)
HUGE = [2**31, 2**32 + 1, 2**63, 2**64 + 1, 10**30]
OTHERS = ("Error", "incompatible", "NDArray", "C long", "C ssize_t")  # said by other packages


def sentence(refused):
    text = str(refused.value)
    assert "\n" not in text
    assert not any(word in text for word in OTHERS), text
    return text


@pytest.mark.parametrize("number", [10**8, *HUGE])
def test_more_threads_than_there_can_be(number):
    for fit in (
        lambda: kmeans(X, 3, n_threads=number),
        lambda: kmeans(X, 3, n_threads=number, mode="threads", kernel="cpp"),
        lambda: kmeans(X, 3, n_threads=number, mode="processes", kernel="cpp"),
        lambda: KMeans(3, n_threads=number).fit(X),
    ):
        with pytest.raises(ValueError, match=rf"^n_threads={number} must be") as refused:
            fit()
        sentence(refused)


@pytest.mark.parametrize("number", HUGE)
def test_numbers_that_no_narrow_type_holds_are_numbers(number):
    for call in (
        lambda: kmeans(X, 3, max_iter=number),
        lambda: KMeans(3, max_iter=number).fit(X),
        lambda: MiniBatchKMeans(3, batch_size=number, init_size=number).fit(X),
        lambda: MiniBatchKMeans(3, max_no_improvement=number, max_iter=3).fit(X),
        lambda: compress(np.zeros((3, 3, 3), np.uint8), number, n_init=number),
        lambda: dbscan(X, 1.0, number),
        lambda: kmeans(X, 3, random_state=number),
        lambda: kmeans(X, 3, stop="labels", tol=number),
    ):
        call()
    for call in (
        lambda: kmeans(X, number),
        lambda: KMeans(number).fit(X),
        lambda: MiniBatchKMeans(number).partial_fit(X),
    ):
        with pytest.raises(ValueError, match=str(number)) as refused:
            call()
        sentence(refused)


@pytest.mark.parametrize("name", ["n_clusters", "n_init", "max_iter", "n_threads"])
def test_numbers_that_python_does_not_print(name):
    options = {"n_clusters": 3, name: 10**5000}
    calls = [
        lambda: kmeans(X, **options),
        lambda: kmeans(X, **options | {name: -(10**5000)}),
        lambda: KMeans(**options).fit(X),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=f"^{name} has hundreds of digits") as refused:
            call()
        sentence(refused)


PREPARING = [name for name in KERNELS if name.endswith(("-tiled", "-simd"))]


@pytest.mark.kernels(*PREPARING)
def test_kernels_refuse_numbers_beyond_reason(kernel):
    for number in (0, -1, -(2**40), 10**8, *HUGE):
        with pytest.raises(ValueError, match=rf"n_threads={number}\D.*to 4096") as refused:
            kernel.prepare(X, 3, number)
        sentence(refused)
        if number != 10**8:
            with pytest.raises(ValueError, match=rf"n_clusters={number}\D") as refused:
                kernel.prepare(X, number, 1)
            sentence(refused)
    rows = kernel.prepare(X, np.int8(3), np.int8(2))
    assert kernel.assign(rows, X[:3].copy(), np.empty(60, np.int32)) > 0


def test_numpy_and_the_seeding_refuse_numbers_beyond_reason():
    for number in HUGE:
        with pytest.raises(ValueError, match="n_clusters=") as refused:
            load_kernel("numpy").prepare(X, number, 1)
        sentence(refused)


NARROW = np.tile([[1.0, 1e-170], [1.0, -1e-170]], (4, 1))
SEES = {
    "kmeans": lambda rows: kmeans(rows, 2),
    "KMeans": lambda rows: KMeans(2).fit(rows),
    "MiniBatchKMeans": lambda rows: MiniBatchKMeans(2).fit(rows),
    "partial_fit": lambda rows: MiniBatchKMeans(2).partial_fit(rows),
    "dbscan": lambda rows: dbscan(rows, 1e-100, 2),
    "silhouette": lambda rows: silhouette_samples(rows, [0, 1] * (len(rows) // 2)),
    "responsibilities": lambda rows: responsibilities(rows, rows[:2], 1e-170),
    "one row": lambda rows: responsibilities(rows[:1], rows[:2], 1e-170),
}


@pytest.mark.parametrize("call", SEES)
def test_a_constant_column_hides_no_underflow(call):
    late = np.repeat(NARROW[:1], 4000, axis=0)
    late[3000:3002, 1] = -1e-170  # where a look at a few rows does not come across it
    for rows in (
        NARROW,
        np.add(NARROW, [1e100, 0.0]),
        NARROW[:, ::-1].copy(),
        late[2999:3003],
        late,
    ):
        if call == "one row" and rows is late:
            continue
        with pytest.raises(ValueError, match=r"^no two values of a column differ by more") as told:
            SEES[call](rows)
        sentence(told)
    SEES[call](NARROW * [1.0, 1e30])
    narrow = (NARROW * [1.0, 1e150]).astype(np.float32)
    if call in ("kmeans", "KMeans", "MiniBatchKMeans", "partial_fit"):
        with pytest.raises(ValueError, match=r"float32 needs .* or use float64$"):
            SEES[call](narrow)


def test_rows_that_are_all_alike_are_no_underflow(kernel_name):
    result = kmeans(np.tile([1.0, 1e-170], (9, 1)), 2, kernel=kernel_name)
    assert result.inertia == 0


LIGHT = np.r_[[1e-200] * 20, [1e200] * 40]
WEIGH = {
    "kmeans": lambda weights, rows: kmeans(rows, 3, sample_weight=weights),
    "KMeans": lambda weights, rows: KMeans(3).fit(rows, sample_weight=weights),
    "MiniBatchKMeans": lambda weights, rows: MiniBatchKMeans(3).fit(rows, sample_weight=weights),
    "partial_fit": lambda weights, rows: MiniBatchKMeans(3).partial_fit(rows, None, weights),
    "score": lambda weights, rows: KMeans(3).fit(rows).score(rows, sample_weight=weights),
}


@pytest.mark.parametrize("call", WEIGH)
def test_no_weight_vanishes_beside_another(call):
    tiny = np.r_[[5e-324] * 20, [1.0] * 40]
    for weights, rows in ((LIGHT, X), (tiny, X), (np.r_[1e-120, [1] * 59], X * 1e-100)):
        with pytest.raises(
            ValueError, match=r"^sample_weight\[0\] is \S+ beside a largest"
        ) as told:
            WEIGH[call](weights, rows)
        sentence(told)
    for weights in (
        np.r_[[1e-100] * 20, [1e200] * 40],  # 10³⁰⁰ times as much is told apart
        np.r_[[0.0] * 20, [1e200] * 40],
        np.full(60, 5e-324),
    ):
        WEIGH[call](weights, X)


def test_what_can_be_told_apart_is_told_apart():
    rows = np.array([[0.0], [1.0], [9.0], [10.0]])
    result = kmeans(rows, 2, init=[[0.0], [9.0]], sample_weight=[1e-140, 1e-140, 1e150, 1e150])
    np.testing.assert_array_equal(result.centers, [[0.5], [9.5]])


def test_a_light_batch_counts_after_a_heavy_one_where_it_has_a_center_to_itself():
    model = MiniBatchKMeans(2, init=np.array([[0.0], [10.0]]), reassignment_ratio=0)
    model.partial_fit([[0.0], [1.0]], sample_weight=[1e-200, 1e-200])
    model.partial_fit([[9.0], [10.0]], sample_weight=[1e200, 1e200])
    model.partial_fit([[3.5]], sample_weight=[1e-200])
    np.testing.assert_allclose(model.cluster_centers_, [[1.5], [9.5]], rtol=1e-15)
    model.partial_fit([[2.0]], sample_weight=[1e300])  # beside which the light rows are nothing
    np.testing.assert_allclose(model.cluster_centers_, [[2.0], [9.5]], rtol=1e-15)

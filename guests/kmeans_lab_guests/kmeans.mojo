"""The nested loops in Mojo, a shared library that is called through ctypes.

The same loops as kmeans_lab/_py_kernel.py and cpp/kmeans.cpp, in the same order and with the same
names, so that the files can be compared line by line. Distances are computed in Float64 for both
dtypes of rows.
"""

comptime Values[dtype: DType] = Pointer[Scalar[dtype], MutAnyOrigin]


def assign[
    real: DType
](
    rows: Values[real],  # IN  (n_samples, n_features)
    centers: Values[real],  # IN  (n_clusters, n_features)
    labels: Values[DType.int32],  # OUT (n_samples,)
    n_samples: Int,
    n_features: Int,
    n_clusters: Int,
) -> Float64:
    """Overwrite labels with each row's nearest center, the first of equals; return the inertia."""
    var inertia: Float64 = 0.0
    for i in range(n_samples):
        var best = Float64.MAX
        var nearest = 0
        for j in range(n_clusters):
            var distance: Float64 = 0.0
            for f in range(n_features):
                var x = rows[unsafe_offset=i * n_features + f].cast[DType.float64]()
                var c = centers[unsafe_offset=j * n_features + f].cast[DType.float64]()
                var diff = x - c
                distance += diff * diff
            if distance < best:
                best = distance
                nearest = j
        labels[unsafe_offset=i] = Int32(nearest)
        inertia += best
    return inertia


def update[
    real: DType
](
    rows: Values[real],  # IN    (n_samples, n_features)
    labels: Values[DType.int32],  # IN    (n_samples,)
    sums: Values[DType.float64],  # INOUT (n_clusters, n_features), added to
    counts: Values[DType.int64],  # INOUT (n_clusters,), added to
    n_samples: Int,
    n_features: Int,
    n_clusters: Int,
) -> Int32:
    """Add each row to its cluster's sum, and one to its count; 0 where a label is none."""
    for i in range(n_samples):
        var j = Int(labels[unsafe_offset=i])
        if j < 0 or j >= n_clusters:
            return 0
    for i in range(n_samples):
        var j = Int(labels[unsafe_offset=i])
        for f in range(n_features):
            var x = rows[unsafe_offset=i * n_features + f].cast[DType.float64]()
            sums[unsafe_offset=j * n_features + f] += x
        counts[unsafe_offset=j] += 1
    return 1


# What ctypes calls. It has checked shapes and dtypes; an exported function has one type.


@export("assign_float64")
def assign_float64(
    rows: Values[DType.float64],
    centers: Values[DType.float64],
    labels: Values[DType.int32],
    n_samples: Int,
    n_features: Int,
    n_clusters: Int,
) abi("C") -> Float64:
    return assign(rows, centers, labels, n_samples, n_features, n_clusters)


@export("update_float64")
def update_float64(
    rows: Values[DType.float64],
    labels: Values[DType.int32],
    sums: Values[DType.float64],
    counts: Values[DType.int64],
    n_samples: Int,
    n_features: Int,
    n_clusters: Int,
) abi("C") -> Int32:
    return update(rows, labels, sums, counts, n_samples, n_features, n_clusters)


@export("assign_float32")
def assign_float32(
    rows: Values[DType.float32],
    centers: Values[DType.float32],
    labels: Values[DType.int32],
    n_samples: Int,
    n_features: Int,
    n_clusters: Int,
) abi("C") -> Float64:
    return assign(rows, centers, labels, n_samples, n_features, n_clusters)


@export("update_float32")
def update_float32(
    rows: Values[DType.float32],
    labels: Values[DType.int32],
    sums: Values[DType.float64],
    counts: Values[DType.int64],
    n_samples: Int,
    n_features: Int,
    n_clusters: Int,
) abi("C") -> Int32:
    return update(rows, labels, sums, counts, n_samples, n_features, n_clusters)

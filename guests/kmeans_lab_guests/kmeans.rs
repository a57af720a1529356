//! The nested loops in Rust, a shared library without dependencies that is called through ctypes.
//!
//! The same loops as kmeans_lab/_py_kernel.py and cpp/kmeans.cpp, in the same order and with the
//! same names, so that the files can be compared line by line. Distances are computed in f64 for
//! both dtypes. The loops are safe Rust: only where addresses become slices is anything trusted.

use std::slice::{from_raw_parts, from_raw_parts_mut};

/// Overwrite labels with each row's nearest center, the first of equals; return the inertia.
fn assign<T: Copy + Into<f64>>(
    rows: &[T],         // IN  (n_samples, n_features)
    centers: &[T],      // IN  (n_clusters, n_features)
    labels: &mut [i32], // OUT (n_samples,)
    n_features: usize,
    n_clusters: usize,
) -> f64 {
    let mut inertia = 0.0;
    for i in 0..labels.len() {
        let row = &rows[i * n_features..][..n_features];
        let mut best = f64::INFINITY;
        let mut nearest = 0;
        for j in 0..n_clusters {
            let center = &centers[j * n_features..][..n_features];
            let mut distance = 0.0;
            for f in 0..n_features {
                let diff = row[f].into() - center[f].into();
                distance += diff * diff;
            }
            if distance < best {
                best = distance;
                nearest = j as i32;
            }
        }
        labels[i] = nearest;
        inertia += best;
    }
    inertia
}

/// Add each row to its cluster's sum, and one to its count.
fn update<T: Copy + Into<f64>>(
    rows: &[T],         // IN    (n_samples, n_features)
    labels: &[i32],     // IN    (n_samples,), each in 0..n_clusters
    sums: &mut [f64],   // INOUT (n_clusters, n_features), added to
    counts: &mut [i64], // INOUT (n_clusters,), added to
    n_features: usize,
) {
    for i in 0..labels.len() {
        let row = &rows[i * n_features..][..n_features];
        let j = labels[i] as usize;
        let sum = &mut sums[j * n_features..][..n_features];
        for f in 0..n_features {
            sum[f] += row[f].into();
        }
        counts[j] += 1;
    }
}

// What ctypes calls. It has checked shapes and dtypes: each address holds as many values as the
// sizes say. A macro, since an exported function has one type.
macro_rules! export {
    ($real:ty, $assign:ident, $update:ident) => {
        #[no_mangle]
        pub unsafe extern "C" fn $assign(
            rows: *const $real,
            centers: *const $real,
            labels: *mut i32,
            n_samples: usize,
            n_features: usize,
            n_clusters: usize,
        ) -> f64 {
            let rows = from_raw_parts(rows, n_samples * n_features);
            let centers = from_raw_parts(centers, n_clusters * n_features);
            let labels = from_raw_parts_mut(labels, n_samples);
            assign(rows, centers, labels, n_features, n_clusters)
        }

        /// Returns 0, and adds nothing, where a label is outside 0..n_clusters.
        #[no_mangle]
        pub unsafe extern "C" fn $update(
            rows: *const $real,
            labels: *const i32,
            sums: *mut f64,
            counts: *mut i64,
            n_samples: usize,
            n_features: usize,
            n_clusters: usize,
        ) -> i32 {
            let rows = from_raw_parts(rows, n_samples * n_features);
            let labels = from_raw_parts(labels, n_samples);
            let sums = from_raw_parts_mut(sums, n_clusters * n_features);
            let counts = from_raw_parts_mut(counts, n_clusters);
            if labels.iter().any(|&j| j < 0 || j as usize >= n_clusters) {
                return 0;
            }
            update(rows, labels, sums, counts, n_features);
            1
        }
    };
}

export!(f64, assign_float64, update_float64);
export!(f32, assign_float32, update_float32);

#!/bin/sh
# Build every extension with a sanitizer, in a copy of the checkout, and run the suites there that
# could make it speak. Usage: sanitize.sh PYTHON address|thread|valgrind [pytest arguments]
set -eu
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
tool=$2
shift 2
cd "$(dirname "$0")/../.."
folder=build/$tool
mkdir -p "$folder"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$folder"
cd "$folder"

case $tool in
address) flags="-fsanitize=address,undefined -fno-sanitize-recover=all" libraries="asan ubsan" ;;
thread) flags="-fsanitize=thread" libraries="tsan" ;;
valgrind) flags="" libraries="" ;;
*) echo "sanitize.sh knows address, thread and valgrind, not '$tool'" >&2 && exit 2 ;;
esac
extra="-g -fno-omit-frame-pointer $flags"
# With all optimisation the flagship alone would take the compiler half an hour, and 5 GB.
for compiler in gcc g++; do
    printf '#!/bin/sh\nexec %s "$@" -O1\n' "$compiler" >"$compiler-quick"
    chmod +x "$compiler-quick"
done
CC=$PWD/gcc-quick CXX=$PWD/g++-quick CFLAGS=$extra CXXFLAGS=$extra LDFLAGS=$flags \
    "$python" setup.py -q build_ext --inplace

# Python itself has no sanitizer in it, so the libraries must be there before it starts; and C++
# exceptions are only followed when libstdc++ is, too.
preload=
for library in $libraries ${libraries:+stdc++}; do
    preload="$preload $(gcc -print-file-name="lib$library.so")"
done
# Python's own allocator would hide what lies beyond an object; it frees little at exit.
export PYTHONMALLOC=malloc PYTHONPATH="$PWD"
export ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=64 UBSAN_OPTIONS=print_stacktrace=1
# NumPy's BLAS is not built for it: how its threads wait cannot be seen, so there are none.
export TSAN_OPTIONS=halt_on_error=1 OPENBLAS_NUM_THREADS=1

# Numba's code is not in these builds, and plain Python needs none.
native="not numba and not python and not hundreds"
kernels="tests/kernels/test_contract.py tests/kernels/test_contract_refusals.py tests/kernels/test_properties.py
    tests/tuned/test_simd.py tests/tuned/test_simd_screening.py tests/tuned/test_tiled.py tests/tuned/test_tiled_balls.py
    tests/core/test_seeding.py tests/core/test_weights.py tests/crews/test_long_running.py
    tests/core/test_dbscan.py tests/core/test_dbscan_refusals.py tests/hostile/test_exact_sums.py
    tests/hostile/test_labels.py tests/hostile/test_starts_everywhere.py tests/hostile/test_small_values.py
    tests/tuned/test_cells.py tests/tuned/test_simd_rows.py tests/tuned/test_simd_carried.py
    tests/tuned/test_simd_passes.py tests/tuned/test_simd_calls.py tests/tuned/test_tiled_bounds.py
    tests/sparse_rows/test_sparse_simd.py tests/sparse_rows/test_fits.py tests/sparse_rows/test_damaged.py"
# shellcheck disable=SC2086  # $kernels is a list of files, one word each
case $tool in
address) env LD_PRELOAD="$preload" "$python" -m pytest -q $kernels -k "$native" "$@" ;;
thread)
    env LD_PRELOAD="$preload" "$python" -m pytest -q -p no:faulthandler tests/tuned/test_simd.py \
        tests/tuned/test_tiled.py tests/crews/test_long_running.py tests/core/test_driver_identical.py \
        -k "($native) and not fork" "$@"
    ;;
valgrind)
    # It knows no AVX-512 and says so to the program, which then takes the AVX2 code.
    valgrind --quiet --error-exitcode=9 --suppressions=tests/support/valgrind.supp --num-callers=25 \
        --leak-check=no "$python" -m pytest -q tests/kernels/test_contract.py tests/core/test_seeding.py \
        -k "($native) and not avx512" "$@"
    ;;
esac

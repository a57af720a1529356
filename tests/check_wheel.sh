#!/bin/sh
# Build the sdist, build the wheel from that sdist, install it where no checkout is in reach,
# and fit with every kernel. Usage: check_wheel.sh PYTHON (one that has the package `build`).
set -eu
case $1 in */*) python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1") ;; *) python=$1 ;; esac
checkout=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Without --sdist or --wheel, `build` makes the wheel from the sdist, not from the checkout.
"$python" -m build --outdir "$folder/dist" "$checkout"
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "$folder"/dist/*.whl

cd "$folder"
"$folder/venv/bin/python" - "$checkout" <<'EOF'
import sys

import kmeans_lab
from kmeans_lab import KERNELS, kmeans
from kmeans_lab.presets import PRESETS

assert not kmeans_lab.__file__.startswith(sys.argv[1]), kmeans_lab.__file__
workload = PRESETS["smoke"].load()
fits = {k: kmeans(workload.X, 5, kernel=k, **workload.settings()) for k in KERNELS}
assert all((fit.labels == fits["python"].labels).all() for fit in fits.values())
print(f"kmeans-lab {kmeans_lab.__version__} from the wheel: {', '.join(fits)} agree")
EOF

"$folder/venv/bin/kmeans-lab" bench --preset smoke --rounds 2 --json > run.json
grep -q '"format": "kmeans-lab bench"' run.json
grep -q '"build": [0-9]' run.json  # the wheel knows what building it took

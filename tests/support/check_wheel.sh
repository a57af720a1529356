#!/bin/sh
# Build the sdist, build the wheel from that sdist, install it where no checkout is in reach,
# and fit with every kernel. Usage: check_wheel.sh PYTHON (one that has the package `build`).
set -eu
case $1 in */*) python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1") ;; *) python=$1 ;; esac
checkout=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Without --sdist or --wheel, `build` makes the wheel from the sdist, not from the checkout.
"$python" -m build --outdir "$folder/dist" "$checkout"
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "$folder"/dist/*.whl

# No compiler is in reach of what was installed, and no checkout.
cd "$folder"
cp "$checkout/tests/support/installed.py" .
env PATH="$folder/venv/bin" "$folder/venv/bin/python" installed.py

# 1: a busy machine makes the run void, which is none of the wheel's doing.
"$folder/venv/bin/kmeans-lab" bench --preset smoke --rounds 2 --json > run.json || [ $? -eq 1 ]
grep -q '"format": "kmeans-lab bench"' run.json
grep -q '"build": [0-9]' run.json  # the wheel knows what building it took

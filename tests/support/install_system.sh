#!/usr/bin/env bash
# Installs what tests need and no Python package brings: Chromium for tests/web/test_page*.py, QEMU for
# tests/kernels/test_processors.py. Says so where it cannot: those tests say what they miss, so this never fails.
set -euo pipefail

missing=()
want() { # package, then the commands of which any will do
    local package=$1 name
    shift
    for name in "$@"; do
        if command -v "$name" > /dev/null; then
            echo "$package is there: $(command -v "$name")"
            return
        fi
    done
    missing+=("$package")
}
want chromium chromium chromium-browser google-chrome chrome
if [ "$(uname -sm)" = "Linux x86_64" ]; then
    want qemu-user qemu-x86_64
fi
if [ ${#missing[@]} = 0 ]; then
    exit 0
fi
if ! command -v apt-get > /dev/null; then
    echo "no ${missing[*]}, and no apt-get to install it: tests will be missing"
    exit 0
fi
become=""
if [ "$(id -u)" != 0 ]; then
    if ! sudo -n true 2> /dev/null; then
        echo "no ${missing[*]}, and no right to install it: tests will be missing"
        exit 0
    fi
    become="sudo -n"
fi
export DEBIAN_FRONTEND=noninteractive
if ! log=$($become apt-get -q update 2>&1); then
    echo "$log" | tail -n 3
fi
for package in "${missing[@]}"; do # one by one: the lack of one leaves the other
    if log=$($become apt-get -q install -y --no-install-recommends "$package" 2>&1); then
        echo "installed $package"
    else
        echo "$log" | tail -n 3
        echo "$package could not be installed: tests will be missing"
    fi
done

#!/usr/bin/env bash
# Installs Debian's Chromium for tests/test_web_page*.py, where it can; says so where it cannot.
# Those tests are skipped with a reason where there is no browser, so this never fails.
set -euo pipefail

for name in chromium chromium-browser google-chrome chrome; do
    if command -v "$name" > /dev/null; then
        echo "a browser is there: $(command -v "$name")"
        exit 0
    fi
done
if ! command -v apt-get > /dev/null; then
    echo "no browser, and no apt-get to install one: the tests of the page will be skipped"
    exit 0
fi
become=""
if [ "$(id -u)" != 0 ]; then
    if ! sudo -n true 2> /dev/null; then
        echo "no browser, and no right to install one: the tests of the page will be skipped"
        exit 0
    fi
    become="sudo -n"
fi
export DEBIAN_FRONTEND=noninteractive
if log=$({ $become apt-get -q update && $become apt-get -q install -y --no-install-recommends chromium; } 2>&1); then
    echo "installed $(command -v chromium)"
else
    echo "$log" | tail -n 3
    echo "no browser could be installed: the tests of the page will be skipped"
fi

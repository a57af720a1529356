"""Threads of the flagship: every piece of work is done once, however numbers of pieces change."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
#include <atomic>
#include <cstdio>

#include "simd/team.h"

int main() {
    lab::Team team(4);
    for (int turn = 0; turn < 300000; ++turn) {
        // A thread that is late for a turn of few pieces must not take one of the many that follow.
        const int n = turn % 2 == 0 ? 3 : 61;
        std::atomic<int> times[61] = {};
        team.run(n, [&](int piece, int) { ++times[piece]; });
        for (int piece = 0; piece < 61; ++piece) {
            if (times[piece] != (piece < n)) {
                std::printf("turn %d: piece %d, %d times", turn, piece, int(times[piece]));
                return 1;
            }
        }
    }
    std::printf("whole");
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_each_piece_is_done_once_whatever_came_before(tmp_path: Path) -> None:
    (tmp_path / "turns.cpp").write_text(PROGRAM)
    build = ["g++", "-std=c++17", "-O2", "-pthread", f"-I{ROOT / 'cpp'}", "turns.cpp"]
    subprocess.run([*build, "-o", "turns"], cwd=tmp_path, check=True)
    found = subprocess.run([tmp_path / "turns"], capture_output=True, text=True, timeout=60)
    assert found.stdout == "whole"

"""``make lint`` finds a fault wherever it lies, and a commit is checked by the same commands."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
(PARTS,) = re.findall(r"^lint: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

#: Part of ``make lint`` → tool, a file as deep as any may lie one day, a fault, and no fault.
PLANTED = {
    "lint-python": ("ruff", "kmeans_lab/a/b/deep.py", "import os\n", '"""Deep."""\n'),
    "lint-cython": ("cython-lint", "kmeans_lab/a/b/deep.pxi", "cdef int a;\n", "cdef int a\n"),
    "lint-cpp": ("clang-format", "cpp/a/b/deep.h", "int  deep ;\n", "int deep;\n"),
    "lint-shell": ("shellcheck", "tests/a/deep.sh", "#!/bin/sh\ncd $1\n", "#!/bin/sh\npwd\n"),
    "lint-page": ("oxlint", "kmeans_lab/web/a/deep.js", "const a = 1;\n", "alert(1);\n"),
    "lint-docker": ("hadolint", "Dockerfile", "FROM python\n", "FROM python:3.13\n"),
}


def test_every_part_but_the_slowest_is_planted_below():
    assert {*PARTS.split()} == {*PLANTED, "lint-types"}


@pytest.mark.parametrize("part", PLANTED)
def test_a_fault_deep_in_the_tree_is_caught(part, tmp_path):
    tool, path, wrong, right = PLANTED[part]
    missing = [name for name in ("git", "make") if shutil.which(name) is None]
    missing += [] if shutil.which(tool, path=TOOLS) else [f"{tool} (pip install '.[lint]')"]
    if missing:
        if os.environ.get("CI"):
            pytest.fail(f"CI installs what is not here: {', '.join(missing)}", pytrace=False)
        pytest.skip(f"not here: {', '.join(missing)}")  # linters come with the extra lint alone
    for name in ("Makefile", "pyproject.toml", ".clang-format", ".oxlintrc.json"):
        shutil.copy(ROOT / name, tmp_path)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    command = ["make", part, f"BIN={TOOLS}", "READY="]  # with the tools that are here
    planted = tmp_path / path
    planted.parent.mkdir(parents=True, exist_ok=True)
    for text, well in ((right, True), (wrong, False)):
        planted.write_text(text)
        run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
        said = run.stdout + run.stderr
        assert (run.returncode == 0) == well, said
    assert planted.name in said


def test_a_commit_runs_every_part_of_make_lint():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = {hook["id"]: hook for hook in local["hooks"]}
    assert [*hooks] == PARTS.split()
    for name, hook in hooks.items():
        assert hook["entry"] == f"make --silent {name}"
        assert name not in PLANTED or re.search(hook["files"], PLANTED[name][1])


@pytest.mark.parametrize("script", ["Makefile", "tests/support/sanitize.sh", ".ci/run"])
def test_what_a_script_names_is_there(script):
    named = re.findall(r"\btests/[\w/]+\.(?:py|sh|cpp|supp)", (ROOT / script).read_text())
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []

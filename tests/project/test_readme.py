"""What the README says is true: its table is the registry, its examples run."""

import re
import sys
from pathlib import Path

import pytest

from kmeans_lab import KERNELS, kmeans
from kmeans_lab.cli import main as cli
from kmeans_lab.measure import record
from kmeans_lab.measure.certify import certify_fit
from kmeans_lab.presets import PRESETS
from kmeans_lab.spec import KernelSpec
from tests.support.readme import (
    NARROW,
    README,
    RUN,
    benchmark,
    benchmark_with_avx2,
    between,
    kernel_table,
)

TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
DOCS = [page for page in (README.parent / "docs").glob("*.md") if "```python" in page.read_text()]
IN_ONE_PIECE = [block for block in BLOCKS if not block.startswith("# my_kernel.py")]


def test_the_kernel_table_is_the_registry() -> None:
    assert between(TEXT, "kernels") == kernel_table() + "\n"


def test_the_benchmark_is_the_run_that_is_kept() -> None:
    assert between(TEXT, "bench") == benchmark() + "\n"
    assert between(TEXT, "bench-avx2") == benchmark_with_avx2() + "\n"


@pytest.mark.parametrize("kept", [RUN, NARROW], ids=["AVX-512", "AVX2"])
def test_the_run_that_is_kept_counts_and_has_every_kernel(kept: Path) -> None:
    data = record.read(kept)
    (run,) = data["runs"]
    chosen = {*data["machine"]["instruction_sets"].values()}
    assert chosen == {"avx512" if kept == RUN else "avx2"}
    measured = [it["name"] for it in run["contestants"] if it["seconds"]]
    assert measured == [*KERNELS, "cpp again"]
    assert (run["preset"], run["void"], run["partial"]) == ("standard", "", False)


@pytest.mark.parametrize("block", range(len(IN_ONE_PIECE)))
def test_an_example_runs(block: int) -> None:
    exec(compile(IN_ONE_PIECE[block], f"README.md, example {block}", "exec"), {})


@pytest.mark.parametrize("page", sorted(DOCS), ids=lambda page: page.name)
def test_the_examples_of_a_page_run(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, page.name, "exec"), {})


@pytest.mark.parametrize("more", ["", "one more SPEC"])
def test_check_finds_nothing_wrong_with_the_example_kernel(
    more: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = [block for block in BLOCKS if block.startswith("# my_kernel.py")]
    (row,) = re.findall(r'^    "mine": (KernelSpec\(.*?^    \)),', TEXT, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kmeans_lab.registry._added", {})
    Path("my_kernel.py").write_text(source + f"\n\nSPEC = {row}\n" * bool(more), encoding="utf-8")
    status = cli.main(["check", "my_kernel.py"])
    said = capsys.readouterr()
    assert (status, said.err) == (0, ""), said.out
    assert {line.split()[0] for line in said.out.splitlines()} == {"right"}


def test_one_file_and_one_row_make_a_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = [block for block in BLOCKS if block.startswith("# my_kernel.py")]
    (row,) = re.findall(r'^    "mine": (KernelSpec\(.*?^    \)),', TEXT, re.DOTALL | re.MULTILINE)
    (tmp_path / "my_kernel.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_kernel", raising=False)
    monkeypatch.setitem(KERNELS, "mine", eval(row, {"KernelSpec": KernelSpec}))
    workload = PRESETS["smoke"].load()
    certificate = certify_fit(workload.X, 5, workload.settings(), "mine")
    reference = kmeans(workload.X, 5, kernel="python", **workload.settings())
    assert (certificate.result.labels == reference.labels).all()
    assert "`mine`" in kernel_table()


def test_every_file_that_the_readme_links_to_is_there() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (README.parent / link).exists(), link


def test_the_changelog_has_an_entry_for_this_version_or_an_unreleased_one() -> None:
    changelog = (README.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[(Unreleased|\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)

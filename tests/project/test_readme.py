"""What the pages say is true: tables are the registry and kept runs, examples run, links lead."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

import kmeans_lab
from kmeans_lab import KERNELS, kmeans
from kmeans_lab.cli import main as cli
from kmeans_lab.measure import record
from kmeans_lab.measure.certify import certify_fit
from kmeans_lab.presets import PRESETS
from kmeans_lab.spec import KernelSpec
from tests.support.readme import DOCS, NARROW, README, RUN, between, kernel_table, parts

TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
PAGES = sorted([*README.parent.glob("*.md"), *DOCS.glob("*.md")])
WITH_CODE = [page for page in PAGES if page != README and "```python" in page.read_text()]
IN_ONE_PIECE = [block for block in BLOCKS if not block.startswith("# my_kernel.py")]
ADDING = (DOCS / "adding-a-kernel.md").read_text(encoding="utf-8")
(ROW,) = re.findall(r'^    "mine": (KernelSpec\(.*?^    \)),', ADDING, re.DOTALL | re.MULTILINE)


def test_what_is_generated_is_what_the_registry_and_the_kept_runs_say() -> None:
    for page, name, text in parts():
        assert between(page.read_text(encoding="utf-8"), name) == f"{text}\n", (page.name, name)


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


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_examples_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, page.name, "exec"), {})


@pytest.mark.parametrize("more", ["", "one more SPEC"])
def test_check_finds_nothing_wrong_with_the_example_kernel(
    more: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = [block for block in BLOCKS if block.startswith("# my_kernel.py")]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kmeans_lab.registry._added", {})
    Path("my_kernel.py").write_text(source + f"\n\nSPEC = {ROW}\n" * bool(more), encoding="utf-8")
    status = cli.main(["check", "my_kernel.py"])
    said = capsys.readouterr()
    assert (status, said.err) == (0, ""), said.out
    assert {line.split()[0] for line in said.out.splitlines()} == {"right"}


def test_one_file_and_one_row_make_a_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = [block for block in BLOCKS if block.startswith("# my_kernel.py")]
    (tmp_path / "my_kernel.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_kernel", raising=False)
    monkeypatch.setitem(KERNELS, "mine", eval(ROW, {"KernelSpec": KernelSpec}))
    workload = PRESETS["smoke"].load()
    certificate = certify_fit(workload.X, 5, workload.settings(), "mine")
    reference = kmeans(workload.X, 5, kernel="python", **workload.settings())
    assert (certificate.result.labels == reference.labels).all()
    assert "`mine`" in kernel_table()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_heading_that_a_page_links_to_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link, anchor in re.findall(r"\]\((?![a-z]+:)([^)#\s]*)#?([^)\s]*)\)", text):
        target = page.parent / link if link else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{link}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_source_file_that_a_page_names_is_there(page: Path) -> None:
    named = r"(?<![\w/.*])(?:kmeans_lab|bench|cpp|docs|tests)/[\w./*-]+\.\w+"
    for path in re.findall(named, page.read_text(encoding="utf-8")):
        assert any(README.parent.glob(path)), path


def anchors(page: Path) -> set[str]:
    """Return the names that GitHub gives to the headings of a page."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        name = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        found.append(name + (f"-{found.count(name)}" if name in found else ""))
    return {*found}


def test_the_newest_release_in_the_changelog_is_this_version() -> None:
    changelog = (README.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)
    project = tomllib.loads((README.parent / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    assert releases[0] == project["version"] == kmeans_lab.__version__
    assert f"version: {releases[0]}\n" in (README.parent / "CITATION.cff").read_text(
        encoding="utf-8"
    )
    assert changelog.index("## [Unreleased]") < changelog.index(f"## [{releases[0]}]")

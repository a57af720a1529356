"""What is written is whole or absent: links, devices, permissions, a full disk, a kill between."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from kmeans_lab.io import outputs
from kmeans_lab.io.errors import Refused
from kmeans_lab.io.outputs import plan_output, write_file
from kmeans_lab.studies.notebook import Notebook

pytestmark = pytest.mark.hostile


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def files() -> dict[str, str]:
    return {it.name: it.read_text() for it in Path.cwd().iterdir() if it.is_file()}


def written(name: str, content: str = "new", *, force: bool = True) -> None:
    plan_output([Path(name)], [], force).write([content.encode()])


def test_a_link_is_followed_and_permissions_stay() -> None:
    Path("real.html").write_text("old")
    Path("real.html").chmod(0o604)
    Path("link.html").symlink_to("real.html")
    Path("dangling.html").symlink_to("new.html")
    for name in ("link.html", "dangling.html"):
        with pytest.raises(Refused, match=f"{name} exists and is kept; use --force"):
            written(name, force=False)
        written(name)
        assert Path(name).is_symlink()
    assert files() == dict.fromkeys(("real.html", "link.html", "new.html", "dangling.html"), "new")
    assert Path("real.html").stat().st_mode & 0o777 == 0o604


@pytest.mark.parametrize("force", [False, True])
def test_devices_pipes_and_streams_are_refused(force: bool) -> None:
    os.mkfifo("pipe")
    Path("null.html").symlink_to("/dev/null")
    for name in ("pipe", "null.html", "/dev/full", "/dev/null"):
        with pytest.raises(Refused, match=f"{name} is a device or a pipe and must be a file"):
            written(name, force=force)


def test_the_file_that_standard_output_goes_to_is_refused() -> None:
    Path("out.html").write_text("")
    before = os.dup(1)
    try:
        with Path("out.html").open("a") as out:
            os.dup2(out.fileno(), 1)
        for name in ("out.html", "/dev/stdout"):
            with pytest.raises(Refused, match=f"{name} is where this command reads or prints"):
                written(name)
    finally:
        os.dup2(before, 1)
        os.close(before)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there(
    there: bool, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if there:
        Path("r.json").write_text("old")
    monkeypatch.setattr(outputs.os, failing, full)
    with pytest.raises(Refused, match=r"r.json cannot be written \(No space left on device\)"):
        written("r.json")
    assert files() == ({"r.json": "old"} if there else {})


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("call", ["link", "replace", "fsync", "chmod"])
def test_no_name_ever_stands_for_an_empty_file(
    call: str, force: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Look at the folder before and after every system call."""
    seen, real = [], getattr(os, call)

    def watched(*arguments: Any) -> Any:
        seen.append(files().get("r.json"))
        try:
            return real(*arguments)
        finally:
            seen.append(files().get("r.json"))

    monkeypatch.setattr(outputs.os, call, watched)
    if force:
        Path("r.json").write_text("old")
    written("r.json", force=force)
    assert set(seen) <= {"old" if force else None, "new"}
    assert files() == {"r.json": "new"}


def test_a_file_that_appears_meanwhile_is_kept() -> None:
    output = plan_output([Path("r.json")], [], force=False)
    Path("r.json").write_text("theirs")
    with pytest.raises(Refused, match=r"r\.json appeared meanwhile and is kept"):
        output.write([b"new"])
    assert files() == {"r.json": "theirs"}


def test_a_study_replaces_its_files_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Notebook("starts", "title", Path.cwd())
    book.table("a", [{"x": 1}])
    book.write_page()
    before = files()
    assert set(before) == {"starts-a.csv", "starts.md"}

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(outputs.os, "fsync", full)
    for write in (lambda: book.table("a", [{"x": 2}]), book.write_page):
        with pytest.raises(Refused, match="No space left on device"):
            write()
    assert files() == before


def test_text_and_bytes_are_written_alike() -> None:
    write_file(Path("a"), "ä\n")
    write_file(Path("a"), Path("a").read_bytes() + b"b")
    assert Path("a").read_bytes() == "ä\nb".encode()

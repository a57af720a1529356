"""What ``fit --output`` writes: the result, whole or not at all, and never over anything."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.cli import fit
from kmeans_lab.cli import main as cli
from kmeans_lab.io import outputs
from tests.support.helpers import cloud

X = cloud(seed=5, n_samples=80, n_features=3)
EXPECTED = kmeans(X, 4, kernel="numpy", random_state=7)
CALL = ["fit", "X.npy", "-k", "4", "--kernel", "numpy", "--seed", "7", "--quiet", "-o"]
CSV = {"r.csv", "r.centers.csv"}


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", X)


def files():
    return {path.name for path in Path.cwd().iterdir()} - {"X.npy"}


def refused(capsys, *more):
    assert cli.main([*CALL, *more]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("kmeans-lab: error: ")
    assert err.count("\n") == 1
    return err.removeprefix("kmeans-lab: error: ").rstrip("\n")


def assert_written(name):
    if name.endswith(".npz"):
        with np.load(name) as archive:
            assert set(archive.files) == {"labels", "centers", "inertia", "n_iter"}
            np.testing.assert_array_equal(archive["labels"], EXPECTED.labels, strict=True)
            np.testing.assert_array_equal(archive["centers"], EXPECTED.centers, strict=True)
            assert archive["inertia"].item() == EXPECTED.inertia
            assert archive["n_iter"].item() == EXPECTED.n_iter
        return
    text = "\n".join(["label", *map(str, EXPECTED.labels)]) + "\n"
    assert Path(name).read_text() == text
    centers = np.loadtxt(Path(name).with_suffix(".centers.csv"), delimiter=",", ndmin=2)
    np.testing.assert_array_equal(centers, EXPECTED.centers, strict=True)


@pytest.mark.parametrize(("name", "written"), [("r.npz", {"r.npz"}), ("r.csv", CSV)])
def test_the_result_is_written_in_full_precision(capsys, name, written):
    assert cli.main([*CALL, name]) == 0
    assert capsys.readouterr() == ("", "")
    assert files() == written
    assert_written(name)


def test_float32_centers_come_back_from_csv():
    np.save("narrow.npy", X.astype("float32"))
    assert cli.main(["fit", "narrow.npy", *CALL[2:], "r.csv"]) == 0
    expected = kmeans(X.astype("float32"), 4, kernel="numpy", random_state=7).centers
    centers = np.loadtxt("r.centers.csv", delimiter=",", dtype="float32")
    np.testing.assert_array_equal(centers, expected, strict=True)


def test_outputs_have_the_permissions_of_any_new_file():
    assert cli.main([*CALL, "r.npz"]) == 0
    Path("plain").touch()
    assert Path("r.npz").stat().st_mode == Path("plain").stat().st_mode


@pytest.mark.parametrize(
    ("there", "output"), [("r.npz", "r.npz"), ("r.csv", "r.csv"), ("r.centers.csv", "r.csv")]
)
def test_an_existing_output_is_refused_before_the_fit_and_replaced_by_force(
    capsys, monkeypatch, there, output
):
    Path(there).write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr(fit, "kmeans", None)  # calling it would be a TypeError
        patch.setattr(fit, "read_rows", None)
        why = refused(capsys, output)
    assert why == f"{there} exists and is kept; use --force to replace it"
    assert Path(there).read_text() == "mine"
    assert files() == {there}
    assert cli.main([*CALL, output, "--force"]) == 0
    assert_written(output)
    assert files() == (CSV if output == "r.csv" else {"r.npz"})


def test_a_dangling_link_counts_as_existing(capsys):
    Path("r.npz").symlink_to("nowhere")
    assert refused(capsys, "r.npz") == "r.npz exists and is kept; use --force to replace it"
    assert cli.main([*CALL, "r.npz", "--force"]) == 0
    assert_written("r.npz")


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_what_can_never_be_an_output(capsys, monkeypatch, force):
    Path("d.npz").mkdir()
    os.mkfifo("pipe.npz")
    for output, why in {
        "no/r.npz": "there is no folder no for no/r.npz; create it first",
        "X.npy/r.npz": "X.npy is a file and must be a folder to hold X.npy/r.npz; choose another",
        f"{300 * 'x'}.npz": f"{300 * 'x'}.npz cannot be written (File name too long); choose "
        "another --output",
        "pipe.npz": "pipe.npz is a device or a pipe and must be a file; choose another --output",
        "d.npz": "d.npz is a folder; choose another --output",
        "r.txt": "r.txt has the suffix '.txt' and must have .npz or .csv; name it so",
        "r": "r has the suffix '' and must have .npz or .csv; name it so",
    }.items():
        assert refused(capsys, output, *force) == why
    monkeypatch.setattr(os, "access", lambda *_: False)
    why = "the folder . is not writable; choose another --output"
    assert refused(capsys, "r.npz", *force) == why
    assert files() == {"d.npz", "pipe.npz"}


def commands(output):
    """Yield every command that writes a file, with an output in a format of its own."""
    yield ["fit", "X.npy", "-k", "2", "-o", f"{output}.npz"]
    yield ["fit", "X.npy", "-k", "2", "-o", f"{output}.csv"]
    yield ["compress", "X.png", "-k", "2", "-o", f"{output}.png"]
    yield ["bench", "--preset", "smoke", "-o", f"{output}.json"]
    yield ["report", "run.json", "-o", f"{output}.html"]


@pytest.mark.parametrize("index", range(5))
def test_every_command_refuses_its_output_before_any_work(capsys, monkeypatch, index):
    monkeypatch.setattr(fit, "read_rows", None)  # calling any of these would be a TypeError
    monkeypatch.setattr("kmeans_lab.cli.compress.read_picture", None)
    monkeypatch.setattr("kmeans_lab.cli.bench.quiet_pools", None)
    monkeypatch.setattr("kmeans_lab.measure.record.read", None)

    def why(output):
        call = list(commands(output))[index]
        assert cli.main(call) == 2
        (sentence,) = capsys.readouterr().err.splitlines()
        return call[-1], sentence.removeprefix("kmeans-lab: error: ")

    output, told = why("no/r")
    assert told == f"there is no folder no for {output}; create it first"
    output, told = why("X.npy/r")
    assert told == f"X.npy is a file and must be a folder to hold {output}; choose another"
    output, _ = why("no/r")
    Path("d").with_suffix(Path(output).suffix).mkdir()
    output, told = why("d")
    assert told == f"{output} is a folder; choose another --output"
    Path("there").with_suffix(Path(output).suffix).touch()
    output, told = why("there")
    assert told == f"{output} exists and is kept; use --force to replace it"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert why("r")[1] == "the folder . is not writable; choose another --output"


def test_an_output_without_a_name_is_refused(capsys):
    for output, why in {
        "-": "--output - is no name of a file; leave it out, and --json prints instead",
        "": ". is a folder; choose another --output",
        "/dev/null": "/dev/null is a device or a pipe and must be a file; choose another --output",
    }.items():
        assert cli.main(["bench", "--preset", "smoke", "--output", output, "--force"]) == 2
        assert capsys.readouterr().err == f"kmeans-lab: error: {why}\n"


def test_a_folder_that_only_seems_writable_is_refused_before_the_work(capsys, monkeypatch):
    def read_only(**_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(outputs.tempfile, "TemporaryFile", read_only)
    assert cli.main(["bench", "--preset", "smoke", "-o", "r.json"]) == 2
    assert capsys.readouterr().err == (
        "kmeans-lab: error: r.json cannot be written (Read-only file system); choose another "
        "--output\n"
    )


def test_a_run_never_replaces_the_one_that_it_is_compared_with(capsys):
    Path("old.json").write_text("{}")
    call = ["bench", "-o", "old.json", "--compare", "old.json", "--force"]
    assert cli.main(call) == 2
    assert "old.json is the input and is never replaced" in capsys.readouterr().err
    assert cli.main(["report", "old.html", "-o", "old.html"]) == 2


@pytest.mark.parametrize("name", ["X.npy", "X.npy/deep", "X.npy/deep/er"])
def test_a_study_refuses_a_folder_that_cannot_be(capsys, name):
    assert cli.main(["study", "soft", "--output", name]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "X.npy" in sentence
    assert re.search("is a file|cannot be written", sentence)
    assert files() == set()


@pytest.mark.parametrize("name", ["r.csv", "r.centers.csv", "link.csv"])
def test_the_input_is_never_replaced(capsys, name):
    data = Path("r.centers.csv" if name == "r.centers.csv" else "r.csv")
    data.write_text("1,2\n3,4\n5,6\n")
    Path("link.csv").symlink_to(data)
    output = "link.csv" if name == "link.csv" else "r.csv"
    assert cli.main(["fit", str(data), "-k", "2", "-o", output, "--force"]) == 2
    why = f"{name} is the input and is never replaced; choose another name\n"
    assert capsys.readouterr().err == "kmeans-lab: error: " + why
    assert data.read_text() == "1,2\n3,4\n5,6\n"


@pytest.mark.parametrize(
    ("late", "output"), [("r.npz", "r.npz"), ("r.csv", "r.csv"), ("r.centers.csv", "r.csv")]
)
def test_what_appears_during_the_fit_is_kept(capsys, monkeypatch, late, output):
    def slow_kmeans(*arguments, **settings):
        Path(late).write_text("mine")
        return kmeans(*arguments, **settings)

    monkeypatch.setattr(fit, "kmeans", slow_kmeans)
    why = f"{late} appeared meanwhile and is kept; use --force to replace it"
    assert refused(capsys, output) == why
    assert Path(late).read_text() == "mine"
    assert files() == {late}


def fail_at(call, error, monkeypatch):
    """Let the call-th rename fail."""
    replace, calls = os.replace, []

    def failing(source, target):
        calls.append(target)
        if len(calls) == call:
            raise error
        replace(source, target)

    monkeypatch.setattr(outputs.os, "replace", failing)


@pytest.mark.parametrize("call", [1, 2])
def test_both_csv_files_or_none(capsys, monkeypatch, call):
    fail_at(call, OSError(28, "No space left on device"), monkeypatch)
    why = "r.csv cannot be written (No space left on device); make room or choose another --output"
    assert refused(capsys, "r.csv") == why
    assert files() == set()


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("there", [{"r.csv"}, {"r.centers.csv"}, CSV])
def test_a_failure_under_force_brings_back_what_was_there(capsys, monkeypatch, call, there):
    for name in there:
        Path(name).write_text("old " + name)
    fail_at(call, OSError(1, "Operation not permitted"), monkeypatch)
    why = "r.csv cannot be written (Operation not permitted); make room or choose another --output"
    assert refused(capsys, "r.csv", "--force") == why
    assert {name: Path(name).read_text() for name in files()} == {n: "old " + n for n in there}


def test_force_does_without_hard_links(monkeypatch):
    def link(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(outputs.os, "link", link)
    Path("r.csv").write_text("old")
    assert cli.main([*CALL, "r.csv", "--force"]) == 0
    assert_written("r.csv")
    assert files() == CSV


@pytest.mark.parametrize("output", ["r.npz", "r.csv"])
def test_ctrl_c_while_writing_leaves_nothing(capsys, monkeypatch, output):
    open_file, calls = Path.open, []

    def interrupted(path, *mode, **options):
        if path.suffix == ".tmp":
            calls.append(path)
            if len(calls) == len(CSV if output == "r.csv" else {1}):
                raise KeyboardInterrupt
        return open_file(path, *mode, **options)

    monkeypatch.setattr(Path, "open", interrupted)
    assert cli.main([*CALL, output]) == 130
    assert capsys.readouterr() == ("", "kmeans-lab: interrupted\n")
    assert files() == set()


def test_ctrl_c_between_two_renames_comes_too_late(monkeypatch):
    replace = os.replace

    def with_ctrl_c(source, target):
        replace(source, target)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(outputs.os, "replace", with_ctrl_c)
    assert cli.main([*CALL, "r.csv"]) == 0
    assert_written("r.csv")
    with pytest.raises(KeyboardInterrupt):  # and afterwards it works again
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("output", ["r.npz", "r.csv"])
def test_a_full_disk_leaves_nothing(output):
    script = (
        "import resource, sys; from kmeans_lab.cli.main import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, *CALL, output]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    why = f"{output} cannot be written (File too large); make room or choose another --output"
    assert (done.returncode, done.stderr) == (2, f"kmeans-lab: error: {why}\n")
    assert files() == set()


def test_a_thread_can_write_too():
    status = []
    thread = threading.Thread(target=lambda: status.append(cli.main([*CALL, "r.csv"])))
    thread.start()
    thread.join()
    assert status == [0]
    assert_written("r.csv")

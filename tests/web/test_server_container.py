"""The Dockerfile, which cannot be run in tests: what it copies is there, and it keeps its rules."""

import re
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
LINES = [line for line in TEXT.splitlines() if line and not line.startswith("#")]


def of(instruction):
    """Return the arguments of all lines of an instruction."""
    return [line.split(maxsplit=1)[1] for line in LINES if line.startswith(f"{instruction} ")]


def test_what_is_copied_is_there_and_sent_to_the_builder():
    sent = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), flags=re.MULTILINE)
    sources = [it for line in of("COPY") if "--from" not in line for it in line.split()[:-1]]
    assert {"cpp", "kmeans_lab", "pyproject.toml"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, it) for it in sent), source


def test_what_the_build_reads_is_copied():
    (manifest,) = re.findall(r"^license-files = \[(.*)\]", (ROOT / "pyproject.toml").read_text(),
                             flags=re.MULTILINE)  # fmt: skip
    copied = " ".join(of("COPY"))
    assert all(name in copied for name in ("README.md", "setup.py", manifest.strip('"')))


def test_base_images_are_pinned_and_the_same():
    images = {it.split()[0] for it in of("FROM")}
    assert len(of("FROM")) == 2
    assert len(images) == 1
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", images.pop())


def test_it_runs_as_nobody_special_on_one_port():
    (user,) = of("USER")  # by number: what runs containers can tell that it is not root
    assert int(user) > 999
    assert f"--uid {user}" in " ".join(of("RUN"))
    last = max(i for i, it in enumerate(LINES) if it.startswith("RUN "))
    assert LINES.index(f"USER {user}") > last
    (port,) = of("EXPOSE")
    (check,) = of("HEALTHCHECK")
    assert f"127.0.0.1:{port}/health" in check
    (entry,) = of("ENTRYPOINT")
    assert f'"--port", "{port}"' in entry


def test_the_command_is_one_that_the_program_takes():
    from kmeans_lab.cli.main import _parser

    words = re.findall(r'"([^"]*)"', of("ENTRYPOINT")[0] + of("CMD")[0])[1:]
    arguments = _parser().parse_args(words)
    assert (arguments.host, arguments.port) == ("0.0.0.0", 8000)
    assert arguments.allow_host == ["localhost", "127.0.0.1"]

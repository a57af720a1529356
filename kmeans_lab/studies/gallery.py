"""All studies on one page: ``python -m kmeans_lab.studies.gallery FROM DOCS``.

FROM is the folder that ``kmeans-lab study all`` wrote; DOCS gets ``studies.md``, and beside it in
``studies/`` the figures, made smaller, and the numbers that are the same in every run. A study that
was not run keeps its section.
"""

import io
import re
import sys
from pathlib import Path

from kmeans_lab.io.outputs import write_file
from kmeans_lab.studies import STUDIES

WIDTH = 640  # pixels of a small figure, at most

_INTRODUCTION = """# Studies

What four well-known sources say about k-means, with each claim checked by one command
(`kmeans-lab study NAME`; all of them and this page: `make studies`): *the demo* (Python against
C++, with a web page), *the multiprocessing study*, *the tutorial* (from scratch, with exercises)
and *the walk-through* (NumPy, step by step). [The studies' code](../kmeans_lab/studies) is also an
example of how to use the library. Seconds were measured on one machine with two virtual
cores; all other results are the same on every machine, except those of `text`, whose texts are
what is installed, and of `embeddings`, whose rows are those of a file.
"""


def write_gallery(source: Path, docs: Path) -> None:
    """Put the pages of all studies together; ``FileNotFoundError`` where one was never run."""
    pictures = docs / "studies"
    pictures.mkdir(parents=True, exist_ok=True)
    contents = [f"- [{name}](#{name}): {title}" for name, title in STUDIES.items()]
    parts = [_INTRODUCTION, "\n".join(contents)]
    for name in STUDIES:
        if not (source / f"{name}.md").exists():
            parts.append(_section(docs / "studies.md", name))
            continue
        page = (source / f"{name}.md").read_text(encoding="utf-8")
        page = page[: page.rindex("\n\nFiles: ")]
        page = re.sub(r"^#", "##", page, flags=re.MULTILINE)
        for picture in re.findall(rf"\]\(({name}-[\w-]+\.\w+)\)", page):
            if picture.endswith(".png"):
                _shrink(source / picture, pictures / picture)
            else:
                write_file(pictures / picture, (source / picture).read_bytes())
        parts.append(re.sub(rf"\]\(({name}-)", r"](studies/\1", page))
    for table in sorted(source.glob("*.csv")):
        if not table.name.endswith("-measured.csv"):
            write_file(pictures / table.name, table.read_bytes())
    write_file(docs / "studies.md", "\n\n".join(parts) + "\n")


def _section(page: Path, name: str) -> str:
    """Return what a page says of a study."""
    for section in page.read_text(encoding="utf-8").split("\n\n## ")[1:]:
        if section.partition("\n")[0] == name:
            return f"## {section}".rstrip("\n")
    raise FileNotFoundError(f"{page} has no section {name}, which was not run, either")


def _shrink(source: Path, target: Path) -> None:
    from PIL import Image

    with Image.open(source) as picture:
        small = picture.convert("RGB")
        small.thumbnail((WIDTH, WIDTH * 2), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        small.quantize(256).save(file, "PNG", optimize=True)
        write_file(target, file.getvalue())


if __name__ == "__main__":
    write_gallery(*map(Path, sys.argv[1:]))

"""Files that are served: the page's own parts, and the figures of the studies."""

import gzip
import mimetypes
import re
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TypedDict

from kmeans_lab.studies import STUDIES

STATIC = Path(__file__).parent / "static"

_TYPES = {".js": "text/javascript", ".svg": "image/svg+xml", ".ico": "image/x-icon"}
_SMALL = 500  # bytes that gzip would not make much smaller
_PICTURE = re.compile(r"[\w-]+\.png", re.ASCII)


def static_file(name: str) -> Path | None:
    """Return a part of the page by name; None where there is none."""
    return next((it for it in STATIC.iterdir() if it.is_file() and it.name == name), None)


def content_type(path: Path) -> str:
    """Return the media type of the file."""
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    kind = kind or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or path.suffix == ".svg" else kind


def etag(data: bytes) -> str:
    """Return what changes when a file does."""
    return f'"{blake2b(data, digest_size=12).hexdigest()}"'


@lru_cache(maxsize=64)
def packed(data: bytes) -> bytes | None:
    """Return it smaller, where that is worth it; the same bytes each time."""
    if len(data) < _SMALL:
        return None
    small = gzip.compress(data, 9, mtime=0)
    return small if len(small) < 0.9 * len(data) else None


def default_studies() -> Path | None:
    """Return the checkout's folder of studies, or ./studies; None where neither is there."""
    places = (Path(__file__).parents[2] / "docs" / "studies", Path("studies"))
    return next((it for it in places if it.is_dir()), None)


class Figure(TypedDict):
    """A figure of a study."""

    file: str
    caption: str


class StudyPage(TypedDict):
    """What the page of a study shows of it."""

    name: str
    title: str
    figures: list[Figure]
    claims: list[dict[str, str]]


class Gallery:
    """The studies in a folder: pages that ``kmeans-lab study`` wrote, or docs/studies.md."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def picture(self, name: str) -> Path | None:
        """Return a figure by its file name; None where there is none."""
        if self.folder is None or not _PICTURE.fullmatch(name):
            return None
        found = (*self.folder.glob("*.png"), *self.folder.glob("*/*.png"))
        return next((it for it in found if it.name == name and it.is_file()), None)

    def studies(self) -> list[StudyPage]:
        """Return each study with its figures and claims, in the order of the gallery."""
        if self.folder is None:
            return []
        pages = dict(self._pages(self.folder))
        return [self._study(name, pages[name]) for name in STUDIES if name in pages]

    def _pages(self, folder: Path) -> Iterator[tuple[str, str]]:
        together = folder.parent / "studies.md"
        if together.is_file():
            text = together.read_text(encoding="utf-8")
            for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
                name, _, page = part.partition("\n")
                yield name.strip(), page
        for path in (*folder.glob("*.md"), *folder.glob("*/*.md")):
            if path.stem in STUDIES:
                yield path.stem, path.read_text(encoding="utf-8")

    def _study(self, name: str, page: str) -> StudyPage:
        figures = re.findall(r"!\[([^\]]*)\]\((?:studies/)?([\w-]+\.png)\)", page)
        return {
            "name": name,
            "title": STUDIES[name],
            "figures": [
                {"file": file, "caption": caption}
                for caption, file in figures
                if self.picture(file) is not None
            ],
            "claims": list(_claims(page)),
        }


def _claims(page: str) -> Iterator[dict[str, str]]:
    """Yield the rows of the table of claims."""
    lines = iter(page.splitlines())
    for line in lines:
        if line.startswith("| who | claim | found | verdict |"):
            break
    for line in lines:
        if not line.startswith("|"):
            return
        cells = [it.strip().replace("\\|", "|") for it in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 4 and set(cells[0]) != {"-"}:
            names = ("source", "words", "found", "verdict")
            yield dict(zip(names, (*cells[:3], cells[3].strip("*")), strict=True))

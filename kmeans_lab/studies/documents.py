"""Real texts that every installation holds: prose of docstrings, and the module that each is from.

Files are parsed, never imported. Which texts there are depends on the versions that are installed.
"""

import ast
import gc
import os
import re
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.kernel import Array

#: What the core and the extra ``studies`` install.
PACKAGES = ("numpy", "scipy", "sklearn", "matplotlib", "numba")
LIBRARY = "Python"  # what its standard library is called here
WORDS = 8  # a paragraph with fewer of them is no document
COMPONENTS = 100  # of latent semantic analysis: those of scikit-learn's example

_NOT_READ = {"tests", "test", "testing", "idlelib", "lib2to3", "site-packages", "dist-packages"}
_BLANK = re.compile(r"\n\s*\n")
_WORD = re.compile(r"[A-Za-z]{2,}")
#: Paragraphs that are not prose: indented ones (code, what a parameter is), headings with what
#: follows them, examples, directives, fields, lists of parameters.
_NOT_PROSE = re.compile(r"\s|.*\n\s*[-=~^]{3,}\s*$|.*>>>|\.\. |[:@]\w|[*\w, ]+ : ", re.MULTILINE)


class Document(NamedTuple):
    """A paragraph and where it is from.

    Attributes
    ----------
    text : str
        In one line.
    package, module : str
        "scipy" and "scipy.stats"; "Python" and "email" of the standard library.
    """

    text: str
    package: str
    module: str


def installed() -> dict[str, Path]:
    """Return the folders of the standard library and of the packages that are installed."""
    roots = {LIBRARY: Path(sysconfig.get_path("stdlib"))}
    for name in PACKAGES:
        spec = find_spec(name)  # imports nothing: none of the names has a dot
        if spec is not None and spec.submodule_search_locations:
            roots[name] = Path(spec.submodule_search_locations[0])
    return roots


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Documents as rows of length 1, and as what they are after latent semantic analysis.

    Attributes
    ----------
    X : sparse matrix of shape (n_samples, n_features)
        tf·idf.
    terms : ndarray of shape (n_features,), str
    modules : list of str
        In the order of their packages.
    truth : ndarray of shape (n_samples,)
        The module of each row.
    directions : ndarray of shape (n_components, n_features)
        Singular vectors.
    low : ndarray of shape (n_samples, n_components)
        Rows along the singular vectors, scaled to length 1.
    seconds : float
        For the singular vectors and ``low``.
    """

    X: Any
    terms: NDArray[Any]
    modules: list[str]
    truth: NDArray[Any]
    directions: Array
    low: Array
    seconds: float


def read_documents(roots: Mapping[str, Path], fewest: int = 1) -> list[Document]:
    """Return the different paragraphs of all docstrings, each where it is found first.

    Parameters
    ----------
    roots : dict of str to Path
        A folder for each package. Tests are not read; files that do not parse are left out.
    fewest : int
        Modules with fewer documents are left out, with all of theirs.
    """
    found: dict[str, Document] = {}
    with _no_collection():
        for package, root in roots.items():
            for path in _files(root):
                module = _module_of(package, path.relative_to(root).with_suffix("").parts[0])
                for text in paragraphs(path.read_bytes()):
                    found.setdefault(text.lower(), Document(text, package, module))
    sizes = Counter(it.module for it in found.values())
    return [it for it in found.values() if sizes[it.module] >= fewest]


def _module_of(package: str, name: str) -> str:
    if name == "__init__":
        return package
    return name if package == LIBRARY else f"{package}.{name}"


@contextmanager
def _no_collection() -> Iterator[None]:
    """Look for no cycles: syntax trees have none, and a search for them doubles the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def paragraphs(source: bytes) -> Iterator[str]:
    """Yield the prose of all docstrings of a file, paragraph by paragraph, each in one line."""
    for docstring in _docstrings(source):
        for part in _BLANK.split(docstring):
            if not _NOT_PROSE.match(part) and len(_WORD.findall(part)) >= WORDS:
                yield " ".join(part.split())


def _docstrings(source: bytes) -> list[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that are none
            nodes: list[ast.AST] = [ast.parse(source)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # for another Python, or damaged
        return []
    found = []
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(ast.get_docstring(node) or "")
            nodes += reversed(node.body)
    return found


def _files(root: Path) -> Iterator[Path]:
    for folder, inside, names in os.walk(root):
        inside[:] = sorted(it for it in inside if it not in _NOT_READ)
        for name in sorted(names):
            if name.endswith(".py") and not name.startswith(("test_", "conftest")):
                yield Path(folder, name)


def weigh(documents: Sequence[Document]) -> Texts:
    """Turn documents into rows of tf·idf, and those into fewer dimensions."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    words = TfidfVectorizer(
        token_pattern="[A-Za-z]{3,}", stop_words="english", min_df=5, max_df=0.5, sublinear_tf=True
    )
    X = words.fit_transform([it.text for it in documents])
    kept = np.flatnonzero(np.diff(X.indptr))  # some have no word that others have
    modules = list(dict.fromkeys(it.module for it in documents))
    truth = np.array([modules.index(it.module) for it in documents])
    X, began = X[kept], perf_counter()
    analysis = TruncatedSVD(min(COMPONENTS, *X.shape), random_state=0)
    low = normalize(analysis.fit_transform(X))
    spent = perf_counter() - began
    terms = words.get_feature_names_out()
    return Texts(X, terms, modules, truth[kept], analysis.components_, low, spent)


def described(documents: Sequence[Document]) -> str:
    """Return how many documents each package has, in words."""
    sizes = Counter(it.package for it in documents)
    return ", ".join(f"{size:,} of {package}" for package, size in sizes.items())

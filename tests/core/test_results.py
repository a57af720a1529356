"""What comes back: compared by identity, shown in a few lines, kept by pickles and copies."""

import ast
import copy
import dataclasses
import doctest
import html.parser
import pickle
import pprint
import re
from pathlib import Path

import numpy as np
import pytest

import kmeans_lab
from kmeans_lab import kmeans, result
from kmeans_lab.compress import compress
from kmeans_lab.dbscan import dbscan
from kmeans_lab.presets import PRESETS, Workload

X = np.random.default_rng(0).normal(size=(1500, 3))


def fits():
    return [kmeans(X, k, kernel="numpy", random_state=0, history=True) for k in (2, 3, 4)]


MAKERS = {
    "KMeansResult": fits,
    "Iteration": lambda: list(fits()[0].history),
    "DBSCANResult": lambda: [dbscan(X, eps, 3) for eps in (0.1, 0.2, 0.3)],
    "Compressed": lambda: [
        compress(np.arange(192, dtype=np.uint8).reshape(8, 8, 3), k, kernel="numpy", random_state=0)
        for k in (2, 3, 4)
    ],
    "Workload": lambda: [Workload(PRESETS["standard"], X, X[:k]) for k in (2, 3, 4)],
}


@pytest.fixture(params=MAKERS)
def several(request):
    """Return at least three results of one kind."""
    return MAKERS[request.param]()


def test_each_result_is_equal_to_itself_alone(several):
    first, last, twin = several[0], several[-1], copy.copy(several[0])
    assert several.index(last) == len(several) - 1
    assert last in several
    assert twin not in several
    assert (first == first, first == last, first != twin, first == 3) == (True, False, True, False)
    assert len({*several, first}) == len(several)
    assert several.count(first) == 1
    several.remove(first)
    assert first not in several


def pickled(it):
    return [pickle.loads(pickle.dumps(it, protocol)) for protocol in range(2, 6)]


def test_results_survive_pickles_copies_and_the_tools_of_dataclasses(several):
    it = several[0]
    names = [field.name for field in dataclasses.fields(it)]
    for again in (
        *([] if isinstance(it, Workload) else pickled(it)),  # a preset holds functions
        copy.copy(it),
        copy.deepcopy(it),
        dataclasses.replace(it),
    ):
        assert type(again) is type(it)
        assert again != it
        assert repr(again) == repr(it)
        np.testing.assert_equal(dataclasses.asdict(again), dataclasses.asdict(it))
    assert [*dataclasses.asdict(it)] == names
    assert not hasattr(it, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(it, names[0], None)


def test_what_is_shown_has_a_few_lines_and_no_arrays(several):
    for it in several:
        shown = repr(it)
        name = type(it).__name__
        most = {"Iteration": 1, "Workload": 2}.get(name, 3)
        assert len(shown.splitlines()) == most
        assert max(map(len, shown.splitlines())) <= 100
        assert shown.startswith(f"{name}(")
        assert "[" not in shown
        assert pprint.pformat(it) == str(it) == shown


def test_a_fit_says_what_it_found_and_why_it_stopped():
    it = kmeans(X, 4, kernel="numpy", random_state=0, max_iter=2)
    assert re.sub(r"seconds=[0-9.e-]+", "seconds=…", repr(it)) == (
        "KMeansResult(n_samples=1500, n_features=3, n_clusters=4, dtype='float64',\n"
        "             kernel='numpy', mode='serial', n_threads=1, seconds=…,\n"
        f"             n_iter=2, inertia={it.inertia:.6g}, stop='max-iter', converged=False)"
    )
    called_off = kmeans(X, 4, kernel="numpy", random_state=0, callback=lambda seen: True)
    assert "stop='callback', converged=False" in repr(called_off)
    seen = fits()[0].history[0]
    assert repr(seen) == (
        f"Iteration(n_iter=1, inertia={seen.inertia:.6g}, changed=1500, n_clusters=2, n_features=3)"
    )


class Reader(html.parser.HTMLParser):
    """Collects text, and tags that are open."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.tags = [], [], set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_a_notebook_shows_the_same_as_a_table(several):
    it = several[0]
    page = Reader(it._repr_html_())
    assert page.open == []
    assert page.tags == {"table", "caption", "b", "tbody", "tr", "th", "td"}
    assert page.text[0] == type(it).__name__
    for name, value in re.findall(r"(\w+)=('?[^,()']*'?)", repr(it).partition("(")[2]):
        at = page.text.index(name)
        assert value.strip("'") in page.text[at + 1]
    assert not re.search(
        r"#[0-9a-f]{3}|white|black|<script", it._repr_html_()
    )  # the page's colours


def test_the_name_of_a_kernel_cannot_write_html():
    it = dataclasses.replace(fits()[0], kernel="<script>alert('x')</script>")
    assert "<script>" not in it._repr_html_()
    assert "<script>alert('x')</script>" in Reader(it._repr_html_()).text


def dataclasses_of_the_package():
    """Yield the name of each, what its fields are, and the options of the decorator."""
    for file in Path(kmeans_lab.__file__).parent.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for it in ast.walk(ast.parse(text)) if "@dataclass" in text else ():
            for decorator in it.decorator_list if isinstance(it, ast.ClassDef) else ():
                called = ast.unparse(decorator)
                if called.startswith("dataclass"):
                    fields = [f.annotation for f in it.body if isinstance(f, ast.AnnAssign)]
                    yield it.name, [ast.unparse(kind) for kind in fields], called


def test_nothing_that_holds_arrays_compares_them():
    """Comparing two arrays gives an array, which is neither true nor false."""
    found = {
        name: "eq=False" in called
        for name, fields, called in dataclasses_of_the_package()
        if any(re.match(r"(ND)?Array|Pixels|Labels|Samples", kind) for kind in fields)
    }
    assert found.keys() >= {"KMeansResult", "Iteration", "DBSCANResult", "Compressed", "Picture"}
    assert [name for name, by_identity in found.items() if not by_identity] == []


def test_examples_run():
    found = doctest.testmod(result)
    assert (found.attempted, found.failed) == (5, 0)

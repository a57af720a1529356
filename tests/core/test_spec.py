"""``KernelSpec``: a wrong field is refused where it is written, by its name."""

from dataclasses import replace

import numpy as np
import pytest

from kmeans_lab import KERNELS
from kmeans_lab.cli import main as cli
from kmeans_lab.registry import add_kernel
from kmeans_lab.spec import KernelSpec

WRONG = {
    "module": [None, 3, b"m", ["m"]],
    "summary": [None, 3, "two\nlines"],
    "remedy": [None, ("pip",), "pip install a\nor b"],
    "requires": ["numpy", None, 3, (1,), {"numpy"}, ("sklearn.cluster",), ("scikit-learn",), ("",)],
    "dtypes": ["float64", (), ("float32",), ("float16", "float64"), (np.float64,), None, ("f8",)],
    "threading": ["none", "", None, True, ["own"], "GIL"],
    "arithmetic": ["fast", None, 3],
    "sources": ["a.py", (3,), None],
    "built": [None, ("_fast",), "../fast", "a/b", "*", "_fast.so", "two\nlines"],
    "whole": [1, None, "yes", np.True_],
    "centers": [0, "no"],
    "weights": [1, "no"],
    "exact": [1, None],
    "blas": ["openblas", None],
    "compiles_on_first_call": [1, "jit"],
    "balls": [1, None],
    "broadcasts": [0, "no"],
    "provides": ["seeding", ("greedy",), (1,), None],
    "sparse": [None, True, "two\nlines"],
    "sparse_sources": ["a.py", (3,), None],
    "debugging": [None, ("pdb",), "two\nlines"],
    "wheels": [None, True, "two\nlines"],
    "auto": [-1, True, 1.0, "first", None],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in WRONG.items() for value in values]
)
def test_a_wrong_field_is_refused_by_name(field, value):
    given = {"module": "m", "summary": "s", "remedy": "r"} | {field: value}
    with pytest.raises(ValueError, match=rf"^{field}=") as refused:
        KernelSpec(**given)
    assert "KernelSpec" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_sentence_has_the_rule_and_the_remedy():
    for fields, sentence in (
        ({"requires": "numpy"}, "must be a tuple of strings; write requires=('numpy',)"),
        ({"threading": "none"}, "is not known; choose one of 'gil', 'nogil', 'own'"),
        ({"dtypes": ("float32",)}, "write dtypes=('float64',) or leave it out"),
        ({"requires": ("sklearn.cluster",)}, "'sklearn.cluster' is none; write 'sklearn'"),
    ):
        with pytest.raises(ValueError, match="KernelSpec") as refused:
            KernelSpec("m", "s", "r", **fields)
        assert sentence in str(refused.value)


def test_every_field_is_tried():
    assert set(WRONG) == set(KernelSpec.__dataclass_fields__)


def test_a_changed_copy_is_checked_too():
    with pytest.raises(ValueError, match="threading"):
        replace(KERNELS["cpp"], threading="none")


def test_lists_are_kept_as_tuples():
    spec = KernelSpec("m", "s", "r", requires=["numpy"], dtypes=["float64"], sources=["a*.py"])
    assert (spec.requires, spec.dtypes, spec.sources) == (("numpy",), ("float64",), ("a*.py",))
    assert hash(spec) == hash(replace(spec, requires=("numpy",)))


@pytest.mark.parametrize("field", ["requires='numpy'", "dtypes='float64'", "threading='none'"])
def test_a_file_with_a_wrong_spec_is_named_in_one_sentence(capsys, monkeypatch, tmp_path, field):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong_spec.py").write_text(
        "from kmeans_lab.registry import KernelSpec\nassign = update = print\n"
        f"SPEC = KernelSpec(module='m', summary='s', remedy='r', {field})\n"
    )
    with pytest.raises(ValueError, match=field.partition("=")[0]):
        add_kernel("wrong_spec.py")
    assert cli.main(["check", "wrong_spec.py"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert f"wrong_spec.py cannot be imported: ValueError: {field}" in said.err

"""The machine card: every table says which instruction set it was measured with."""

import json
import sys
from copy import deepcopy

import pytest

from kmeans_lab.cli.main import main
from kmeans_lab.measure import machine, record
from kmeans_lab.studies.notebook import Notebook
from tests.support.helpers import ready_kernels

PICKS = [name for name in ("cython-tiled", "cpp-simd") if name in ready_kernels()]
pytestmark = pytest.mark.skipif(not PICKS, reason="no kernel that picks an instruction set")


def test_a_card_names_the_instruction_set_of_each_kernel_that_picks_one(isa):
    card = machine.card()
    assert card["instruction_sets"] == dict.fromkeys(PICKS, isa)
    assert f"instruction set: {isa} ({', '.join(PICKS)})" in machine.lines(card)


def test_cards_without_it_and_kernels_that_differ():
    card = machine.card()
    del card["instruction_sets"], card["numba_target"]
    assert not any(line.startswith("instruction set") for line in machine.lines(card))
    assert machine.instruction_set_lines({}) == []
    assert machine.instruction_set_lines({"a": "avx2", "b": "baseline", "c": "avx2"}) == [
        "instruction set: avx2 (a, c), baseline (b)"
    ]


@pytest.mark.parametrize(
    "command",
    [
        ["profile", PICKS[-1]],
        ["scaling", PICKS[-1], "--rounds", "1"],
        ["bench", "--kernel", PICKS[-1], "--rounds", "1"],
    ],
    ids=lambda command: command[0],
)
def test_commands_that_measure_print_it(capsys, command):
    main([*command, "--preset", "smoke"])  # whether the run counts is another matter
    assert "\ninstruction set" in capsys.readouterr().out


def test_a_profile_as_json_has_the_card(capsys):
    assert main(["profile", PICKS[-1], "--preset", "smoke", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["machine"]["instruction_sets"]


def test_the_page_of_a_study_names_it_where_anything_was_measured(tmp_path):
    for measured in (False, True):
        book = Notebook("some", "What?", tmp_path)
        book.table("rows", [{"a": 1}], measured=measured)
        book.write_page()
        page = (tmp_path / "some.md").read_text()
        assert ("\nMeasured with the instruction set: " in page) == measured


def test_runs_with_different_instruction_sets_are_not_compared():
    old = machine.card()
    new = deepcopy(old) | {"instruction_sets": {"cpp-simd": "another"}}
    with pytest.raises(record.Refused, match=r"with another instruction set \(\w+, here another\)"):
        record.hold_to_machine("the older run", old, new)
    record.hold_to_machine("the older run", old, deepcopy(old))
    del old["instruction_sets"]  # older than the field
    record.hold_to_machine("the older run", old, new)


@pytest.mark.kernels("numba")
@pytest.mark.parametrize(
    ("name", "features", "told"),
    [
        ("haswell", "", "haswell"),
        ("haswell", "+fma", "haswell with +fma"),
        ("generic86", None, "generic86 with the features of {}"),  # Numba leaves them on
        (None, None, "{}"),
    ],
)
def test_a_card_names_what_numba_compiles_for(kernel, monkeypatch, name, features, told):
    from llvmlite.binding import get_host_cpu_name

    config = sys.modules["numba"].config
    monkeypatch.setattr(config, "CPU_NAME", name)
    monkeypatch.setattr(config, "CPU_FEATURES", features)
    told = told.format(get_host_cpu_name())
    assert machine.card()["numba_target"] == told
    assert any(line.endswith(f" for {told}") for line in machine.lines())


def test_without_numba_it_names_nothing(monkeypatch):
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    assert machine.numba_target() is None

"""Types of records say the same as the JSON schemas and the dataclasses that are written."""

import inspect
import json
from dataclasses import fields
from pathlib import Path

import pytest

from kmeans_lab import kmeans
from kmeans_lab.measure import machine, record, roofline, scaling, schema, statistics
from kmeans_lab.presets import FitSettings

FOLDER = Path(record.__file__).parent
BENCH, SCALING = (
    json.loads((FOLDER / f"{name}.json").read_text("utf-8")) for name in ("bench", "scaling")
)
RUN, CONTESTANT = BENCH["$defs"]["run"], BENCH["$defs"]["contestant"]
MIRRORED = [
    (BENCH, schema.BenchRecord),
    (BENCH["properties"]["machine"], schema.Card),
    (BENCH["$defs"]["pool"], schema.Pool),
    (BENCH["$defs"]["interval"], schema.IntervalRecord),
    (RUN, schema.RunRecord),
    (RUN["properties"]["calibration"], schema.CalibrationRecord),
    (RUN["properties"]["roof"], schema.RoofRecord),
    (CONTESTANT, schema.ContestantRecord),
    (SCALING, schema.ScalingRecord),
    (SCALING["properties"]["machine"], schema.Card),
    (SCALING["$defs"]["pool"], schema.Pool),
    (SCALING["$defs"]["scaling"], schema.WorkersRecord),
    (SCALING["$defs"]["point"], schema.PointRecord),
    (SCALING["$defs"]["growth"], schema.GrowthRecord),
]


@pytest.mark.parametrize(("rules", "typed"), MIRRORED)
def test_a_typed_record_has_the_properties_of_its_schema(rules, typed):
    assert set(typed.__annotations__) == set(rules["properties"])
    assert typed.__required_keys__ == set(rules["required"])


@pytest.mark.parametrize(
    ("rules", "typed"),
    [
        (CONTESTANT["properties"]["start"], schema.StartCosts),
        (SCALING["$defs"]["interval"], schema.IntervalRecord),
        (SCALING["$defs"]["ratio"], schema.IntervalRecord),
    ],
)
def test_a_schema_that_names_no_properties_requires_those_of_its_typed_record(rules, typed):
    assert typed.__required_keys__ == set(rules["required"])


def test_states_of_contestants_are_those_of_the_schema():
    assert list(schema.State.__args__) == CONTESTANT["properties"]["state"]["enum"]


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        (statistics.Interval, schema.IntervalRecord),
        (roofline.Roof, schema.RoofRecord),
        (scaling.Point, schema.PointRecord),
        (scaling.Scaling, schema.WorkersRecord),
        (scaling.Growth, schema.GrowthRecord),
    ],
)
def test_a_dataclass_that_is_written_has_the_fields_of_its_record(written, typed):
    assert [it.name for it in fields(written)] == list(typed.__annotations__)


def test_a_card_has_nothing_that_its_type_does_not_name():
    card = machine.card()
    assert set(card) == set(schema.Card.__annotations__)
    assert all(set(pool) <= set(schema.Pool.__annotations__) for pool in card["pools"])


def test_settings_of_a_fit_are_the_arguments_of_kmeans():
    arguments = {it for it in inspect.signature(kmeans).parameters if not it.startswith("_")}
    assert set(FitSettings.__annotations__) == arguments - {"X", "n_clusters", "kernel", "callback"}

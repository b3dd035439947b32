"""Warnings as people and programs read them, and counters that know a place."""

import json
import pickle

import numpy as np

from molino.transforms.rows.batches import sum_counters
from molino.transforms.text.position import LINE_BITS, LineTable, locate_sightings
from molino.transforms.warnings import DataWarning, Sighting, example_of, from_json, print_warnings, to_json


def test_a_warning_is_read_with_place_and_remedy():
    warning = DataWarning("curp.empty", "3 rows without a CURP", 3, "a.txt line 7", "add --missing-curp each")
    assert str(warning) == "3 rows without a CURP; first: a.txt line 7; add --missing-curp each"
    assert str(DataWarning("x", "one file is odd", example="a.txt")) == "one file is odd; a.txt"
    assert from_json(json.loads(json.dumps(to_json([warning])))) == [warning]
    assert str(*from_json(["as 0.1.0 wrote them"])) == "as 0.1.0 wrote them"


def test_sightings_add_up_in_any_order():
    parts = [
        {"odd": Sighting(2, "b.jpg"), "all": 5},
        {"odd": Sighting(1, "a.jpg")},
        {"odd": Sighting(0, "")},
        {"odd": 4},
    ]
    for ordered in (parts, parts[::-1], pickle.loads(pickle.dumps(parts))):
        totals = sum_counters(ordered)
        assert (totals["odd"], example_of(totals, "odd"), totals["all"]) == (7, "a.jpg", 5)
    assert json.loads(json.dumps(totals)) == {"odd": 7, "all": 5}
    assert example_of(totals, "all") == example_of(totals, "none") == ""


def test_positions_become_lines_and_the_first_is_the_first_line():
    lines = LineTable(("b.txt", "a.txt"), np.array([0, 1, 1], np.int32), np.array([2, 2, 90], np.int64))
    positions = [(2 << LINE_BITS) + 9, (1 << LINE_BITS) + 9, 8]
    located = [locate_sightings({"odd": Sighting(1, position)}, lines) for position in positions]
    assert [example_of(counters, "odd") for counters in located] == ["a.txt line 99", "a.txt line 11", "b.txt line 10"]
    assert example_of(sum_counters(located[:2]), "odd") == "a.txt line 11"
    assert example_of(sum_counters(located), "odd") == "b.txt line 10"  # the order of the inputs


def test_no_more_warnings_are_printed_than_people_read(capsys):
    print_warnings([DataWarning("x", f"number {i}") for i in range(25)])
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "molino: warning: number 0"
    assert len(told) == 21
    assert "5 more" in told[-1]

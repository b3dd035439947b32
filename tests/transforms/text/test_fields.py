"""What the values of a column say against the options."""

import numpy as np
import pyarrow as pa
import pytest

from molino.transforms.rows.batches import sum_counters
from molino.transforms.text.command_line import CommandLine
from molino.transforms.text.fields import PADDED, QUOTED, count_fields, warn_of_fields
from molino.transforms.text.position import POSITION

COLUMNS = {"key": "KEY", "given_name": "NAME"}
COMMAND = CommandLine("molino names", ("--input", "a.txt"))


def batch(names, start=0):
    at = np.arange(start, start + len(names))
    keys = [f" {i}" for i in at]
    return pa.record_batch({"key": pa.array(keys), "given_name": pa.array(names, pa.string()), POSITION: pa.array(at)})


def warned(names, unquoted=True, optional=()):
    counters = count_fields(batch(names), unquoted=unquoted)
    how = {"words": ["given_name"], "loose": ["key"], "optional": optional, "command": COMMAND}
    return warn_of_fields(counters, COLUMNS, **how)


@pytest.mark.parametrize("nothing", ["", "  ", "NULL", "\\N", None])
def test_a_column_that_is_empty_in_every_row_is_told(nothing):
    (warning,) = warned([nothing] * 100)
    assert (warning.kind, warning.count) == ("column.empty", 100)
    assert "--given-name-column names another" in warning.remedy
    assert warned([nothing] * 99 + ["ANA"]) == []
    assert warned([]) == []
    assert warned([nothing], optional=["given_name"])[0].remedy.endswith("with '' none")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("12", "column.numbers"),
        ("01/02/1990", "column.numbers"),
        ("-3.5", "column.numbers"),
        ("ANA ", "column.padded"),
        ("\tANA", "column.padded"),
        ("ANA\u00a0", "column.padded"),
        ("\u00a0ANA", "column.padded"),
        ("allà", ""),
        ("Âlvaro", ""),
        ('"ANA"', "text.quote"),
        ("ANA 2", ""),
        ("3M", ""),
        ("0", ""),
        ('"', ""),
        ("Ñ", ""),
        ("", ""),
    ],
)
def test_values_that_are_no_names_are_told_with_the_first(value, kind):
    warnings = warned(["EVA", value, value, None])
    assert [(warning.kind, warning.count, warning.example) for warning in warnings] == (
        [(kind, 2, "1")] if kind else []
    )


def test_few_odd_values_are_usual_but_not_a_quoted_one():
    few = [""] * 500 + ["EVA", "ANA ", "12", '"ANA"']
    (warning,) = warned(few)
    assert warning.remedy == "right would be: molino names --input a.txt --quote '\"'"
    assert warned(few, unquoted=False) == []


def test_counts_are_the_same_for_every_cut_and_every_slice():
    values = ["EVA", "", " ", None, '"ANA"', "12 ", "X", '""', "\\N"]
    whole = count_fields(batch(values), unquoted=True)
    pieces = [count_fields(batch(values[i : i + 2], i), unquoted=True) for i in range(0, len(values), 2)]
    slices = [count_fields(batch(values).slice(i, 4), unquoted=True) for i in range(0, len(values), 4)]
    for summed in (sum_counters(pieces), sum_counters(slices)):
        for name, count in whole.items():
            assert summed[name] == count or (name.startswith("_filled") and summed[name])
            assert getattr(summed[name], "place", None) == getattr(count, "place", None)
    assert (whole[PADDED + "given_name"], whole[QUOTED]) == (1, 2)

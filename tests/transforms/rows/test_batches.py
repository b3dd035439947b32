"""Batches joined, emptied and coded, and counters that add up."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from molino.transforms.rows.batches import concat, empty, first_appearance_codes, sum_counters
from tests.transforms.rows.test_digest import SCHEMA


@given(st.lists(st.sampled_from("abcd")))
def test_codes_follow_first_appearance(values):
    codes, distinct = first_appearance_codes(pa.array(values, pa.string()))
    assert [distinct[code].as_py() for code in codes] == values
    assert distinct.to_pylist() == list(dict.fromkeys(values))


def test_empty_and_sums():
    assert empty(SCHEMA).num_rows == 0
    assert concat([], SCHEMA).schema == SCHEMA
    assert sum_counters([{"a": 1, "b": 2}, {"a": 3}]) == {"a": 4, "b": 2}

"""The coder, and digests that see rows and nothing else."""

import datetime
from decimal import Decimal

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from molino.transforms.rows.batches import concat, empty, first_appearance_codes, sum_counters

SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("bytes", pa.binary()),
        ("pixels", pa.binary(3)),
        ("whole", pa.int16()),
        ("real", pa.float64()),
        ("flag", pa.bool_()),
        ("names", pa.list_(pa.string())),
        pa.field("vector", pa.list_(pa.float32(), 2), nullable=False),
    ]
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.none() | st.text(max_size=3),
            "bytes": st.none() | st.binary(max_size=3),
            "pixels": st.none() | st.binary(min_size=3, max_size=3),
            "whole": st.none() | st.integers(-9, 9),
            "real": st.none() | st.floats(-1, 1, allow_subnormal=False),
            "flag": st.none() | st.booleans(),
            "names": st.none() | st.lists(st.text(max_size=2), max_size=2),
            "vector": st.tuples(*[st.floats(-1, 1, width=32, allow_subnormal=False)] * 2).map(list),
        }
    ),
    max_size=8,
)


def batch_of(rows):
    return pa.RecordBatch.from_pylist(rows, SCHEMA)


RARER = {
    "struct": ([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}], pa.struct([("a", pa.int8()), ("b", pa.string())])),
    "large list": ([[1], None, []], pa.large_list(pa.int64())),
    "decimal": ([Decimal("1.50"), None, Decimal("-2.25")], pa.decimal128(9, 2)),
    "date": ([datetime.date(2015, 1, 2), None, datetime.date(1, 1, 1)], pa.date32()),
    "time": ([datetime.time(1, 2, 3), None, datetime.time(0)], pa.time64("us")),
    "timestamp": ([datetime.datetime(2015, 1, 2), None, datetime.datetime(1960, 1, 1)], pa.timestamp("ns", "UTC")),
    "duration": ([datetime.timedelta(1), None, datetime.timedelta(-1)], pa.duration("ms")),
}


@given(st.lists(st.sampled_from("abcd")))
def test_codes_follow_first_appearance(values):
    codes, distinct = first_appearance_codes(pa.array(values, pa.string()))
    assert [distinct[code].as_py() for code in codes] == values
    assert distinct.to_pylist() == list(dict.fromkeys(values))


def test_empty_and_sums():
    assert empty(SCHEMA).num_rows == 0
    assert concat([], SCHEMA).schema == SCHEMA
    assert sum_counters([{"a": 1, "b": 2}, {"a": 3}]) == {"a": 4, "b": 2}

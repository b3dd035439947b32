"""A batch travels as its own rows only, and arrives as it was."""

import datetime
import pickle
from decimal import Decimal

import apache_beam as beam
import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from molino.transforms.rows.coder import ArrowBatchCoder

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
RARER = {
    "struct": ([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}], pa.struct([("a", pa.int8()), ("b", pa.string())])),
    "large list": ([[1], None, []], pa.large_list(pa.int64())),
    "decimal": ([Decimal("1.50"), None, Decimal("-2.25")], pa.decimal128(9, 2)),
    "date": ([datetime.date(2015, 1, 2), None, datetime.date(1, 1, 1)], pa.date32()),
    "time": ([datetime.time(1, 2, 3), None, datetime.time(0)], pa.time64("us")),
    "timestamp": ([datetime.datetime(2015, 1, 2), None, datetime.datetime(1960, 1, 1)], pa.timestamp("ns", "UTC")),
    "duration": ([datetime.timedelta(1), None, datetime.timedelta(-1)], pa.duration("ms")),
}


def batch_of(rows):
    return pa.RecordBatch.from_pylist(rows, SCHEMA)


def test_beam_knows_the_coder():
    assert isinstance(beam.coders.registry.get_coder(pa.RecordBatch), ArrowBatchCoder)
    assert ArrowBatchCoder().is_deterministic()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS)
def test_a_batch_travels_unchanged(rows):
    coder = ArrowBatchCoder()
    assert coder.decode(coder.encode(batch_of(rows))).to_pylist() == batch_of(rows).to_pylist()


def test_a_slice_travels_alone():
    whole = pa.record_batch({"n": np.arange(100_000)})
    part = whole.slice(500, 10)
    encoded = ArrowBatchCoder().encode(part)
    assert len(encoded) < 1000
    assert len(pickle.dumps(part)) > 100_000  # what the coder is there to prevent
    assert ArrowBatchCoder().decode(encoded).equals(part)

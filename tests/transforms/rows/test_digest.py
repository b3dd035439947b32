"""A digest depends on the rows, and on nothing that carried them."""

import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from molino.transforms.rows.batches import concat
from molino.transforms.rows.digest import digest

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


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS, ROWS, st.integers(0, 8))
def test_the_digest_depends_on_the_rows_alone(before, rows, cut):
    plain = batch_of(rows)
    sliced = batch_of(before + rows).slice(len(before))
    parts = [plain.slice(0, cut), plain.slice(cut)]
    again = concat(parts, SCHEMA)
    with_dictionary = plain.set_column(0, "text", plain["text"].dictionary_encode())
    assert digest(plain) == digest(sliced) == digest(again) == digest(with_dictionary)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS, ROWS)
def test_other_rows_have_another_digest(rows, others):
    assert (digest(batch_of(rows)) == digest(batch_of(others))) == (rows == others or repr(rows) == repr(others))


def test_the_digest_survives_parquet(tmp_path):
    batch = batch_of(
        [{"text": "Ñ", "names": ["a", "b"], "pixels": b"abc", "vector": [1, 2]}, {"flag": True, "vector": [0, 0]}]
    )
    pq.write_table(pa.Table.from_batches([batch]), tmp_path / "f")
    [back] = pq.read_table(tmp_path / "f").to_batches()
    assert digest(back) == digest(batch)


@pytest.mark.parametrize("kind", RARER)
def test_rarer_types_have_digests(kind, tmp_path):
    values, type_ = RARER[kind]
    batch = pa.record_batch({"c": pa.array(values, type_)})
    pq.write_table(pa.Table.from_batches([batch]), tmp_path / "f")
    [back] = pq.read_table(tmp_path / "f").to_batches()
    longer = pa.record_batch({"c": pa.array([*values[::-1], *values], type_)}).slice(3)
    assert digest(back) == digest(batch) == digest(longer)
    assert digest(batch) != digest(batch.take(pa.array([2, 1, 0])))


def test_what_lies_under_a_null_does_not_count():
    mask = np.array([True, False])
    one, two = (pa.record_batch({"n": pa.array([hidden, 7], mask=mask)}) for hidden in (1, 2))
    assert digest(one) == digest(two)
    validity = pa.array([False, True]).buffers()[1]
    one, two = (
        pa.record_batch({"n": pa.FixedSizeBinaryArray.from_buffers(pa.binary(2), 2, [validity, pa.py_buffer(data)])})
        for data in (b"abcd", b"xycd")
    )
    assert digest(one) == digest(two)


def test_a_type_without_a_digest_is_an_error():
    with pytest.raises(TypeError, match="null"):
        digest(pa.record_batch({"b": pa.nulls(1)}))


def test_maps_are_told_apart():
    type_ = pa.map_(pa.string(), pa.int64())
    rows = ([("a", 1)], [("a", 2)], [("b", 1)], [], None, [("a", 1), ("b", 2)])
    assert len({digest(pa.record_batch({"b": pa.array([row], type_)})) for row in rows}) == len(rows)

"""Thrift's compact protocol against footers that pyarrow wrote, and against itself."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molino.transforms.parquet import thrift


def footer(table, **options):
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    data = out.getvalue()
    return data[-8 - int.from_bytes(data[-8:-4], "little") : -8]


TABLE = pa.table(
    {
        "number": pa.array(range(100), pa.int64()),
        "text": pa.array([None, "a"] * 50),
        "list": pa.array([[1, 2], []] * 50, pa.list_(pa.int32())),
        "when": pa.array([0] * 100, pa.timestamp("us", tz="UTC")),
        "part": pa.array([0.5] * 100, pa.float16()),
    }
)


@pytest.mark.parametrize(
    "options",
    [{}, {"row_group_size": 3}, {"write_page_index": True, "use_dictionary": False}, {"sorting_columns": []}],
    ids=["plain", "groups", "index", "sorted"],
)
def test_a_footer_comes_back_byte_for_byte(options):
    data = footer(TABLE, **options)
    fields = thrift.decode_struct(data)
    assert thrift.encode_struct(fields) == data
    assert fields[3] == (thrift.I64, 100)  # num_rows


numbers = st.integers(-(2**63), 2**63 - 1)
values = st.recursive(
    st.one_of(
        numbers.map(lambda value: (thrift.I64, value)),
        st.binary(max_size=300).map(lambda value: (thrift.BINARY, value)),
        st.booleans().map(lambda value: (thrift.TRUE if value else thrift.FALSE, value)),
        st.lists(numbers, max_size=40).map(lambda value: (thrift.LIST, (thrift.I64, value))),
    ),
    lambda inner: st.dictionaries(st.integers(1, 32767), inner, max_size=5).map(lambda value: (thrift.STRUCT, value)),
    max_leaves=20,
)


@given(st.dictionaries(st.integers(1, 32767), values, max_size=8))
def test_any_struct_comes_back(fields):
    assert thrift.decode_struct(thrift.encode_struct(fields)) == fields


def test_what_parquet_does_not_use_is_an_error():
    with pytest.raises(ValueError, match="type 11"):
        thrift.decode_struct(bytes([0x1B, 0]))
    with pytest.raises(ValueError, match="type 10"):
        thrift.encode_struct({1: (thrift.SET, [])})

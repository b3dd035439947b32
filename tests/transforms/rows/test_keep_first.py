"""One row per key, the first, whatever the batches; and what the others said."""

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.transforms.rows.keep_first import DropDuplicates, find_conflicts, keep_first

ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.sampled_from(["", "z"])), max_size=30)


def batch_of(rows):
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    arrays = [*(pa.array(list(column), pa.string()) for column in columns), pa.array(range(len(rows)), pa.int64())]
    return pa.RecordBatch.from_arrays(arrays, ["k", "v", "w", "n"])


@given(ROWS)
def test_it_is_what_a_dictionary_keeps(rows):
    kept, pairs = keep_first(batch_of(rows), key="k")
    first = {}
    for number, (key, *_) in enumerate(rows):
        first.setdefault(key, number)
    assert kept["n"].to_pylist() == list(first.values())
    dropped = [number for number, (key, *_) in enumerate(rows) if first[key] != number]
    assert pairs["dropped_n"].to_pylist() == dropped
    assert pairs["kept_n"].to_pylist() == [first[rows[number][0]] for number in dropped]
    assert kept.num_rows + pairs.num_rows == len(rows)


@given(ROWS)
def test_keeping_twice_changes_nothing(rows):
    kept, _ = keep_first(batch_of(rows), key="k")
    again, pairs = keep_first(kept, key="k")
    assert again.equals(kept)
    assert pairs.num_rows == 0


@given(ROWS)
def test_conflicts_name_the_columns_that_differ(rows):
    _, pairs = keep_first(batch_of(rows), key="k")
    found = find_conflicts(pairs, columns=["v", "w"])
    expected = []
    for pair in pairs.to_pylist():
        differs = [c for c in ("v", "w") if pair[f"kept_{c}"] != pair[f"dropped_{c}"]]
        if differs:
            expected.append({**pair, "differs": differs})
    assert found.to_pylist() == expected


KEYED = st.lists(
    st.tuples(st.integers(-3, 3), st.one_of(st.none(), st.integers(0, 3)), st.sampled_from(["", "z", "é"])), max_size=30
)


SCHEMA = pa.schema([("k", pa.int16()), ("at", pa.int64()), ("v", pa.string()), ("list", pa.list_(pa.int64()))])


@pytest.mark.slow
@settings(max_examples=12)
@given(rows=KEYED, size=st.integers(1, 31), keep=st.sampled_from(["first", "last"]), groups=st.sampled_from([1, 5]))
def test_one_row_of_each_key_is_kept_whatever_the_batches(rows, size, keep, groups):
    table = pa.Table.from_pylist([{"k": k, "at": at, "v": v, "list": [1]} for k, at, v in rows], SCHEMA)
    order = table.to_pandas().sort_values(["at", "v"], ascending=keep == "first", na_position="last")
    oracle = pa.Table.from_pandas(order.drop_duplicates("k"), SCHEMA, preserve_index=False)

    def check(batches):
        assert all(batch.schema == SCHEMA and batch.num_rows for batch in batches)
        assert pa.Table.from_batches(batches, SCHEMA).sort_by("k").equals(oracle.sort_by("k"))

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        kept = (
            pipeline
            | beam.Create(table.to_batches(max_chunksize=size))
            | DropDuplicates(key="k", order_by="at", keep=keep, groups=groups)
        )
        assert_that(kept, check)


def test_a_key_that_is_null_is_told():
    rows = pa.RecordBatch.from_pylist([{"k": None, "n": 1}, {"k": "a", "n": 2}])
    with pytest.raises(Exception, match="the key k holds nulls"), beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | beam.Create([rows]) | DropDuplicates(key="k")
    with pytest.raises(Exception, match="no column 'sku'; they have: k, n"), beam.Pipeline("FnApiRunner") as pipeline:
        _ = pipeline | beam.Create([rows]) | DropDuplicates(key="k", order_by="sku")
    with pytest.raises(ValueError, match="keep is 'newest'; it may be 'first' or 'last'"):
        DropDuplicates(key="k", keep="newest")

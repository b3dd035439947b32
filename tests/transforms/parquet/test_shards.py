"""A shard holds what was given, says so truly, and has the same bytes every time."""

import hashlib
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molino.schemas import field, schema
from molino.transforms.errors import DataError
from molino.transforms.parquet.shards import Layout, row_groups, write_shard, write_view
from molino.transforms.rows.digest import combine_digests, digest

SCHEMA = schema(
    "test.rows", 3, field("key", pa.string(), "A key"), field("n", pa.int64(), "A number"),
    field("note", pa.string(), "A note", nullable=True),
)  # fmt: skip
VECTORS = schema(
    "test.vectors", 1, field("n", pa.int64(), "A number"),
    field("v-1", pa.list_(pa.field("element", pa.float32(), nullable=False), 3), "A vector"),
)  # fmt: skip


def batch_of(start, stop):
    n = np.arange(start, stop)
    return pa.record_batch({"key": [f"k{i % 7}" for i in n], "n": n, "note": [None if i % 3 else "x" for i in n]})


def write(folder, batches, **how):
    return write_shard(batches, schema=SCHEMA, folder=str(folder), dataset="rows", **how)


def test_what_is_said_of_a_shard_is_true(tmp_path):
    batches = [batch_of(0, 100), batch_of(100, 150)]
    staged = write(tmp_path, batches, key=(4,), layout=Layout(plain=["key"], encodings={"n": "DELTA_BINARY_PACKED"}))
    data = pathlib.Path(staged.path).read_bytes()
    assert (staged.bytes, staged.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    file = pq.ParquetFile(staged.path)
    assert (staged.rows, staged.schema, staged.key) == (150, ("test.rows", 3), (4,))
    assert file.schema_arrow.equals(SCHEMA, check_metadata=True)
    assert file.read().to_pylist() == [row for batch in batches for row in batch.to_pylist()]
    groups = [file.read_row_group(i).combine_chunks().to_batches()[0] for i in range(file.num_row_groups)]
    assert [digest(group) for group in groups] == list(staged.digests)
    columns = [file.metadata.row_group(0).column(i) for i in range(3)]
    assert all(c.compression == "ZSTD" and c.has_offset_index and c.has_column_index for c in columns)
    assert [c.has_dictionary_page for c in columns] == [False, False, True]
    assert "DELTA_BINARY_PACKED" in columns[1].encodings


def test_a_second_attempt_writes_the_same_bytes_beside_the_first(tmp_path):
    one, two = (write(tmp_path, [batch_of(0, 100)]) for _ in range(2))
    assert one.path != two.path
    assert one.sha256 == two.sha256
    sliced = write(tmp_path, [batch_of(-50, 100).slice(50)])
    assert sliced.sha256 == one.sha256


def test_the_digest_of_a_data_set_does_not_depend_on_its_shards(tmp_path):
    blocks = [batch_of(i * 10, i * 10 + 10) for i in range(6)]
    digests = set()
    for shards in (1, 2, 3, 6):
        size = 6 // shards
        staged = [write(tmp_path, blocks[i : i + size]) for i in range(0, 6, size)]
        digests.add(combine_digests([d for file in staged for d in file.digests]))
    assert len(digests) == 1


def test_row_groups_are_bounded_and_never_empty():
    groups = list(row_groups([batch_of(0, 100), batch_of(0, 0), batch_of(0, 40)], SCHEMA, 40))
    assert [group.num_rows for group in groups] == [40, 40, 20, 40]


def test_a_null_where_none_may_be_is_an_error(tmp_path):
    bad = pa.record_batch({"key": ["a", None], "n": [1, 2], "note": ["", ""]})
    with pytest.raises(ValueError, match=r"column key of test\.rows has 1 nulls"):
        write(tmp_path, [bad])


@pytest.mark.parametrize("rows", [7, 100])
def test_vectors_are_written_as_they_are(tmp_path, rows):
    values = np.random.default_rng(1).standard_normal((100, 3)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), type=VECTORS.field("v-1").type)
    batch = pa.record_batch([pa.array(np.arange(100)), column], schema=VECTORS)
    made = (batch for _ in range(2))
    layout = Layout(raw=["v-1"])
    staged = write_shard(made, schema=VECTORS, folder=str(tmp_path), dataset="v", layout=layout, group_rows=rows)
    file = pq.ParquetFile(staged.path, page_checksum_verification=True)
    assert file.schema_arrow.equals(VECTORS, check_metadata=True)
    assert staged.rows == 200
    assert file.metadata.num_row_groups == len(staged.digests) == 2 * -(-100 // rows)
    read = file.read()["v-1"].combine_chunks().flatten().to_numpy().reshape(-1, 3)
    np.testing.assert_array_equal(read, np.concatenate([values, values]))
    numbers, vectors = (file.metadata.row_group(0).column(i) for i in range(2))
    assert (numbers.compression, vectors.compression) == ("ZSTD", "UNCOMPRESSED")
    assert (numbers.has_dictionary_page, vectors.has_dictionary_page) == (True, False)
    assert (numbers.is_stats_set, vectors.is_stats_set) == (True, False)


def test_a_full_disk_is_a_clear_error():
    with pytest.raises(DataError, match=r"cannot write .*/dev/null/rows/.*; write elsewhere"):
        write("/dev/null", [batch_of(0, 1)])


def test_views_are_staged_under_their_name(tmp_path):
    staged = write_view(b"a,b\n", folder=str(tmp_path), name="t.csv")
    assert pathlib.Path(staged.path).read_bytes() == b"a,b\n"
    assert (staged.dataset, staged.name, staged.bytes) == ("", "t.csv", 4)

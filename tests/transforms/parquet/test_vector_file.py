"""Files with vectors: what pyarrow, DuckDB and Polars read in them is what pyarrow alone would have written."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molino.transforms.parquet.vector_file import VectorWriter, is_vector

TYPES = (np.float16, np.float32, np.float64)


def list_of(dtype, dim, nullable=False):
    return pa.list_(pa.field("element", pa.from_numpy_dtype(dtype), nullable=nullable), dim)


def vectors(rows, dim, dtype, seed=0):
    numbers = np.random.default_rng(seed).standard_normal(rows * dim).astype(dtype)
    return pa.FixedSizeListArray.from_arrays(pa.array(numbers), type=list_of(dtype, dim))


def batch_of(rows, dim, names, dtype=np.float32):
    words = pa.list_(pa.field("item", pa.string(), nullable=False))
    fields = {
        "v": pa.field("v", list_of(dtype, dim), nullable=False),
        "w": pa.field("w", list_of(np.float16, dim + 1), nullable=False),
        "number": pa.field("number", pa.int32(), nullable=False),
        "text": pa.field("text", pa.string()),
        "words": pa.field("words", words),
    }
    columns = {
        "v": vectors(rows, dim, dtype),
        "w": vectors(rows, dim + 1, np.float16, seed=1),
        "number": pa.array(range(rows), pa.int32()),
        "text": pa.array([None if i % 3 == 0 else "x" * (i % 5) for i in range(rows)], pa.string()),
        "words": pa.array([["q"] * (i % 3) for i in range(rows)], words),
    }
    schema = pa.schema([fields[name] for name in names], metadata={"made": "here"})
    return pa.record_batch([columns[name] for name in names], schema=schema)


def write(batches, **options):
    out = io.BytesIO()
    writer = VectorWriter(out, batches[0].schema, write_page_checksum=True, **options)
    for batch in batches:
        writer.write_batch(batch, row_group_size=batch.num_rows)
    writer.close()
    return out.getvalue()


def open_both(batches, data):
    """Open the file, and the one that pyarrow makes of the same."""
    plain = io.BytesIO()
    with pq.ParquetWriter(plain, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch, row_group_size=batch.num_rows)
    return [pq.ParquetFile(file, page_checksum_verification=True) for file in (io.BytesIO(data), plain)]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("dim", [1, 2, 3, 64, 300])
@pytest.mark.parametrize("names", [["v"], ["v", "number"], ["number", "v", "text", "w", "words"]], ids="-".join)
def test_the_file_says_what_pyarrow_would_have_written(names, dim, dtype):
    batches = [batch_of(rows, dim, names, dtype) for rows in (1, 7, 600, 8)]
    ours, plain = open_both(batches, write(batches, compression="zstd"))
    assert ours.read().equals(plain.read())
    assert ours.schema_arrow.equals(plain.schema_arrow, check_metadata=True)
    assert ours.schema.equals(plain.schema)
    assert ours.metadata.num_rows == 616
    for group in range(4):
        one, other = ours.metadata.row_group(group), plain.metadata.row_group(group)
        assert one.num_rows == other.num_rows
        paths = [[part.column(i).path_in_schema for i in range(part.num_columns)] for part in (one, other)]
        assert paths[0] == paths[1]
        assert one.total_byte_size == sum(one.column(i).total_uncompressed_size for i in range(one.num_columns))
        assert ours.read_row_group(group).equals(plain.read_row_group(group))


def test_statistics_of_the_other_columns_are_kept():
    ours, _ = open_both([batch_of(9, 4, ["v", "number"])], write([batch_of(9, 4, ["v", "number"])]))
    statistics = ours.metadata.row_group(0).column(1).statistics
    assert (statistics.min, statistics.max) == (0, 8)
    assert ours.metadata.row_group(0).column(0).statistics is None


def test_a_slice_is_written_as_its_own_rows():
    whole = batch_of(100, 5, ["text", "v"])
    ours, _ = open_both([whole], write([whole.slice(10, 30), whole.slice(99)]))
    assert ours.read().equals(pa.Table.from_batches([whole.slice(10, 30), whole.slice(99)]))


def test_no_rows_at_all():
    out = io.BytesIO()
    schema = batch_of(1, 3, ["number", "v"]).schema
    VectorWriter(out, schema).close()
    read = pq.read_table(out)
    assert read.num_rows == 0
    assert read.schema.equals(schema)


@pytest.mark.parametrize("module", ["duckdb", "polars"])
def test_other_readers_read_it(module, tmp_path):
    reader = pytest.importorskip(
        module, reason=f"{module} is one of the benchmarks' peers; install requirements/bench.txt"
    )
    batches = [batch_of(500, 6, ["number", "v", "text"]) for _ in range(2)]
    path = tmp_path / "t.parquet"
    path.write_bytes(write(batches, compression="zstd"))
    if module == "duckdb":
        rows = reader.sql(f"select number, v, text from '{path}'").fetchall()
        numbers, lists, texts = zip(*rows, strict=True)
    else:
        frame = reader.read_parquet(path)
        numbers, lists, texts = (frame[name].to_list() for name in ("number", "v", "text"))
    wanted = pa.Table.from_batches(batches)
    assert list(numbers) == wanted["number"].to_pylist()
    assert [list(row) for row in lists] == wanted["v"].to_pylist()
    assert list(texts) == wanted["text"].to_pylist()


def test_a_changed_byte_is_found():
    data = bytearray(write([batch_of(300, 8, ["number", "v"])]))
    data[data.index(np.asarray(vectors(300, 8, np.float32).flatten()).tobytes()[:64])] ^= 1
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(io.BytesIO(bytes(data)), page_checksum_verification=True)


def test_what_is_no_vector():
    assert is_vector(pa.field("v", list_of(np.float32, 3), nullable=False))
    for field in (
        pa.field("v", list_of(np.float32, 3)),
        pa.field("v", list_of(np.float32, 3, nullable=True), nullable=False),
        pa.field("v", list_of(np.int32, 3), nullable=False),
        pa.field("v", pa.list_(pa.float32()), nullable=False),
        pa.field("v", pa.float32(), nullable=False),
    ):
        assert not is_vector(field)


def test_nulls_and_parts_of_batches_are_errors():
    batch = batch_of(4, 2, ["v"])
    writer = VectorWriter(io.BytesIO(), batch.schema)
    with pytest.raises(ValueError, match="one row group"):
        writer.write_batch(batch, row_group_size=2)
    holed = pa.array([[1.0, 2.0], None], list_of(np.float32, 2, nullable=True))
    with pytest.raises(ValueError, match="v has nulls"):
        writer.add_lists(batch.schema.field("v"), holed)

"""Shards: their bytes depend on their rows alone, and what is said of them is true."""

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from molino.schemas import field, schema
from molino.transforms.parquet.shards import write_shard
from molino.transforms.parquet.write import WriteParquet

SCHEMA = schema(
    "test.rows", 3, field("key", pa.string(), "A key"), field("n", pa.int64(), "A number"),
    field("note", pa.string(), "A note", nullable=True),
)  # fmt: skip


def batch_of(start, stop):
    n = np.arange(start, stop)
    return pa.record_batch({"key": [f"k{i % 7}" for i in n], "n": n, "note": [None if i % 3 else "x" for i in n]})


def write(folder, batches, **how):
    return write_shard(batches, schema=SCHEMA, folder=str(folder), dataset="rows", **how)


VECTORS = schema(
    "test.vectors", 1, field("n", pa.int64(), "A number"),
    field("v-1", pa.list_(pa.field("element", pa.float32(), nullable=False), 3), "A vector"),
)  # fmt: skip


def test_write_parquet_leaves_out_shards_without_rows(tmp_path):
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        files = (
            pipeline
            | beam.Create([(0, [batch_of(0, 5)]), (1, [batch_of(0, 0)]), (2, [])])
            | WriteParquet(schema=SCHEMA, folder=str(tmp_path), dataset="rows")
        )
        keys = files | beam.Map(lambda file: (file.key, file.rows))
        assert_that(keys, lambda found: np.testing.assert_equal(found, [((0,), 5)]))

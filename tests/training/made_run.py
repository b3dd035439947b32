"""A finished run of made-up rows, written by hand after docs/runs.md: what reads it must not need the jobs."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from molino.schemas import field, name_of, schema

DIM = 3
SPLITS = ("train", "validation", "test")


def vectors(dtype):
    return pa.list_(pa.field("item", dtype, nullable=False), DIM)


ROWS = schema(
    "made.rows",
    1,
    field("id", pa.int64(), "Number of the row"),
    field("title", pa.string(), "Text of it"),
    field("label", pa.int32(), "Its number, modulo 7"),
    field("split", pa.string(), "One of the three"),
    field("wide", vectors(pa.float32()), "The number, and twice and three times it"),
    field("half", vectors(pa.float16()), "The same modulo 100, in half precision"),
)


def make_rows(start, count):
    """Return rows `start` to `start + count`; everything in a row follows from its number."""
    numbers = np.arange(start, start + count)
    wide = (numbers[:, None] * np.arange(1, DIM + 1)).astype(np.float32)
    half = (numbers[:, None] % 100 * np.arange(1, DIM + 1)).astype(np.float16)
    columns = [
        pa.array(numbers),
        pa.array([f"título {number}" for number in numbers]),
        pa.array((numbers % 7).astype(np.int32)),
        pa.array([SPLITS[0] if number % 10 < 8 else SPLITS[number % 10 - 7] for number in numbers]),
        pa.FixedSizeListArray.from_arrays(pa.array(wide.ravel()), type=vectors(pa.float32())),
        pa.FixedSizeListArray.from_arrays(pa.array(half.ravel()), type=vectors(pa.float16())),
    ]
    return pa.table(columns, schema=ROWS)


def write_run(folder, shards=(40, 0, 25, 61), group=16):
    """Write a run whose shards have so many rows; return its manifest."""
    starts = np.cumsum([0, *shards])
    tables = [make_rows(int(start), count) for start, count in zip(starts, shards, strict=False)]
    return write_tables(folder, "rows", ROWS, tables, group)


def write_tables(folder, dataset, schema_, tables, group=16):
    """Write a run of one data set, a shard for each table; return its manifest."""
    files = []
    (folder / dataset).mkdir(parents=True, exist_ok=True)
    for number, table in enumerate(tables):
        path = f"{dataset}/part-{number:05d}-of-{len(tables):05d}-0123abcd.parquet"
        pq.write_table(table, folder / path, row_group_size=group, write_page_checksum=True)
        files.append({"path": path, "rows": table.num_rows, **measured(folder / path)})
    (folder / "report.html").write_text("<p>made up</p>")
    views = [{"path": "report.html", **measured(folder / "report.html")}]
    name, version = name_of(schema_)
    rows = sum(table.num_rows for table in tables)
    listed = {dataset: {"schema": name, "version": version, "rows": rows, "digest": "", "files": files}}
    empty = {"counters": {}, "options": {}, "inputs": [], "warnings": [], "replaced_views": [], "balance": ["rows", []]}
    manifest = {"format": 1, "job": "made", "run": "", "digest": "", "datasets": listed, "views": views, **empty}
    publish(folder, manifest)
    return manifest


def measured(path):
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def publish(folder, manifest):
    data = json.dumps(manifest).encode()
    (folder / "_manifest.json").write_bytes(data)
    (folder / "_SUCCESS").write_text(hashlib.sha256(data).hexdigest() + "\n")

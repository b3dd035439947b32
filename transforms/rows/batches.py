"""The element that travels: an Arrow RecordBatch of thousands of rows, never a row."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms.warnings import add_sightings

# A whole shard: its place in the data set, and its rows, a batch per block.
Shard = tuple[int, list[pa.RecordBatch]]
Counters = dict[str, Any]  # whole numbers; as such declared, Beam would make a Sighting a plain one on its way


def concat(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """Return one batch with the rows of all, in order; `schema` is what no batches at all give."""
    held = list(batches)
    if not held:
        return empty(schema)
    return held[0] if len(held) == 1 else pa.concat_batches(held)


def empty(schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch of no rows."""
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def first_appearance_codes(values: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Return (codes, distinct): distinct values in order of first appearance, and each row's index among them.

    Codes are int32; `values` has no nulls.

    >>> codes, distinct = first_appearance_codes(pa.array(["b", "a", "b"]))
    >>> codes.tolist(), distinct.to_pylist()
    ([0, 1, 0], ['b', 'a'])
    """
    encoded = pc.dictionary_encode(values)
    return encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary


def lengths_and_bytes(values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths in bytes of strings without nulls, (n,) int64, and the bytes of all, one after the other."""
    n = len(values)
    if n == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.uint8)
    offsets = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + n + 1]
    data = np.frombuffer(values.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    return np.diff(offsets).astype(np.int64), data


def sum_rows(tables: Iterable[pa.Table], schema: pa.Schema, keys: Sequence[str]) -> pa.Table:
    """Add up tables: a row for each of the keys, the first columns of the schema, in their order; null comes last."""
    joined = pa.concat_tables([schema.empty_table(), *tables])
    amounts = [(name, "sum") for name in schema.names[len(keys) :]]
    sums = joined.group_by(list(keys), use_threads=False).aggregate(amounts).rename_columns(schema.names)
    return sums.cast(schema).sort_by([(key, "ascending") for key in keys]).combine_chunks()


def sum_counters(counters: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add up counters of the same name."""
    total: dict[str, int] = {}
    for counter in counters:
        for name, value in counter.items():
            total[name] = add_sightings(total.get(name, 0), value)
    return total

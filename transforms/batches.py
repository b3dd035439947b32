"""The element that travels: an Arrow RecordBatch of thousands of rows, never a row."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# A whole shard: its place in the data set, and its rows, a batch per block.
Shard = tuple[int, list[pa.RecordBatch]]


class ArrowBatchCoder(beam.coders.Coder):
    """Arrow IPC stream of one batch.

    A slice is written as its own rows only; pickling one would send the whole buffer that it was cut from.
    """

    def encode(self, value: pa.RecordBatch) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_batch(value)
        return sink.getvalue().to_pybytes()

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        return pa.ipc.open_stream(encoded).read_next_batch()

    def estimate_size(self, value: pa.RecordBatch) -> int:
        # Beam asks for the size of elements as they pass; its own answer would be to encode each
        return value.nbytes

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> type:
        return pa.RecordBatch


beam.coders.registry.register_coder(pa.RecordBatch, ArrowBatchCoder)


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


def digest(batch: pa.RecordBatch) -> str:
    """Return the sha256 of a batch's content: names, types, nulls and values in order, and nothing else.

    Independent of how the batch was cut, of dictionary encoding, of what lies under a null, and of the file format
    that carried it, so it proves that two runs wrote the same rows.
    """
    state = hashlib.sha256()
    for field, column in zip(batch.schema, batch.columns, strict=True):
        state.update(f"{field.name}\0{_type_name(field.type)}\0{len(column)}\0".encode())
        _update(state, column)
    return state.hexdigest()


def combine_digests(digests: Sequence[str]) -> str:
    """Return one sha256 for a sequence of them."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _type_name(type_: pa.DataType) -> str:
    """Return a type's name without that of a list's items, which Parquet does not keep, and without dictionaries."""
    if pa.types.is_dictionary(type_):
        return _type_name(type_.value_type)
    if pa.types.is_struct(type_):
        return f"struct<{', '.join(f'{one.name}: {_type_name(one.type)}' for one in type_)}>"
    if pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_):
        size = f"[{type_.list_size}]" if pa.types.is_fixed_size_list(type_) else ""
        return f"list{size}<{_type_name(type_.value_type)}>"
    return str(type_)


def _update(state: "hashlib._Hash", column: pa.Array) -> None:
    """Feed one column to a hash."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    state.update(column.null_count.to_bytes(8, "little"))
    if column.null_count:
        state.update(np.packbits(np.asarray(column.is_valid())).data)
    if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
        if column.null_count:
            column = column.fill_null("" if pa.types.is_string(column.type) else b"")
        offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
        state.update(np.diff(offsets).data)
        if len(offsets) and offsets[-1] > offsets[0]:
            state.update(memoryview(column.buffers()[2])[offsets[0] : offsets[-1]])
    elif pa.types.is_fixed_size_binary(column.type):
        width = column.type.byte_width
        data = memoryview(column.buffers()[1])[column.offset * width : (column.offset + len(column)) * width]
        if column.null_count:  # whatever lies under a null counts as zeros
            rows = np.frombuffer(data, np.uint8).reshape(len(column), width)
            data = (rows * np.asarray(column.is_valid())[:, None]).data
        state.update(data)
    elif pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = column.fill_null([])
        state.update(np.ascontiguousarray(column.value_lengths()).data)
        _update(state, column.flatten())
    elif pa.types.is_fixed_size_list(column.type):
        values = column.flatten()
        if pa.types.is_floating(values.type) and not column.null_count and not values.null_count:
            from transforms.xxhash import xxh64

            # vectors are most of the bytes: sha256 would cost half as much as all the rest of writing them
            state.update(xxh64(values.to_numpy()).to_bytes(8, "little"))
        else:
            _update(state, values)
    elif pa.types.is_struct(column.type):
        for each in column.flatten():
            _update(state, each)
    elif pa.types.is_decimal128(column.type):
        _update(state, column.view(pa.binary(16)))
    else:
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.uint8())
        if pa.types.is_temporal(column.type):
            column = column.view(pa.int32() if column.type.bit_width == 32 else pa.int64())
        if not pa.types.is_primitive(column.type):
            raise TypeError(f"no digest is defined for a column of type {column.type}")
        values = column.fill_null(0) if column.null_count else column  # a copy, if there are any
        state.update(np.ascontiguousarray(values.to_numpy(zero_copy_only=False)).data)


def sum_counters(counters: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add up counters of the same name."""
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return dict(total)


@dataclasses.dataclass(kw_only=True)
class Gather(beam.PTransform):
    """Call a function once, with a list of all the elements, in no order; output what it returns.

    A side input of a single element: a tenth of the graph, and of its start-up, that combiners.ToList makes.

    Attributes:
      into: the function; the list is its first argument.
      arguments: the others, by name; side inputs too.
    """

    into: Callable[..., Any]
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        held = beam.pvalue.AsList(elements)
        return elements.pipeline | beam.Impulse() | beam.Map(_call, held, into=self.into, **self.arguments)


def _call(_: bytes, held: list, into: Callable[..., Any], **arguments: Any) -> Any:
    return into(held, **arguments)

"""Digests of rows: what proves that two runs wrote the same, whatever carried it."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import xxhash


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
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_map(column.type):
        pairs = [("key", column.type.key_type), ("value", column.type.item_type)]
        column = column.cast(pa.list_(pa.struct(pairs)))
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
            # vectors are most of the bytes: sha256 would cost half as much as all the rest of writing them
            state.update(xxhash.xxh64_digest(values.to_numpy())[::-1])
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

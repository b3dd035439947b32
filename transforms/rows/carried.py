"""Columns that are carried from Parquet as they are: their types by storage, and files whose types differ joined."""

import shlex
from collections.abc import Callable

import pyarrow as pa

from molino.transforms.errors import DataError
from molino.transforms.rows.batches import empty
from molino.transforms.rows.digest import digest


def plain_type(type_: pa.DataType) -> pa.DataType:
    """Return the type that a column is carried as: extensions by their storage, and no large types, at any depth."""
    if isinstance(type_, pa.BaseExtensionType):
        return plain_type(type_.storage_type)
    if pa.types.is_dictionary(type_):
        return plain_type(type_.value_type)
    if pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return pa.string()
    if pa.types.is_large_binary(type_) or pa.types.is_binary_view(type_):
        return pa.binary()
    return _rebuilt(type_, plain_field)


def plain_field(field: pa.Field) -> pa.Field:
    """Return a field as it is carried; what says that it is an extension is left out."""
    metadata = {key: value for key, value in (field.metadata or {}).items() if not key.startswith(b"ARROW:extension")}
    return field.with_type(plain_type(field.type)).with_metadata(metadata or None)


def _loose(field: pa.Field) -> pa.Field:
    """Return a field that may be null, at any depth."""
    return field.with_type(_rebuilt(field.type, _loose)).with_nullable(True)


def _rebuilt(type_: pa.DataType, change: Callable[[pa.Field], pa.Field]) -> pa.DataType:
    """Return a type with the fields in it changed; all kinds of lists but those of fixed size are plain lists then."""
    if pa.types.is_struct(type_):
        return pa.struct([change(one) for one in type_])
    if pa.types.is_map(type_):
        return pa.map_(change(type_.key_field).with_nullable(False), change(type_.item_field), type_.keys_sorted)
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(change(type_.value_field), type_.list_size)
    if pa.types.is_nested(type_) and hasattr(type_, "value_field"):
        return pa.list_(change(type_.value_field))
    return type_


def join_schemas(one: pa.Schema, other: pa.Schema) -> pa.Schema | None:
    """Return the schema that holds the rows of both, in the order of the first; None where there is none.

    Columns may stand in another order, and may be null in one alone.
    """
    if set(one.names) != set(other.names):
        return None
    fields = []
    for field in one:
        also = other.field(field.name)
        if not field.equals(also):
            field, also = _loose(field), _loose(also)
        if not field.type.equals(also.type):
            return None
        fields.append(field)
    return pa.schema(fields)


def difference(one: pa.Schema, other: pa.Schema) -> str:
    """Return what schemas that cannot be joined disagree about, first."""
    if names := [name for name in [*one.names, *other.names] if (name in one.names) != (name in other.names)]:
        return repr(names[0])
    pairs = [(_loose(field), _loose(other.field(field.name))) for field in one]
    return next(f"{a.name!r} is {b.type}, not {a.type}" for a, b in pairs if not a.type.equals(b.type))


def check_carried(schema: pa.Schema, path: str, remedy: str) -> None:
    """Raise DataError, with a remedy in which {} stands for the column, where there is no digest of a column's type."""
    for one in schema:
        try:
            digest(empty(pa.schema([one])))
        except (TypeError, pa.ArrowException):
            told = f"{path}: the column {one.name!r} is {one.type}, which is not carried along"
            raise DataError(f"{told}; {remedy.format(shlex.quote(one.name))}") from None


def as_plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with its columns as they are carried: see `plain_field`."""
    schema = pa.schema([plain_field(one) for one in batch.schema])
    arrays = [as_type(array, one.type) for array, one in zip(batch.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def as_type(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """Return values as a type that holds them: the plain one of their own, or one that has been joined with others."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array if array.type == type_ else array.cast(type_)

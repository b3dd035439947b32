"""Where Parquet shards have their images, whoever wrote them: Hugging Face, img2dataset, or columns of one's own."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms.errors import DataError

BYTES = ("bytes", "image.bytes", "jpg", "jpeg", "png")  # what columns of images are called, the likeliest first
NAMES = ("name", "file_name", "filename", "path", "key", "image_id", "id")  # and those of their names
STATUS, FAILED = "status", "failed_to_"  # img2dataset's column, and how it begins for what it could not fetch
BINARY = (pa.types.is_binary, pa.types.is_large_binary)
NAMING = (*BINARY, pa.types.is_string, pa.types.is_large_string, pa.types.is_integer)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardColumns:
    """Where a Parquet shard has its images; "a.b" is the field b of the column a. What is None is found."""

    name: str | None = None
    data: str | None = None
    # columns that are carried, each with its name in the output; of other images those of folders' names, else null
    keep: tuple[tuple[str, str], ...] = ()


class FoundColumns(NamedTuple):
    """The columns of one shard; `name` is "" where rows have none, `status` where no download is told of."""

    name: str
    data: str
    status: str

    def fetched(self, table: pa.Table | pa.RecordBatch, rows: int) -> list[bool]:
        """Return of so many rows which are not those of a failed download."""
        if not self.status:
            return [True] * rows
        return pc.fill_null(pc.invert(pc.starts_with(table[self.status], FAILED)), True).to_pylist()


def find_shard_columns(path: str, schema: pa.Schema, columns: ShardColumns) -> FoundColumns | None:
    """Return where a Parquet file has names and images; None where it has no column of bytes, and none was named.

    Of columns that were not named, the images' is the likeliest of BYTES, or else the only one of bytes; the names'
    is the field `path` beside the field of bytes, as Hugging Face writes it, or else the likeliest of NAMES.

    DataError: a named column is not there or of another type, or several may be meant; all that is wrong is told.
    """
    there = dict(_leaves(schema))
    wrong = {}
    for option, column, kinds in (("--name-column", columns.name, NAMING), ("--bytes-column", columns.data, BINARY)):
        if column and not (column in there and _is_one_of(there[column], kinds)):
            has = f"has {there[column]} in" if column in there else "lacks"
            wrong[option] = f"{has} the column {column!r}"
    if wrong:
        told, options = ", ".join(schema.names[:20]), " COL ".join(wrong)
        raise DataError(f"{path} {' and '.join(wrong.values())}; it has {told}; name the right one with {options} COL")
    binary = [name for name, kind in there.items() if _is_one_of(kind, BINARY) and name != columns.name]
    likely = [name for name in BYTES if name in binary] or binary
    if not (columns.data or likely):
        return None
    if not (columns.data or likely[0] in BYTES or len(likely) == 1):
        raise DataError(f"{path} has several columns of bytes: {', '.join(likely)}; choose one with --bytes-column COL")
    data = columns.data or likely[0]
    beside = [f"{data.rpartition('.')[0]}.path"] if "." in data else []
    names = (name for name in (*beside, *NAMES) if name in there and _is_one_of(there[name], NAMING) and name != data)
    status = STATUS if STATUS in there and pa.types.is_string(there[STATUS]) else ""
    return FoundColumns(columns.name or next(names, ""), data, status)


def _leaves(fields: pa.Schema | pa.StructType, above: str = "") -> Iterator[tuple[str, pa.DataType]]:
    """Yield the columns and the fields of structs, at any depth."""
    for field in fields:
        yield above + field.name, field.type
        if pa.types.is_struct(field.type):
            yield from _leaves(field.type, f"{above}{field.name}.")


def _is_one_of(kind: pa.DataType, kinds: Sequence) -> bool:
    return any(fits(kind) for fits in kinds)


def column_of(table: pa.Table | pa.RecordBatch, column: str) -> pa.ChunkedArray | pa.Array:
    """Return a column, or the field of a column of structs."""
    first, *rest = column.split(".")
    found = table[first]
    for part in rest:
        found = pc.struct_field(found, part)
    return found

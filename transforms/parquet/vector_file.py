"""Write Parquet files with columns of vectors at the speed of memory.

pyarrow writes a list of fixed size as it would any list: it makes, compresses and writes 16 bits of levels for each
number. Here a vector's levels are known before, and its numbers go from the array to the file as they are. pyarrow
still writes all other columns, the schema and the footer; the vectors' pages are put behind the others' in each row
group, and the footer is completed. Any reader of Parquet reads the file; see https://parquet.apache.org/docs.
"""

import io
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from zlib_ng import zlib_ng

from molino.transforms.parquet import thrift
from molino.transforms.parquet.thrift import BINARY, I32, I64, LIST, STRUCT, Struct

MAGIC = b"PAR1"
DATA_PAGE, PLAIN, RLE, UNCOMPRESSED = 0, 0, 3, 0
FLOAT, DOUBLE, FIXED_LEN_BYTE_ARRAY = 4, 5, 7
PHYSICAL = {pa.float16(): FIXED_LEN_BYTE_ARRAY, pa.float32(): FLOAT, pa.float64(): DOUBLE}
# numbers of fields in parquet.thrift
FILE_SCHEMA, FILE_ROWS, FILE_GROUPS, FILE_METADATA, FILE_ORDERS = 2, 3, 4, 5, 7
GROUP_COLUMNS, GROUP_BYTES, GROUP_ROWS, GROUP_OFFSET, GROUP_PACKED = 1, 2, 3, 5, 6
CHUNK_OFFSET, CHUNK_METADATA = 2, 3
PAGE_OFFSETS = (9, 10, 11)  # of a chunk's data, index and dictionary pages


class Writable(Protocol):
    """What a file is written to."""

    def write(self, data: bytes | memoryview, /) -> int: ...


def is_vector(field: pa.Field) -> bool:
    """Return whether a column holds lists of one size of floating numbers, and no nulls at either level."""
    type_ = field.type
    return (
        pa.types.is_fixed_size_list(type_)
        and type_.value_type in PHYSICAL
        and type_.list_size > 0
        and not (field.nullable or type_.value_field.nullable)
    )


class VectorWriter:
    """Write a file with columns of vectors; used as pq.ParquetWriter is.

    A row group's vectors are one page. There is no page index: a row group is the least that is worth finding.
    Memory: what pyarrow holds of the other columns, and the footer.
    """

    def __init__(self, file: Writable, schema: pa.Schema, **options: Any):
        """Write to a file that stands at its start. `options` are those of pq.ParquetWriter for the other columns."""
        self.is_open = True
        self._file, self._schema = file, schema
        self._vectors = [field for field in schema if is_vector(field)]
        self._others = pa.schema([field for field in schema if not is_vector(field)])
        self._held = io.BytesIO()  # what pyarrow has written of a row group
        self._writer = pq.ParquetWriter(self._held, self._others, write_page_index=False, **options)
        self._size = self._moved = 0  # of the file; bytes in it that pyarrow knows nothing of
        self._groups: list[tuple[int, int, list[Struct]]] = []

    def _put(self, *parts: bytes | memoryview) -> None:
        for part in parts:
            self._file.write(part)
            self._size += len(part)

    def _take(self) -> bytes:
        """Return what pyarrow has written since the last time."""
        data = self._held.getvalue()
        self._held.seek(0)
        self._held.truncate()
        return data

    def write_batch(self, batch: pa.RecordBatch, row_group_size: int) -> None:
        """Write a batch as one row group of `row_group_size` rows: all of them."""
        if row_group_size != batch.num_rows:
            raise ValueError("a batch must be one row group")
        self._writer.write_batch(batch.select(self._others.names), row_group_size=row_group_size)
        self._put(self._take())
        end, moved = self._size, self._moved
        chunks = [self.add_lists(field, batch[field.name]) for field in self._vectors]
        self._groups.append((row_group_size, moved, chunks))
        self._moved += self._size - end

    def add_lists(self, field: pa.Field, column: pa.FixedSizeListArray) -> Struct:
        """Write a chunk of one page; return what the footer says of it."""
        dim, of = field.type.list_size, field.type.value_type
        numbers = column.flatten()
        if column.null_count or numbers.null_count:
            raise ValueError(f"column {field.name} has nulls; it may have none")
        values = np.ascontiguousarray(numbers.to_numpy()).view(np.uint8).data
        levels = _levels(len(column), dim)
        size, crc = len(levels) + len(values), zlib_ng.crc32(values, zlib_ng.crc32(levels))
        page: Struct = {
            1: (I32, DATA_PAGE),
            2: (I32, size),
            3: (I32, size),
            4: (I32, crc - (1 << 32) if crc >> 31 else crc),
            5: (STRUCT, {1: (I32, len(numbers)), 2: (I32, PLAIN), 3: (I32, RLE), 4: (I32, RLE)}),
        }
        header = thrift.encode_struct(page)
        offset = self._size
        self._put(header, levels, values)
        metadata: Struct = {
            1: (I32, PHYSICAL[of]),
            2: (LIST, (I32, [PLAIN, RLE])),
            3: (LIST, (BINARY, [part.encode() for part in (field.name, "list", field.type.value_field.name)])),
            4: (I32, UNCOMPRESSED),
            5: (I64, len(numbers)),
            6: (I64, len(header) + size),
            7: (I64, len(header) + size),
            9: (I64, offset),
            13: (LIST, (STRUCT, [{1: (I32, DATA_PAGE), 2: (I32, PLAIN), 3: (I32, 1)}])),
        }
        return {CHUNK_OFFSET: (I64, 0), CHUNK_METADATA: (STRUCT, metadata)}

    def close(self) -> None:
        """Write the footer; the file stays open."""
        if not self.is_open:
            return
        self.is_open = False
        self._writer.close()
        footer = thrift.encode_struct(self._complete(_footer(self._take())))
        self._put(footer + len(footer).to_bytes(4, "little") + MAGIC)

    def _complete(self, footer: Struct) -> Struct:
        """Return the footer of the other columns with the whole schema, moved pages and the vectors' chunks."""
        empty = io.BytesIO()
        pq.ParquetWriter(empty, self._schema).close()
        whole = _footer(empty.getvalue())
        places = {name.encode(): place for place, name in enumerate(self._schema.names)}
        for number in (FILE_SCHEMA, FILE_METADATA, FILE_ORDERS):
            footer[number] = whole[number]
        footer[FILE_ROWS] = I64, sum(rows for rows, _, _ in self._groups)  # pyarrow counts none without columns
        for group, (rows, moved, vectors) in zip(footer[FILE_GROUPS][1][1], self._groups, strict=True):
            of, chunks = group[GROUP_COLUMNS][1]
            for chunk in chunks:
                _grow(chunk[CHUNK_METADATA][1], moved, PAGE_OFFSETS)
            # a stable sort: a column may have several chunks, in their order
            chunks = sorted([*chunks, *vectors], key=lambda chunk: places[chunk[CHUNK_METADATA][1][3][1][1][0]])
            group[GROUP_COLUMNS] = LIST, (of, chunks)
            group[GROUP_ROWS] = I64, rows
            _grow(group, moved, [GROUP_OFFSET])
            _grow(group, sum(chunk[CHUNK_METADATA][1][6][1] for chunk in vectors), [GROUP_BYTES, GROUP_PACKED])
        return footer


def _grow(fields: Struct, by: int, numbers: Any) -> None:
    """Add to those of the numbered fields that are there."""
    for number in numbers:
        if number in fields:
            kind, value = fields[number]
            fields[number] = kind, value + by


def _levels(rows: int, dim: int) -> bytes:
    """Return the levels of a page of vectors as runs: repetition, 0 where one begins, else 1; definition, always 1."""
    if dim == 1:
        repetition = thrift.varint(rows << 1) + b"\0"
    else:
        repetition = (thrift.varint(1 << 1) + b"\0" + thrift.varint((dim - 1) << 1) + b"\1") * rows
    definition = thrift.varint((rows * dim) << 1) + b"\1"
    return b"".join(len(runs).to_bytes(4, "little") + runs for runs in (repetition, definition))


def _footer(data: bytes) -> Struct:
    size = int.from_bytes(data[-8:-4], "little")
    return thrift.decode_struct(data[-8 - size : -8])

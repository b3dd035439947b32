"""Vectors from Parquet: files are read in parallel, in blocks of fixed rows, and each row is used or rejected."""

import contextlib
import dataclasses
import difflib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.files.list_files import common_folder
from molino.transforms.rows.batches import concat
from molino.transforms.rows.carried import as_plain, check_carried, difference, join_schemas, plain_field, plain_type

BLOCK_ROWS = 4096  # cut from the start of each row group; what is computed together depends on the rows alone
LEAST_BYTES, MOST_BYTES, SPANS = 4 << 20, 64 << 20, 16  # of a span
SAMPLED_FILES, SAMPLED_ROWS = 16, 1024  # that tell how long vectors are: the first rows of files spread over all
BUFFER_BYTES = 1 << 20  # of a column at a time: a row group of any size is read in little memory

NULL_AMONG_FIXED = "Expected all lists to be of size"  # how Arrow's error begins

# reasons to reject a row
NULL_VECTOR, NULL_NUMBER, WRONG_LENGTH = "null_vector", "null_number", "wrong_length"
NAN, INFINITE = "not_a_number", "infinite"


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorFile:
    """A Parquet file: its path, what outputs call it, and rows and bytes of each row group, all columns, unpacked."""

    path: str
    label: str
    groups: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorSpan:
    """Consecutive row groups of a file.

    Attributes:
      start, end: numbers of row groups.
      line: rows of the file before it.
      row: rows of all files before it.
      sampled: rows of all files, counted from 0, that lie in it and belong to the sample.
    """

    number: int
    path: str
    label: str
    start: int
    end: int
    line: int
    row: int
    sampled: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vectors:
    """The files that hold a column of vectors.

    Attributes:
      numbers: of a vector.
      type: of each number, as read.
      schema: of all columns, as they are carried: see `plain_field`.
      rows, bytes: of all files; bytes unpacked.
    """

    column: str
    numbers: int
    type: pa.DataType
    schema: pa.Schema
    files: tuple[VectorFile, ...]

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(rows for file in self.files for rows, _ in file.groups)

    @property
    def bytes(self) -> int:
        """Bytes of all row groups, unpacked."""
        return sum(size for file in self.files for _, size in file.groups)

    def numbers_of(self, column: str, numbers: int | None = None) -> int:
        """Return how many numbers the vectors of a column have; `numbers` where some of a sample have as many.

        Raises:
          DataError: it holds no vectors, or none of that length.
        """
        path = self.files[0].path
        check_is_vectors(self.schema, column, path)
        type_ = self.schema.field(column).type
        fixed = pa.types.is_fixed_size_list(type_)
        lengths = Counter({type_.list_size: 1}) if fixed else _count_lengths(column, self.files)
        lengths.pop(0, None)
        if not lengths:
            raise DataError(f"the column {column!r} of {path} holds no vector with a number; check --input")
        common = max(lengths, key=lambda size: (lengths[size], size))
        if numbers and numbers not in lengths:
            raise DataError(
                f"--numbers {numbers}: no sampled vector in {column!r} of {path} has so many; most have {common}"
            )
        return numbers or common

    def spans(self, *, sample: int, seed: int) -> list[VectorSpan]:
        """Return the pieces of work, and in them `sample` rows drawn from all; cut by the size of the input alone."""
        rows = self.rows
        drawn = np.random.default_rng([seed, 0]).choice(rows, size=min(sample, rows), replace=False, shuffle=False)
        drawn.sort()
        size = min(max(self.bytes // SPANS, LEAST_BYTES), MOST_BYTES)
        spans: list[VectorSpan] = []
        row = 0
        for file in self.files:
            start, held, line, inside = 0, 0, 0, 0
            for number, (group_rows, group_bytes) in enumerate(file.groups, 1):
                held, inside = held + group_bytes, inside + group_rows
                if held >= size or number == len(file.groups):
                    first, last = np.searchsorted(drawn, [row, row + inside])
                    spans.append(
                        VectorSpan(
                            number=len(spans),
                            path=file.path,
                            label=file.label,
                            start=start,
                            end=number,
                            line=line,
                            row=row,
                            sampled=tuple(drawn[first:last].tolist()),
                        )
                    )
                    row, line, start = row + inside, line + inside, number
                    held = inside = 0
        return spans


def use_own_pool() -> None:
    """Let Arrow take memory from its own pool: blocks and row groups leave holes in the system's, 200 MB a thread."""
    for name in pa.supported_memory_backends():
        if name != "system":
            pa.set_memory_pool(getattr(pa, f"{name}_memory_pool")())
            return


def list_vectors(files: Sequence[storage.FileInfo], column: str, numbers: int | None = None) -> Vectors:
    """Look at the footers of Parquet files and return what they hold.

    The length of a vector is that of its type, or where lists may have any length the commonest of a sample.

    Args:
      numbers: of a vector, if the user says so.

    Raises:
      DataError: a file is no Parquet, has no such column or one without vectors, or other columns than the first.
    """
    root = common_folder([file.path for file in files])
    found, schema, first = [], None, ""
    for info in files:
        read, groups = _footer(info.path)
        if schema is None:
            schema, first = read, info.path
            check_is_vectors(schema, column, info.path)
        elif (joined := join_schemas(schema, read)) is None:
            raise DataError(f"{info.path} has other columns than {first}: {difference(schema, read)}; run them apart")
        else:
            schema = joined
        found.append(VectorFile(path=info.path, label=info.path[len(root) :], groups=groups))
    assert schema is not None
    check_carried(schema, first, "write the file without it")
    made = Vectors(
        column=column, numbers=0, type=schema.field(column).type.value_type, schema=schema, files=tuple(found)
    )
    return dataclasses.replace(made, numbers=made.numbers_of(column, numbers))


def _footer(path: str) -> tuple[pa.Schema, tuple[tuple[int, int], ...]]:
    """Return the columns of a file as they are carried, and rows and bytes of its row groups."""
    with _open(path) as file:
        read, metadata = file.schema_arrow, file.metadata
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    if len(set(read.names)) < len(read.names):
        twice = next(name for name in read.names if read.names.count(name) > 1)
        raise DataError(f"{path} has two columns {twice!r}; rename one")
    carried = pa.schema([plain_field(one) for one in read])
    return carried, tuple((group.num_rows, group.total_byte_size) for group in groups)


def read_schema(path: str) -> pa.Schema:
    """Return the columns of a Parquet file."""
    with _open(path) as file:
        return file.schema_arrow


def is_vectors(type_: pa.DataType) -> bool:
    """Return whether values of a type can be vectors: lists of floats, or of integers that float64 can hold."""
    type_ = plain_type(type_)
    if not (pa.types.is_fixed_size_list(type_) or pa.types.is_list(type_)):
        return False
    of = type_.value_type
    return pa.types.is_floating(of) or (pa.types.is_integer(of) and of.bit_width <= 32)


def check_is_vectors(schema: pa.Schema, column: str, path: str) -> None:
    """Raise DataError unless a column is there and holds vectors."""
    if column not in schema.names:
        near = difflib.get_close_matches(column, schema.names, 1)
        have = [one.name for one in schema if is_vectors(one.type)]
        hint = f"did you mean {near[0]!r}?" if near else f"its vectors: {', '.join(map(repr, have)) or 'none'}"
        raise DataError(f"{path} has no column {column!r}; {hint}")
    if not is_vectors(schema.field(column).type):
        what = "no list of numbers: float16, float32, float64, or integers of at most 32 bits"
        raise DataError(f"{path}: the column {column!r} is {schema.field(column).type}, {what}")


def _count_lengths(column: str, files: Sequence[VectorFile]) -> Counter[int]:
    """Return how often vectors of each length stand at the start of some files; of all, where these have no numbers."""
    found: Counter[int] = Counter()
    for some, whole in ((files[:: -(-len(files) // SAMPLED_FILES)], False), (files, True)):
        for file in some:
            with _open(file.path) as opened:
                for batch in opened.iter_batches(SAMPLED_ROWS, columns=[column], use_threads=False):
                    lengths = pc.list_value_length(as_plain(batch)[column].drop_null())
                    found.update(lengths.to_pylist())
                    if not whole or any(found):
                        break
        if any(found):
            break
    return found


@contextlib.contextmanager
def _open(path: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; what goes wrong while it is open is a DataError with its path."""
    with storage.open_input(path) as raw:
        try:
            yield pq.ParquetFile(raw, buffer_size=BUFFER_BYTES, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            cause = " ".join(str(error).split())[:120]
            if "magic bytes not found" in cause:
                raise DataError(f"{path} is no Parquet file, or one that was cut off; check --input") from None
            raise DataError(f"cannot read {path}: a damaged Parquet file ({cause}); fetch it again") from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """Rows that are computed together.

    Attributes:
      rows: those that can be used, with the columns that were read.
      vectors: theirs, (n, numbers), float32 or float64, finite.
      places: of each in all files, counted from 0; ascending.
      rejects: the line in the file, the reason, and what was found, of each row that cannot be used.
      records: rows and rejects, as read.
    """

    rows: pa.RecordBatch
    vectors: np.ndarray
    places: np.ndarray
    rejects: list[tuple[int, str, str]]
    records: int


def read_blocks(span: VectorSpan, column: str, numbers: int, columns: Sequence[str]) -> Iterator[Block]:
    """Read a span in blocks. Memory: a block and the pages that hold it.

    Args:
      columns: that are read, `column` among them.

    Raises:
      DataError: the file is damaged.
    """
    done = 0
    with _open(span.path) as file:
        for group in range(span.start, span.end):
            for batch in _batches(file, span.path, group, columns, column):
                yield check_block(batch, column, numbers, line=span.line + done, row=span.row + done)
                done += batch.num_rows


def _batches(
    file: pq.ParquetFile, path: str, group: int, columns: Sequence[str], column: str
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a row group, BLOCK_ROWS at a time.

    Arrow cannot read a null among lists of fixed size; where it meets one the rest is read as lists of any length.
    """
    done = 0
    try:
        for batch in _cut(file, group, columns):
            yield as_plain(batch)
            done += batch.num_rows
    except pa.ArrowInvalid as error:
        if NULL_AMONG_FIXED not in str(error):
            raise
        schema = pa.schema([plain_field(one) for one in file.schema_arrow])
        for batch in _cut(_read_loosely(path), group, columns):
            if done <= 0:
                yield _tighten(as_plain(batch), schema, column, path)
            done -= batch.num_rows


def _cut(file: pq.ParquetFile, group: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a row group, BLOCK_ROWS at a time, however Arrow cuts its batches."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in file.iter_batches(BLOCK_ROWS, row_groups=[group], columns=list(columns), use_threads=False):
        batch = batch.select(columns)
        while batch.num_rows:
            part = batch.slice(0, BLOCK_ROWS - rows)
            batch = batch.slice(part.num_rows)
            held.append(part)
            rows += part.num_rows
            if rows == BLOCK_ROWS:
                yield concat(held, part.schema)
                held, rows = [], 0
    if held:
        yield concat(held, held[0].schema)


def _read_loosely(path: str) -> pq.ParquetFile:
    """Open a Parquet file by its own types: what its footer says of Arrow's is not read."""
    raw = storage.open_input(path)
    size = raw.size()
    raw.seek(size - 8)
    tail = raw.read(8)
    length = int.from_bytes(tail[:4], "little")
    raw.seek(size - 8 - length)
    footer = raw.read(length).replace(b"ARROW:schema", b"arrow:schema")
    metadata = pq.read_metadata(pa.BufferReader(b"PAR1" + footer + tail))
    return pq.ParquetFile(raw, metadata=metadata, buffer_size=BUFFER_BYTES, page_checksum_verification=True)


def _tighten(batch: pa.RecordBatch, schema: pa.Schema, column: str, path: str) -> pa.RecordBatch:
    """Return columns in the types that a schema has for them, but the vectors."""
    fields, arrays = [], []
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        one = schema.field(name)
        if name == column:
            one = pa.field(name, array.type)
        elif pa.types.is_fixed_size_list(one.type) and array.null_count:
            raise DataError(
                f"{path}: the column {name!r} has null lists, which no reader of Arrow gives back; fill them"
            )
        arrays.append(array if array.type == one.type else array.cast(one.type))
        fields.append(one)
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def check_block(batch: pa.RecordBatch, column: str, numbers: int, *, line: int, row: int) -> Block:
    """Return the rows whose vectors can be used, and why others cannot.

    Args:
      line, row: rows before this batch, in its file and in all files.
    """
    places = np.arange(row, row + batch.num_rows, dtype=np.int64)
    vectors = clean_vectors(batch[column], numbers)
    if vectors is not None:
        return Block(rows=batch, vectors=vectors, places=places, rejects=[], records=batch.num_rows)
    good, vectors, found = sort_out(batch[column], numbers)
    rejects = [(line + place + 1, reason, what) for place, reason, what in found]
    return Block(
        rows=batch.take(pa.array(good)), vectors=vectors, places=places[good], rejects=rejects, records=batch.num_rows
    )


def clean_vectors(column: pa.Array, numbers: int) -> np.ndarray | None:
    """Return the vectors as (n, numbers) where every row can be used, else None."""
    type_ = column.type
    if column.null_count or not pa.types.is_fixed_size_list(type_) or type_.list_size != numbers:
        return None
    values = column.flatten()
    if values.null_count:
        return None
    flat = _as_floats(values)
    # not finite where a number is not, and where the sum overflows: then it is looked at closely
    with np.errstate(over="ignore", invalid="ignore"):
        return flat.reshape(-1, numbers) if np.isfinite(np.dot(flat, flat)) else None


def sort_out(column: pa.Array, numbers: int) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str, str]]]:
    """Return the places of rows that can be used, their vectors, and (place, reason, what was found) of the others."""
    found: list[tuple[int, str, str]] = []
    lengths = pc.list_value_length(column).fill_null(-1).to_numpy(zero_copy_only=False)
    for place in np.flatnonzero(lengths != numbers).tolist():
        if lengths[place] < 0:
            found.append((place, NULL_VECTOR, ""))
        else:
            found.append((place, WRONG_LENGTH, f"{lengths[place]} numbers, not {numbers}"))
    good = np.flatnonzero(lengths == numbers)
    values = column.take(pa.array(good)).flatten()
    holes = values.is_null().to_numpy(zero_copy_only=False).reshape(-1, numbers)
    vectors = _as_floats(values.fill_null(0) if values.null_count else values).reshape(-1, numbers)
    nans, infinities = np.isnan(vectors), np.isinf(vectors)
    bad = np.zeros(len(good), bool)
    for reason, faults in ((NULL_NUMBER, holes), (NAN, nans), (INFINITE, infinities)):
        for place in np.flatnonzero(faults.any(axis=1) & ~bad).tolist():
            which = f"number {int(faults[place].argmax()) + 1} of {numbers}"
            found.append((int(good[place]), reason, which))
        bad |= faults.any(axis=1)
    return good[~bad], np.ascontiguousarray(vectors[~bad]), sorted(found)


def _as_floats(values: pa.Array) -> np.ndarray:
    """Return numbers without nulls as float32 where that holds them exactly, else as float64."""
    array = values.to_numpy(zero_copy_only=False)
    if array.dtype in (np.float32, np.float64):
        return array
    return array.astype(np.float32 if array.dtype == np.float16 else np.float64)

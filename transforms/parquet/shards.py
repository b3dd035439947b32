"""Parquet shards whose bytes depend on their rows alone, each described so that it can be verified."""

import contextlib
import dataclasses
import hashlib
import itertools
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from molino.schemas import name_of
from molino.transforms.files import storage
from molino.transforms.parquet.vector_file import VectorWriter, is_vector
from molino.transforms.rows.batches import concat
from molino.transforms.rows.digest import digest

ROW_GROUP_ROWS = 1 << 17
COMPRESSION_LEVEL = 1  # 3 makes the people 7 % smaller and a quarter slower to write


@dataclasses.dataclass(frozen=True, kw_only=True)
class StagedFile:
    """A file that a worker wrote under the staging folder, and what must be found in it."""

    dataset: str  # folder of the output that it goes to; "" for a view, which goes beside the folders under `name`
    path: str  # where it is staged; the name is new at every attempt, so that a late duplicate disturbs nobody
    bytes: int
    sha256: str
    key: tuple[int, ...] = ()  # orders the shards of a data set
    name: str = ""  # a view's file name
    rows: int = 0
    schema: tuple[str, int] = ("", 0)
    # sha256 of the content of every row group, in order; see `molino.transforms.rows.digest.digest`
    digests: tuple[str, ...] = ()
    split: str = ""  # which all of its rows are of; "" where that is not told
    # what the manifest says of it besides, such as its work unit; see `molino.transforms.parquet.units.keep`
    entry: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class HashingFile:
    """A file open for writing that keeps the sha256 and the number of the bytes written."""

    def __init__(self, file: IO[bytes]):
        self.file, self.sha256, self.bytes, self.closed = file, hashlib.sha256(), 0, False

    def write(self, data: bytes | memoryview) -> int:
        self.sha256.update(data)
        self.bytes += len(data)
        self.file.write(data)
        return len(data)

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.file.close()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """How the columns of a shard are stored: by default compressed, and with a dictionary."""

    plain: Sequence[str] = ()  # columns without a dictionary, because their values hardly repeat
    # Parquet encodings of columns, by name; these have no dictionary either
    encodings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    # columns that are neither compressed nor have a dictionary. Vectors are always so, and have no statistics
    raw: Sequence[str] = ()

    def open(self, file: Any, schema: pa.Schema) -> Any:
        """Return a Parquet writer of a file with zstd compression, checksums, and without vectors a page index."""
        other = [name for name in schema.names if name not in self.raw]
        vectors = [field.name for field in schema if is_vector(field)]
        compression: Any = "zstd"
        level: Any = COMPRESSION_LEVEL
        if self.raw:
            compression = dict.fromkeys(other, "zstd")
            compression |= dict.fromkeys([name for name in self.raw if name not in vectors], "none")
            level = dict.fromkeys(other, COMPRESSION_LEVEL)
        options: dict[str, Any] = {
            "compression": compression,
            "compression_level": level,
            "use_dictionary": [name for name in other if name not in self.plain and name not in self.encodings],
            "column_encoding": dict(self.encodings) or None,
            "write_page_checksum": True,
        }
        if vectors:
            return VectorWriter(file, schema, **options)
        return pq.ParquetWriter(file, schema, write_page_index=True, **options)


DEFAULT_LAYOUT = Layout()


class ShardWriter:
    """A Parquet file that is written as its batches come; an exception while it is `opened` leaves none in a store.

    Rows are cast to the schema, and a batch is written as row groups of at most `group_rows`.
    """

    def __init__(
        self,
        *,
        schema: pa.Schema,
        folder: str,
        dataset: str,
        key: tuple[int, ...] = (),
        split: str = "",
        layout: Layout = DEFAULT_LAYOUT,
        group_rows: int = ROW_GROUP_ROWS,
    ):
        path = storage.join(folder, dataset, f"{'-'.join(map(str, key))}.{uuid.uuid4().hex}.parquet")
        named: Any = {"dataset": dataset, "key": key, "path": path, "split": split}
        self.file = StagedFile(**named, bytes=0, sha256="", schema=name_of(schema))
        self._schema, self._layout, self._group_rows = schema, layout, group_rows
        self._digests: list[str] = []

    @contextlib.contextmanager
    def opened(self) -> Iterator["ShardWriter"]:
        """Open the file for the block."""
        with storage.explained(self.file.path, "write"), storage.open_output(self.file.path) as file:
            self._to = HashingFile(file)
            self._writer = self._layout.open(self._to, self._schema)
            try:
                yield self
            except BaseException:
                with contextlib.suppress(Exception):
                    self._writer.close()
                self._writer.is_open = False  # or it tries once more, and complains, when it is collected
                raise

    def write(self, batch: pa.RecordBatch) -> None:
        """Write rows; no row group has rows of two calls."""
        for group in row_groups([batch], self._schema, self._group_rows):
            self._writer.write_batch(group, row_group_size=group.num_rows)
            self._digests.append(digest(group))
            self.file = dataclasses.replace(self.file, rows=self.file.rows + group.num_rows)

    def close(self) -> StagedFile:
        """Complete the file and return what it holds."""
        self._writer.close()
        size, sha256 = self._to.bytes, self._to.sha256.hexdigest()
        self.file = dataclasses.replace(self.file, bytes=size, sha256=sha256, digests=tuple(self._digests))
        return self.file


def write_shard(batches: Iterable[pa.RecordBatch], **options: Any) -> StagedFile:
    """Write batches, which may be made on the way, as one Parquet file: see `ShardWriter`."""
    with ShardWriter(**options).opened() as writer:
        for batch in batches:
            writer.write(batch)
        return writer.close()


def write_if_any(batches: Iterable[pa.RecordBatch], **options: Any) -> list[StagedFile]:
    """Write batches as they come, with the options of `write_shard`; no batches, no file."""
    rest = iter(batches)
    first = next(rest, None)
    return [] if first is None else [write_shard(itertools.chain([first], rest), **options)]


def row_groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the batches cast to a schema and cut to the size of row groups, without empty ones."""
    for batch in batches:
        typed = batch if batch.schema.equals(schema) else _cast(batch, schema)
        for start in range(0, typed.num_rows, rows):
            yield typed.slice(start, rows)


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    table = pa.Table.from_batches([batch]).select(schema.names)
    for field, column in zip(schema, table.columns, strict=True):
        if column.null_count and not field.nullable:
            what = f"column {field.name} of {name_of(schema)[0]}"
            raise ValueError(f"{what} has {column.null_count} nulls; it may have none")
    return concat(table.cast(schema).combine_chunks().to_batches(), schema)


def write_view(data: bytes, *, folder: str, name: str) -> StagedFile:
    """Stage a file for people, such as a CSV or a report, under its final name."""
    path = storage.join(folder, "views", f"{name}.{uuid.uuid4().hex}")
    storage.write_bytes(path, data)
    return StagedFile(dataset="", name=name, path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def stream_view(pieces: Iterable[bytes], *, folder: str, name: str) -> StagedFile:
    """Do as `write_view` with a file of which only a piece is held at a time."""
    path = storage.join(folder, "views", f"{name}.{uuid.uuid4().hex}")
    with storage.explained(path, "write"), storage.open_output(path) as file:
        to = HashingFile(file)
        for piece in pieces:
            to.write(piece)
    return StagedFile(dataset="", name=name, path=path, bytes=to.bytes, sha256=to.sha256.hexdigest())


def find_views(folder: str) -> list[StagedFile]:
    """Return what a library wrote itself below `views` of a staging folder: each file is a view of its path there."""
    root = storage.join(folder, "views", "")
    files = [(file.path, *storage.hash_file(file.path)) for file in storage.list_tree(root)]
    return [StagedFile(dataset="", name=path[len(root) :], path=path, bytes=n, sha256=sha) for path, n, sha in files]

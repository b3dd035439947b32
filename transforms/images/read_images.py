"""Read the bytes of a work unit's images, one ahead of what is being worked on."""

import dataclasses
import functools
import hashlib
import itertools
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TypeVar

import pyarrow as pa

from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.files.list_files import folder_columns
from molino.transforms.files.open_parquet import open_parquet
from molino.transforms.images.decode import ImageError
from molino.transforms.images.list_images import NO_END, NOTHING, ROW_BITS, WHOLE
from molino.transforms.images.shard_columns import ShardColumns, column_of, find_shard_columns
from molino.transforms.rows.carried import as_type

T = TypeVar("T")
_END = object()
Place = tuple[str, int, int, list[int]]  # key, place, bytes and sidecars of an image; see LISTED
PARQUET_ROWS = 8  # images of a row group that are held at once


@dataclasses.dataclass(frozen=True)
class ImageBytes:
    """An image as it lies in the input: its bytes, or why they cannot be had."""

    key: str
    data: bytes
    error: ImageError | None = None
    kept: pa.RecordBatch | None = None  # the columns that are carried, one row; None where there are none

    @functools.cached_property
    def sha256(self) -> str:
        """Of the bytes, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


def read_images(
    images: pa.RecordBatch, columns: ShardColumns, *, max_bytes: int, kept: pa.Schema = NOTHING
) -> Iterator[ImageBytes]:
    """Yield the images of a batch of LISTED, in order. Memory: two images, or two times 8 of a Parquet shard.

    `kept` are the columns that are carried, as `list_images` finds them. DataError: a file is gone, or is no longer
    what was listed.
    """
    rows = zip(*(images[name].to_pylist() for name in ("key", "path", "place", "bytes", "sidecars")), strict=True)
    for path, group in itertools.groupby(rows, key=lambda row: row[1]):
        spots = [(key, *place) for key, _, *place in group]
        name = os.fsdecode(path)
        folders = folder_columns(name)
        sources = {name: column for column, name in columns.keep}
        arrays = [pa.array([folders.get(sources[field.name])]).cast(field.type) for field in kept]
        same = pa.RecordBatch.from_arrays(arrays, schema=kept) if arrays else None
        if spots[0][1] == WHOLE:
            key, _, size, _ = spots[0]
            image = _limited(key, size, max_bytes) or ImageBytes(key, _read_file(name, size))
            yield dataclasses.replace(image, kept=same)
        elif name.lower().endswith(".tar"):
            yield from _read_tar(name, spots, max_bytes, same)
        else:
            yield from _read_parquet(name, spots, columns, max_bytes, same)


def ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield items; the next one is made in a thread while one is worked on."""
    iterator = iter(items)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, iterator, _END)
        while (item := coming.result()) is not _END:
            coming = pool.submit(next, iterator, _END)
            yield item  # type: ignore[misc]


def _limited(key: str, size: int, max_bytes: int) -> ImageBytes | None:
    if size <= max_bytes:
        return None
    return ImageBytes(key, b"", ImageError("too_many_bytes", f"{size} bytes, more than --max-bytes {max_bytes}"))


def _read_file(path: str, size: int) -> bytes:
    """Return the whole of a file that must be as long as it was listed; never waits for a pipe."""
    if not storage.is_local(path):
        data = storage.read_bytes(path)
    else:
        with storage.explained(repr(path)[1:-1], "read"):
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(handle, "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise DataError(f"{path!r} changed while it was read; run again when it is complete")
                data = file.read()
    if len(data) != size:
        raise DataError(f"{path!r} changed while it was read; run again when it is complete")
    return data


def _read_tar(path: str, spots: list[Place], max_bytes: int, same: pa.RecordBatch | None) -> Iterator[ImageBytes]:
    with storage.open_input(path) as file:
        for key, place, size, sidecars in spots:
            if place == NO_END:
                yield ImageBytes(key, b"", ImageError("truncated", "the shard has no end; members may be missing"))
                continue
            beside = list(zip(sidecars[::2], sidecars[1::2], strict=True))
            if found := _limited(key, max([size, *sidecars[1::2]]), max_bytes):
                yield found
                continue
            with storage.explained(path, "read"):
                data = _read_at(file, place, size)  # fewer bytes where the file ends before
                texts = [_read_at(file, *where) if where[0] >= 0 else None for where in beside]
            short = len(data) < size or any(len(text or b"") < n for text, (_, n) in zip(texts, beside, strict=True))
            error = ImageError("truncated", f"the shard ends after {len(data):,} of {size:,} bytes") if short else None
            yield ImageBytes(key, data, error, _with_texts(same, texts))


def _read_at(file: IO[bytes], place: int, size: int) -> bytes:
    file.seek(place)
    return file.read(size)


def _with_texts(kept: pa.RecordBatch | None, texts: Sequence[bytes | None]) -> pa.RecordBatch | None:
    """Return a row of carried columns with the texts that there are; what is not UTF-8 is written as \\xNN."""
    if kept is None:
        return None
    columns = [
        column if text is None else pa.array([text.decode("utf-8", "backslashreplace")], column.type)
        for column, text in zip(kept.columns, texts, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=kept.schema)


def _read_parquet(
    path: str, spots: list[Place], columns: ShardColumns, limit: int, same: pa.RecordBatch | None
) -> Iterator[ImageBytes]:
    with open_parquet(path, pre_buffer=False) as parquet:
        found = find_shard_columns(path, parquet.schema_arrow, columns)
        if found is None:
            raise DataError(f"{path!r} changed while it was read; run again when it is complete")
        groups = dict.fromkeys(place >> ROW_BITS for _, place, *_ in spots)
        kept = {name: column for column, name in columns.keep if column in parquet.schema_arrow.names}
        wanted = [name for name in dict.fromkeys([found.data, found.status, *kept.values()]) if name]
        rows = (
            (batch, row)
            for group in groups
            for batch in parquet.iter_batches(PARQUET_ROWS, row_groups=[group], columns=wanted)
            for row, fetched in enumerate(found.fetched(batch, batch.num_rows))
            if fetched
        )
        for (key, *_), (batch, row) in zip(spots, rows, strict=True):
            data, own = column_of(batch, found.data)[row].as_py(), same
            if own is not None:
                arrays = dict(zip(own.schema.names, own.columns, strict=True))
                for name, column in kept.items():
                    arrays[name] = as_type(batch[column].slice(row, 1), own.schema.field(name).type)
                own = pa.RecordBatch.from_arrays(list(arrays.values()), schema=own.schema)
            if data is None:
                yield ImageBytes(key, b"", ImageError("null_bytes", "the row has no bytes"), own)
            else:
                yield dataclasses.replace(_limited(key, len(data), limit) or ImageBytes(key, data), kept=own)

"""Read a data set as batches of NumPy arrays, shuffled, shared among readers, each row exactly once an epoch."""

import contextlib
import dataclasses
import functools
import itertools
import json
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from molino.training.runs import Dataset, RunError, one_line_errors

Batch = dict[str, "np.ndarray | pa.Array"]
END = object()
OPEN_FILES = 64
WINDOW_ROWS, WINDOW_BYTES = 16_384, 128 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """Which rows are left out, and how the others are mixed, shared among readers, and read ahead."""

    drop_nulls: bool = False  # leave out rows with a null in what is read; they are counted beforehand
    window: int | None = None  # rows that are mixed with each other; None for 16,384, or as many as take 128 MB
    reader: int = 0  # number of this one among `readers`, from 0
    readers: int = 1  # how many share the rows
    keep_last: bool = True  # False drops the last batch where it is short
    ahead: int = 4  # batches made ready by a thread while the caller works; 0 makes all when it is asked for
    threads: int = 2  # that decode row groups


@dataclasses.dataclass(frozen=True)
class _Part:
    """The rows `start` to `stop`, among those of the split, of a row group."""

    file: int
    group: int
    start: int
    stop: int


class Reader:
    """Reads a data set in batches.

    A batch is a dict: a fixed-size list of floats becomes a C-contiguous `(n, dim) float32` array, float16 widened;
    bytes of a fixed size whose field has `dtype` and `shape` in its metadata, as the pixels of the whales job, a
    `(n, *shape)` array of that type; a column of numbers a `(n,)` array of its own type; any other column a pyarrow
    Array. The columns that are read have no nulls, but for those that stay Arrow, or those rows are dropped.

    Shuffled, an epoch is: the row groups in a random order; that sequence of rows cut into `readers` equal parts; each
    part read in windows of `window` rows, whose rows are put in a random order. It depends on the files' rows, `seed`,
    the epoch, `window`, `reader` and `readers`, and on nothing else. Not shuffled, rows come as they stand.

    Memory: three windows, two row groups a thread, and `ahead` batches; a window of 128 float32 takes 8 MB, one of
    crops of 224 by 224 pixels 128 MB. Raises RunError where a column is not there, has nulls or numbers that are not
    finite where there may be none, or a file cannot be read.
    """

    def __init__(
        self,
        dataset: Dataset,
        columns: Sequence[str],
        *,
        batch: int = 4096,
        split: str | None = None,
        shuffle: bool = True,
        seed: int = 0,
        reading: Reading = Reading(),
    ):
        """Count the rows of every row group that are to be read; nothing else is read yet.

        `split`: only rows whose column `split` has this value. Row groups that hold none are never read.
        """
        reader, readers = reading.reader, reading.readers
        window = 1 if reading.window is None else reading.window
        if not (columns and 0 <= reader < readers and min(batch, window, reading.threads) > 0):
            raise ValueError(f"not possible: {columns=}, {batch=}, {reading}")
        for name in [*columns, *(["split"] if split is not None else [])]:
            if dataset.rows and name not in dataset.schema.names:
                there = ", ".join(dataset.schema.names)
                raise RunError(f"{dataset.name} has no column {name}; it has: {there}")
        self.dataset, self.columns, self.split = dataset, tuple(dict.fromkeys(columns)), split
        self.batch, self.shuffle, self.seed, self.reading = batch, shuffle, seed, reading
        self._window = reading.window or _fitting_window(dataset.schema, self.columns)
        self._groups = self._count_groups()
        self.rows = sum(part.stop for part in self._groups)  # for all readers: of the split, and not dropped
        self._first, self._end = self.rows * reader // readers, self.rows * (reader + 1) // readers
        self.own_rows = self._end - self._first  # of this reader: those of two differ by one at most
        self.batches = -(-self.own_rows // batch) if reading.keep_last else self.own_rows // batch

    def __len__(self) -> int:
        return self.batches

    def epoch(self, number: int = 0, *, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, from batch `start`: what comes before it is hardly read."""
        return _run_ahead(self._make_batches(number, start), self.reading.ahead)

    # --- which rows

    def _count_groups(self) -> list[_Part]:
        """Return all row groups that hold rows of the split, whole."""

        def count(file: int) -> list[_Part]:
            known = self.dataset.splits[file] if self.dataset.splits else ""
            if known and self.split not in (None, known):
                return []
            opened = self.dataset.open(file)
            with one_line_errors(self.dataset.files[file]):
                parted = self.split is not None and not known
                rows = [self._count_rows(opened, group, parted=parted) for group in range(opened.num_row_groups)]
            return [_Part(file, group, 0, held) for group, held in enumerate(rows) if held]

        with ThreadPoolExecutor(self.reading.threads) as pool:
            return [part for parts in pool.map(count, range(len(self.dataset.files))) for part in parts]

    def _count_rows(self, opened: pq.ParquetFile, group: int, *, parted: bool) -> int:
        """Return how many rows of a group are read, by its footer if that says so; `parted`: other splits are there."""
        about = opened.metadata.row_group(group)
        nulls: dict[str, int | None] = {}  # of the columns that may have some; None where the footer does not say
        if self.reading.drop_nulls:
            leaves = [about.column(number) for number in range(about.num_columns)]
            told = [leaf for leaf in leaves if leaf.statistics is not None and leaf.statistics.has_null_count]
            known = {leaf.path_in_schema: leaf.statistics.null_count for leaf in told}  # a list's are its items'
            nullable = [name for name in self.columns if self.dataset.schema.field(name).nullable]
            nulls = {name: known.get(name) for name in nullable if known.get(name) != 0}
        if about.num_rows in nulls.values():
            return 0
        if not parted and (not nulls or (len(nulls) == 1 and None not in nulls.values())):
            return about.num_rows - sum(filter(None, nulls.values()))
        needed = dict.fromkeys([*nulls, *(["split"] if parted else [])])
        table = self._without_nulls(opened.read_row_group(group, columns=list(needed)))
        return len(self._selected(table)) if parted else table.num_rows

    def _without_nulls(self, table: pa.Table) -> pa.Table:
        return table.drop_null() if self.reading.drop_nulls else table

    def _selected(self, table: pa.Table) -> np.ndarray:
        """Return the places of the split's rows in a row group, in order."""
        if self.split is None:
            return np.arange(table.num_rows)
        column = table["split"]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        return np.flatnonzero(pc.equal(column, self.split).to_numpy())

    def _sequence(self, epoch: int, first: int) -> list[_Part]:
        """Return the parts of row groups that make this reader's epoch, in order, from its row `first`."""
        groups = self._groups
        if self.shuffle:
            groups = [groups[place] for place in np.random.default_rng([self.seed, epoch, 0]).permutation(len(groups))]
        parts, at = [], 0
        for group in groups:
            start, stop = max(at, self._first + first) - at, min(at + group.stop, self._end) - at
            if start < stop:
                parts.append(_Part(group.file, group.group, start, stop))
            at += group.stop
        return parts

    # --- reading

    def _make_batches(self, epoch: int, start: int) -> Iterator[Batch]:
        skipped = min(start * self.batch, self.own_rows)
        left = (self.own_rows if self.reading.keep_last else self.batches * self.batch) - skipped
        # windows begin where they would have begun had nothing been skipped
        first, at = divmod(skipped, self._window)
        windows = self._read_windows(self._sequence(epoch, first * self._window))

        def shuffled() -> Iterator[tuple[dict, np.ndarray]]:
            for number, window in enumerate(_run_ahead(windows, min(self.reading.ahead, 1)), first):
                order = np.arange(window.rows)
                if self.shuffle:
                    seeds = [self.seed, epoch, 1, self.reading.reader, number]
                    order = np.random.default_rng(seeds).permutation(window.rows)
                yield window.columns, order[at if number == first else 0 :]

        for pile in _pile_up(shuffled(), self.batch, left):
            yield pile.finish()

    def _read_windows(self, parts: Sequence[_Part]) -> Iterator["_Pile"]:
        """Yield windows, which lie in the sequence of rows without a gap; the last may be short."""
        groups = zip(parts, self._read_groups(parts), strict=True)
        pieces = ((columns, selected[part.start : part.stop]) for part, (columns, selected) in groups)
        return _pile_up(pieces, self._window, sum(part.stop - part.start for part in parts), widen=False)

    def _read_groups(self, parts: Sequence[_Part]) -> Iterator[tuple[Batch, np.ndarray]]:
        """Yield the row groups of the parts, and the places of the split's rows in each, in order.

        Each thread decodes up to two ahead of the caller.
        """
        mine = threading.local()  # a thread has its own handles
        wanted = list(dict.fromkeys([*self.columns, *(["split"] if self.split is not None else [])]))

        def read(part: _Part) -> tuple[Batch, np.ndarray]:
            if not hasattr(mine, "open"):
                mine.open = functools.lru_cache(OPEN_FILES)(self.dataset.open)
            file, path = mine.open(part.file), self.dataset.files[part.file]
            with one_line_errors(path):
                table = file.read_row_group(part.group, columns=wanted, use_threads=False)
            table = self._without_nulls(table)
            fields = {name: table.schema.field(name) for name in self.columns}
            columns = {name: column_to_numpy(table[name], field, f"{name} of {path}") for name, field in fields.items()}
            return columns, self._selected(table)

        if not self.reading.ahead:
            return map(read, parts)
        return _map_ahead(read, parts, self.reading.threads, 2 * self.reading.threads)


class _Pile:
    """Rows put together from pieces of other columns: a window, or a batch."""

    def __init__(self, rows: int, *, widen: bool = True):
        self.rows = self.room = rows  # room is what it still takes
        self.widen = widen
        self.columns: dict = {}  # an array of all rows, or a list of Arrow arrays, by name

    def add(self, columns: dict, take: np.ndarray) -> None:
        """Add the rows at places `take` of other columns."""
        at = self.rows - self.room
        self.room -= len(take)
        in_a_row = len(take) > 0 and take[-1] - take[0] == len(take) - 1 and bool((np.diff(take) == 1).all())
        for name, column in columns.items():
            if isinstance(column, list):
                column = columns[name] = [pa.concat_arrays(column)] if len(column) > 1 else column
                self.columns.setdefault(name, []).append(column[0].take(pa.array(take)))
                continue
            if name not in self.columns:
                wide = np.float32 if self.widen and column.dtype == np.float16 else column.dtype
                self.columns[name] = np.empty((self.rows, *column.shape[1:]), wide)
            into = self.columns[name][at : at + len(take)]
            if in_a_row:
                into[:] = column[take[0] : take[-1] + 1]
            elif into.dtype != column.dtype:
                into[:] = column[take]
            else:
                np.take(column, take, axis=0, out=into, mode="clip")  # the default mode makes a copy more

    def finish(self) -> Batch:
        """Return the columns, when there is no room left."""
        return {
            name: pa.concat_arrays(column) if isinstance(column, list) else column
            for name, column in self.columns.items()
        }


def _pile_up(pieces: Iterable[tuple[dict, np.ndarray]], size: int, left: int, *, widen: bool = True) -> Iterator[_Pile]:
    """Yield piles of `size` rows, `left` in all: those at the places in each piece's columns, one after another."""
    made = _Pile(min(size, left), widen=widen)
    for columns, take in pieces:
        while len(take) and left:
            part, take = take[: made.room], take[made.room :]
            made.add(columns, part)
            left -= len(part)
            if not made.room:
                yield made
                made = _Pile(min(size, left), widen=widen)
        if not left:
            return


def _fitting_window(schema: pa.Schema, columns: Sequence[str]) -> int:
    """Return how many rows are mixed: fewer than usual where they are wide."""
    shapes = [array_type(schema.field(name), name) for name in columns if name in schema.names]
    row = sum(shape[0].itemsize * math.prod(shape[1]) for shape in shapes if shape)
    return min(WINDOW_ROWS, max(1, WINDOW_BYTES // max(1, row)))


def array_type(field: pa.Field, name: str) -> tuple[np.dtype, tuple[int, ...]] | None:
    """Return type and shape of a row's array: () of a number; None for what stays Arrow."""
    type_ = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if _is_number(type_):
        return np.dtype(type_.to_pandas_dtype()), ()
    if pa.types.is_fixed_size_list(type_) and _is_number(type_.value_type):
        return np.dtype(type_.value_type.to_pandas_dtype()), (type_.list_size,)
    about = field.metadata or {}
    if not (pa.types.is_fixed_size_binary(type_) and {b"dtype", b"shape"} <= about.keys()):
        return None
    try:
        dtype, shape = np.dtype(about[b"dtype"].decode()), tuple(json.loads(about[b"shape"]))
        if dtype.itemsize * math.prod(shape) == type_.byte_width:
            return dtype, shape
    except (TypeError, ValueError):
        pass
    said = f"dtype {about[b'dtype'].decode()}, shape {about[b'shape'].decode()}"
    raise RunError(f"{name} has {type_.byte_width:,} bytes a row, which is not what its metadata says: {said}")


def column_to_numpy(column: pa.ChunkedArray, field: pa.Field, name: str) -> "np.ndarray | list[pa.Array]":
    """Return a column of a row group: numbers, and lists and bytes of a fixed size, without a copy; others as Arrow."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    array = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
    of_a_row = array_type(field, name)
    if of_a_row is None:
        return [array]
    dtype, shape = of_a_row
    if array.null_count:
        raise RunError(f"{name} holds nulls; leave those rows out by Reading(drop_nulls=True)")
    size = math.prod(shape)
    if pa.types.is_fixed_size_binary(array.type):
        held = array.buffers()[1] if len(array) else b""
        flat = np.frombuffer(held, dtype, len(array) * size, array.offset * array.type.byte_width)
    else:
        values = array.values.slice(array.offset * size, len(array) * size) if shape else array
        if values.null_count:
            raise RunError(f"{name} holds nulls inside its vectors; write it without them")
        flat = values.to_numpy(zero_copy_only=True)
    if dtype.kind == "f":
        # of float16, whether not all bits of the exponent are set: nine times as fast as NumPy's own
        good = (flat.view(np.uint16) & 0x7C00) != 0x7C00 if dtype == np.float16 else np.isfinite(flat)
        if not good.all():
            row = np.flatnonzero(~good)[0] // size + 1
            raise RunError(
                f"{name} holds numbers that are not finite (NaN or infinite), the first in row {row} of a row group; "
                "make the run again with --not-finite reject or zero"
            )
    return flat.reshape(len(array), *shape)


def _is_number(type_: pa.DataType) -> bool:
    return pa.types.is_integer(type_) or pa.types.is_floating(type_)


def _run_ahead(items: Any, depth: int) -> Iterator:
    """Yield what a generator yields, made by a thread that is at most `depth` elements ahead; without one where 0."""
    if not depth:
        yield from items
        return
    ahead = _map_ahead(lambda _: next(items, END), itertools.repeat(None), 1, depth)
    with contextlib.closing(items), contextlib.closing(ahead):
        yield from itertools.takewhile(lambda item: item is not END, ahead)


def _map_ahead(call: Callable, items: Iterable, threads: int, depth: int) -> Any:
    """Yield what a function makes of items, in order, by threads that are at most `depth` items ahead of the caller."""
    with ThreadPoolExecutor(threads, "molino reader") as pool:
        coming: deque[Future] = deque()
        try:
            for item in items:
                coming.append(pool.submit(call, item))
                if len(coming) > depth:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

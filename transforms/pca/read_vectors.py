"""Vectors from Parquet and from text: files are read in parallel, in blocks of rows, and each is used or rejected."""

import contextlib
import dataclasses
import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from molino.schemas.pca import free_name
from molino.transforms.errors import DataError, OptionError
from molino.transforms.files import storage
from molino.transforms.files.list_files import folder_columns, labels_of, with_folder_columns
from molino.transforms.files.open_parquet import open_parquet
from molino.transforms.pca.numbers import Block, check_block, is_number, is_vectors, number_type, vector_lengths
from molino.transforms.rows.batches import concat
from molino.transforms.rows.carried import as_plain, check_carried, difference, join_schemas, plain_field
from molino.transforms.text.columns import DELIMITERS, split_header
from molino.transforms.text.command_line import CommandLine
from molino.transforms.text.position import LINE_BITS, POSITION
from molino.transforms.text.read import cut_source, read_span
from molino.transforms.text.sources import PARQUET, Source, Span, TextFormat
from molino.transforms.warnings import Sighting

BLOCK_ROWS = 4096  # cut from the start of each row group; what is computed together depends on the file alone
LEAST_BYTES, MOST_BYTES, SPANS = 4 << 20, 64 << 20, 16  # of a span
PIECE_BYTES = 4 << 20  # of a text, which is read as a row group is
SAMPLED_FILES, SAMPLED_ROWS = 16, 1024  # that tell how long vectors are: the first rows of files spread over all
MOST_NAMES = 30  # that a message lists
BLOCK_BYTES = 64 << 20  # of rows that are held together: where they are long a block has fewer
BUFFER_BYTES = 1 << 20  # of a column at a time: a row group of any size is read in little memory

NULL_AMONG_FIXED = "Expected all lists to be of size"  # how Arrow's error begins
IN_SPAN = (1 << LINE_BITS) - 1  # the part of a position that is the line


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorColumns:
    """What is asked of columns, by name."""

    # what the vectors are made of: one column of lists, or any number of columns of a number each
    vector: tuple[str, ...]
    others: tuple[str, ...] = ()  # that are read besides: labels, and vectors to compare with
    keep: tuple[str, ...] = ()  # those that are carried; () for all that are not in `vector`
    drop: tuple[str, ...] = ()  # those that are not

    def carried(self, names: Sequence[str]) -> list[str]:
        """Return which columns of an input are carried as they are, in its order."""
        return [name for name in names if (name in self.keep if self.keep else name not in (*self.vector, *self.drop))]

    def read(self, names: Sequence[str], path: str) -> list[str]:
        """Return which columns of a file are read, in its order; DataError where it lacks one, or has one twice."""
        self.check((*self.vector, *self.others, *self.keep), names, path)
        used = {*self.vector, *self.others, *self.carried(names)}
        if twice := [name for name in names if name in used and names.count(name) > 1]:
            raise DataError(f"{path} has two columns {twice[0]!r}; rename one")
        return [name for name in names if name in used]

    def check(self, needed: Sequence[str], names: Sequence[str], path: str) -> None:
        """Raise DataError unless a file with columns of these names has all that are needed."""
        if missing := [name for name in dict.fromkeys(needed) if name not in names]:
            if any({*name.split(",")} <= {*names} for name in missing):
                right = " ".join(",".join(missing).split(","))
                raise DataError(f"{path} has no column {missing[0]!r}; separate columns by blanks: --column {right}")
            near = [found for name in missing for found in difflib.get_close_matches(name, names, 1)]
            hint = f"did you mean {', '.join(map(repr, near))}? It has" if near else "it has"
            more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
            what = f"column{'s' if len(missing) > 1 else ''} {', '.join(map(repr, missing))}"
            there = ", ".join(names[:MOST_NAMES]) or "none"
            raise DataError(f"{path} has no {what}; {hint}: {there}{more}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorFile:
    """A Parquet file, or a text: a file or a member of one."""

    path: str
    label: str  # what outputs call it
    # records and bytes of each row group, all columns, unpacked; or of each piece of a text
    groups: tuple[tuple[int, int], ...]
    pieces: tuple[Span, ...] = ()  # of a text
    text: TextFormat | None = None  # how it is written; None for Parquet


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorSpan:
    """Consecutive row groups of a file, or pieces of a text."""

    number: int
    file: VectorFile  # the file, with these groups and pieces alone
    start: int  # number of the first of them
    line: int  # records of the file before it
    row: int  # records of all files before it
    sampled: tuple[int, ...] = ()  # records of all files, counted from 0, that lie in it and belong to the sample


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vectors:
    """The files that hold vectors."""

    columns: VectorColumns  # what the vectors are made of, and which columns are carried
    numbers: int  # of a vector
    type: pa.DataType  # of each number, as read
    schema: pa.Schema  # of all columns that are read, as they are carried: see `plain_field`
    files: tuple[VectorFile, ...]

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(rows for file in self.files for rows, _ in file.groups)

    @property
    def bytes(self) -> int:
        """Bytes of all row groups, unpacked."""
        return sum(size for file in self.files for _, size in file.groups)

    @property
    def names(self) -> list[str]:
        """Names of the numbers of a vector: of their columns, or none where they stand in lists."""
        return [] if is_vectors(self.schema.field(self.columns.vector[0]).type) else list(self.columns.vector)

    @property
    def column(self) -> str:
        """Name of the column of rotated vectors: of lists their own."""
        return free_name("scores", self.carried, "pca_") if self.names else self.columns.vector[0]

    @property
    def carried(self) -> pa.Schema:
        """The columns that an output has of the input, a column of vectors in its place among them."""
        kept = {*self.columns.carried(self.schema.names), *(() if self.names else self.columns.vector)}
        return pa.schema([one for one in self.schema if one.name in kept])

    def numbers_of(self, column: str, numbers: int | None = None) -> int:
        """Return how many numbers a column's vectors have: `numbers`, or most of a sample; DataError if none have."""
        path, type_ = self.files[0].path, self.schema.field(column).type
        if not is_vectors(type_):
            raise DataError(f"{path}: the column {column!r} is {type_}, no list of numbers")
        fixed = pa.types.is_fixed_size_list(type_)
        lengths = Counter({type_.list_size: 1}) if fixed else _count_lengths(column, self.files)
        lengths.pop(0, None)
        if not lengths:
            raise DataError(f"the column {column!r} of {path} holds no vector with a number; check --input")
        common = max(lengths, key=lambda size: (lengths[size], size))
        if numbers and numbers not in lengths:
            what = f"no sampled vector in {column!r} of {path} has so many"
            raise DataError(f"--numbers {numbers}: {what}; most have {common}")
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
                    groups, pieces = file.groups[start:number], file.pieces[start:number]
                    part = dataclasses.replace(file, groups=groups, pieces=pieces)
                    sampled = tuple(drawn[first:last].tolist())
                    place: dict[str, int] = {"number": len(spans), "start": start, "line": line, "row": row}
                    spans.append(VectorSpan(file=part, sampled=sampled, **place))
                    row, line, start = row + inside, line + inside, number
                    held = inside = 0
        return spans


def use_own_pool() -> None:
    """Let Arrow take memory from its own pool: blocks and row groups leave holes in the system's, 200 MB a thread."""
    for name in pa.supported_memory_backends():
        if name != "system":
            pa.set_memory_pool(getattr(pa, f"{name}_memory_pool")())
            return


def list_vectors(files: Sequence[storage.FileInfo], columns: VectorColumns, numbers: int | None = None) -> Vectors:
    """Look at the footers of Parquet files and return what they hold.

    A vector has so many `numbers`, or as its type says, or where lists may have any length the commonest of a sample.
    Raises DataError: a file is no Parquet, lacks a column, or has others than the first; or a column cannot be used.
    """
    found, names, schema, first = [], list[str](), None, ""
    for info, label in zip(files, labels_of(files), strict=True):
        if not is_parquet(info.path):
            raise DataError(f"{info.path} is no Parquet file, as {first or 'others'} is; give files of one kind")
        with _open(info.path) as file:
            read, metadata = file.schema_arrow, file.metadata
            groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        own = {name: pa.field(name, pa.string()) for name in folder_columns(info.path)}
        own |= {field.name: plain_field(field) for field in read}
        there = with_folder_columns(read.names, info.path)
        names += there
        read = pa.schema([own[name] for name in columns.read(there, info.path)])
        if schema is None:
            schema, first = read, info.path
        elif (joined := join_schemas(schema, read)) is None:
            raise DataError(
                f"{info.path} has other columns than {first}: {difference(schema, read)}; run each kind alone"
            )
        else:
            schema = joined
        sizes = tuple((group.num_rows, group.total_byte_size) for group in groups)
        found.append(VectorFile(path=info.path, label=label, groups=sizes))
    assert schema is not None
    columns.check(columns.drop, list(dict.fromkeys(names)), first)
    return _checked(columns, schema, found, numbers)


def list_text_vectors(
    sources: Sequence[Source], text: TextFormat, columns: VectorColumns, command: CommandLine
) -> Vectors:
    """Read texts once, to count their records, and return what they hold.

    `text` says how they are written, and names no column; `command`, for remedies, what the user typed. Raises
    DataError: one is Parquet, lacks a column, or has others than the first; or a column holds lists as text.
    """
    first = next((source for source in sources if source.header), sources[0])
    used, found = columns.read(_header(first, text, columns, command), first.path), []
    for source in sources:
        path = f"{source.path}!{source.member}" if source.member else source.path
        if source.kind == PARQUET:
            raise DataError(f"{path} is Parquet, and {first.path} is not; give files of one kind")
        if source.json or source.is_table:
            what = "JSON lines" if source.json else "an Excel workbook"
            raise DataError(f"{path} is {what}, in which pca finds no vectors; convert it to Parquet or CSV")
        if source.header:
            mine = columns.read(_header(source, text, columns, command), path)
            columns.check(columns.drop, source.header, path)
            if odd := {*mine} ^ {*used}:
                raise DataError(f"{path} has other columns than {first.path}: {min(odd)!r}; run each kind alone")
        of = dataclasses.replace(text, columns={str(place): name for place, name in enumerate(used)})
        source = dataclasses.replace(source, columns=of.columns)
        of, pieces, counts = cut_source(source, of, PIECE_BYTES)
        groups = tuple((rows, piece.end - piece.start) for rows, piece in zip(counts, pieces, strict=True))
        found.append(VectorFile(path=path, label=source.label, groups=groups, pieces=tuple(pieces), text=of))
    if begin := next((file for file in found if file.pieces), None):
        rows = next(read_span(begin.pieces[0], begin.text or text, PIECE_BYTES)).rows
        for name in columns.vector:
            if any(value.lstrip().startswith("[") for value in rows[str(used.index(name))][:SAMPLED_ROWS].to_pylist()):
                raise DataError(f"{begin.path}: the column {name!r} holds lists as text; {_to_lists(begin.path, name)}")
    return _checked(columns, pa.schema([pa.field(name, pa.string(), nullable=False) for name in used]), found)


def _header(source: Source, text: TextFormat, columns: VectorColumns, command: CommandLine) -> tuple[str, ...]:
    """Return the columns of a text and its folders; raise DataError where another delimiter gives the vectors."""
    for other in DELIMITERS:
        line = text.delimiter.join(source.header)
        names = {*split_header(line, other, "" if other == text.quote else text.quote)} if other in line else set()
        if not {*columns.vector} <= {*source.header} and {*columns.vector} <= names:
            raise DataError(f"{source.path}: right would be: {command.changed(delimiter=other)}")
    return tuple(with_folder_columns(source.header, source.path))


def _to_lists(path: str, column: str) -> str:
    """Return how a column of text becomes one of lists."""
    query = f'SELECT * REPLACE ("{column}"::DOUBLE[] AS "{column}") FROM \'{path}\''
    return f"make Parquet with lists of it, with DuckDB say: COPY ({query}) TO 'lists.parquet'"


def _checked(
    columns: VectorColumns, schema: pa.Schema, files: Sequence[VectorFile], numbers: int | None = None
) -> Vectors:
    path, types = files[0].path, [schema.field(name).type for name in columns.vector]
    lists = len(types) == 1 and is_vectors(types[0])
    is_text = files[0].text is not None
    odd = [name for name in columns.vector if not is_number(schema.field(name).type)]
    if odd and not lists and not is_text:
        types_of = ", ".join(f"{name!r} is {schema.field(name).type}" for name in odd)
        what = "--column takes one column of lists of numbers, or columns of one number each: integers or floats"
        if pa.types.is_string(schema.field(odd[0]).type):
            what = f"text is no number; if it is such as [1,2,3], {_to_lists(path, odd[0])}"
        raise DataError(f"{path}: the column {types_of}; {what}")
    if numbers and not lists:
        raise OptionError(f"--numbers {numbers} is for a column of lists; {', '.join(columns.vector)} is none")
    made = Vectors(columns=columns, numbers=len(types), type=number_type(types), schema=schema, files=tuple(files))
    check_carried(made.carried, path, "leave it out: --drop {}")
    return dataclasses.replace(made, numbers=made.numbers_of(columns.vector[0], numbers)) if lists else made


def is_parquet(path: str) -> bool:
    """Return whether a file begins as Parquet does."""
    with storage.open_input(path) as raw, storage.explained(path, "read"):
        return raw.read(4) == b"PAR1"


def read_schema(path: str) -> pa.Schema:
    """Return the columns of a Parquet file."""
    with _open(path) as file:
        return file.schema_arrow


def _count_lengths(column: str, files: Sequence[VectorFile]) -> Counter[int]:
    """Return how often vectors of each length stand at the start of some files; of all, where these have no numbers."""
    found: Counter[int] = Counter()
    for some, whole in ((files[:: -(-len(files) // SAMPLED_FILES)], False), (files, True)):
        for file in some:
            with _open(file.path) as opened:
                for batch in opened.iter_batches(SAMPLED_ROWS, columns=[column], use_threads=False):
                    lengths = vector_lengths(as_plain(batch)[column].drop_null())
                    found.update(lengths.tolist())
                    if not whole or any(found):
                        break
        if any(found):
            break
    return found


@contextlib.contextmanager
def _open(path: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file to be read in little memory, however large its row groups are."""
    with open_parquet(path, pre_buffer=False, buffer_size=BUFFER_BYTES) as file:
        sizes = [file.metadata.row_group(number).total_byte_size for number in range(file.num_row_groups)]
        if storage.is_local(path) or max(sizes, default=0) > MOST_BYTES:
            yield file
            return
    with open_parquet(path) as file:  # from a store row groups come whole, in few requests, unless they are large
        yield file


def read_blocks(span: VectorSpan, vectors: Vectors, columns: Sequence[str]) -> Iterator[Block]:
    """Read a span in blocks, with other columns besides the vectors'; DataError where the file is damaged.

    Memory: a block and the pages that hold it; of text a piece.
    """
    of, path, done = vectors.columns.vector, span.file.path, 0
    if span.file.text:
        yield from _read_pieces(span, span.file.text, vectors)
        return
    columns = list(dict.fromkeys([*of, *columns]))
    folders = folder_columns(path)
    with _open(path) as file:
        inside = [name for name in columns if name in file.schema_arrow.names]
        for group in range(span.start, span.start + len(span.file.groups)):
            for batch in _batches(file, path, group, inside, of[0]):
                for name in (name for name in columns if name not in inside):
                    batch = batch.append_column(name, pa.repeat(pa.scalar(folders[name], pa.string()), batch.num_rows))
                batch = batch.select(columns)
                here = np.arange(done, done + batch.num_rows, dtype=np.int64)
                yield check_block(batch, of, vectors.numbers, lines=span.line + here + 1, places=span.row + here)
                done += batch.num_rows


def _read_pieces(span: VectorSpan, text: TextFormat, vectors: Vectors) -> Iterator[Block]:
    """Read pieces of a text; of it all columns: which of its lines are headers once more depends on all of them."""
    of, names = vectors.columns.vector, list(text.columns.values())
    line, row = span.line + 2 + text.skip_lines, span.row  # a text of several pieces has a line a record
    for piece in span.file.pieces:
        lines = 0
        for chunk in read_span(piece, text, PIECE_BYTES, doubt_fields=False):
            at, lost = (part[POSITION].to_numpy() & IN_SPAN for part in (chunk.rows, chunk.rejects))
            places = row + np.searchsorted(np.sort(np.concatenate([at, lost])), at)  # a record may have several lines
            why, what = (chunk.rejects[name].to_pylist() for name in ("reason", "row"))
            rejects = list(zip((lost + line).tolist(), why, what, strict=True))
            counters = _located(chunk.counters, span, line)
            rows = pa.RecordBatch.from_arrays(chunk.rows.columns[:-1], names)
            for start in range(0, max(1, rows.num_rows), BLOCK_ROWS):
                part = slice(start, start + BLOCK_ROWS)
                block = check_block(rows[part], of, vectors.numbers, lines=line + at[part], places=places[part])
                records, rejects = block.records + len(rejects), [*rejects, *block.rejects]
                yield dataclasses.replace(block, rejects=rejects, records=records, counters=counters)
                rejects, counters = [], {}
            lines, row = lines + chunk.lines, row + chunk.records
        line += lines


def _located(counters: Mapping[str, int], span: VectorSpan, line: int) -> dict[str, int]:
    """Return counters with the positions of records turned into places; `line` is the first of their piece."""
    return {
        name: Sighting(int(value), (span.number, line + (value.place & IN_SPAN), span.file.label))
        if isinstance(value, Sighting)
        else value
        for name, value in counters.items()
    }


def _batches(
    file: pq.ParquetFile, path: str, group: int, columns: Sequence[str], column: str
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a row group, BLOCK_ROWS at a time, or as many as have BLOCK_BYTES.

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
    """Yield the rows of a row group in blocks, however Arrow cuts its batches."""
    held: list[pa.RecordBatch] = []
    whole = file.metadata.row_group(group)  # of a single column Arrow would end the process where it is encrypted
    rows, most = 0, min(BLOCK_ROWS, max(1, BLOCK_BYTES * whole.num_rows // max(1, whole.total_byte_size)))
    for batch in file.iter_batches(most, row_groups=[group], columns=list(columns), use_threads=False):
        batch = batch.select(columns)
        while batch.num_rows:
            part = batch.slice(0, most - rows)
            batch = batch.slice(part.num_rows)
            held.append(part)
            rows += part.num_rows
            if rows == most:
                yield concat(held, part.schema)
                held, rows = [], 0
    if held:
        yield concat(held, held[0].schema)


def _read_loosely(path: str) -> pq.ParquetFile:
    """Open a Parquet file by its own types: what its footer says of Arrow's is not read."""
    raw = storage.open_input(path)
    footer = pa.BufferOutputStream()
    pq.read_metadata(raw).write_metadata_file(footer)
    own_types = footer.getvalue().to_pybytes().replace(b"ARROW:schema", b"arrow:schema")
    metadata = pq.read_metadata(pa.BufferReader(own_types))
    how = {"pre_buffer": False, "buffer_size": BUFFER_BYTES, "page_checksum_verification": True}
    return pq.ParquetFile(raw, metadata=metadata, **how)


def _tighten(batch: pa.RecordBatch, schema: pa.Schema, column: str, path: str) -> pa.RecordBatch:
    """Return columns in the types that a schema has for them, but the vectors."""
    fields, arrays = [], []
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        one = schema.field(name)
        if name == column:
            one = pa.field(name, array.type)
        elif pa.types.is_fixed_size_list(one.type) and array.null_count:
            what = f"the column {name!r} has null lists, which no reader of Arrow gives back"
            raise DataError(f"{path}: {what}; fill them")
        arrays.append(array if array.type == one.type else array.cast(one.type))
        fields.append(one)
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))

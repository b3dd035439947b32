"""Read delimited text: any number of files, in parallel byte ranges, without losing a line.

Every line becomes either a row of a batch or a row of the rejects. A row's `position` orders all rows of all files
as the files were listed and as their lines stand: it is the number of the span that the line starts in, then the
line's number within it. The line's number in its file is known only when all spans are read (see `line_table`).
"""

import codecs
import csv
import dataclasses
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from schemas.rejects import REJECTS
from transforms import progress, storage
from transforms.batches import Gather, concat
from transforms.errors import DataError, OptionError

LINE_BITS = 40  # a position is span << LINE_BITS | line: 8 million spans of a million million lines
POSITION = "position"
CLIP = 200  # characters of a rejected row that are kept
NEWLINE = ord("\n")
SPLITTABLE_CODECS = ("utf-8", "ascii", "iso8859", "cp125", "cp437", "cp850", "mac-roman")

# What a rejected row shows of itself: its shape. Names and CURPs are personal data.
SHAPE = {ord(c): "A" if c.isalpha() else "9" for c in map(chr, range(0x250)) if c.isalnum()}

RAW_REJECTS = pa.schema([(POSITION, pa.int64()), ("reason", pa.string()), ("row", pa.string())])


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextFormat:
    """How the files are written, and which of their columns are wanted.

    Attributes:
      columns: names in the batch, mapped to names in the header.
      delimiter: one ASCII character.
      encoding: UTF-8 or an encoding of one byte a character.
      quote: the quoting character, or "" for none. Quoted fields can hold line ends, so quoted files are not split.
      max_line_bytes: longer lines are rejects, and are never held in memory whole.
    """

    columns: Mapping[str, str]
    delimiter: str = "|"
    encoding: str = "latin-1"
    quote: str = ""
    max_line_bytes: int = 65536

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in "\r\n\0":
            raise OptionError(f"the delimiter must be one ASCII character, not {self.delimiter!r}")
        if self.quote and (len(self.quote) != 1 or not self.quote.isascii() or self.quote in "\r\n\0"):
            raise OptionError(f"the quote must be one ASCII character or empty, not {self.quote!r}")
        if self.quote == self.delimiter:
            raise OptionError(f"the quote and the delimiter are the same character, {self.quote!r}")
        try:
            name = codecs.lookup(self.encoding).name
        except LookupError:
            raise OptionError(f"no such encoding: {self.encoding!r}; try utf-8, latin-1 or cp1252") from None
        if not name.startswith(SPLITTABLE_CODECS):
            raise OptionError(f"cannot read {self.encoding!r}: only UTF-8 and encodings of one byte a character")

    @property
    def schema(self) -> pa.Schema:
        """Schema of the batches: the wanted columns as strings, then `position`."""
        return pa.schema([*((name, pa.string()) for name in self.columns), (POSITION, pa.int64())])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """One text to read: a file, or a member of a zip.

    Attributes:
      label: what outputs call it: the path relative to the inputs' common folder, and the member after "!".
      kind: plain, gzip or zip.
      bytes: size of the text; an estimate for gzip.
      header: the header's column names.
      start: offset of the first byte after the header.
      empty: whether no data follows the header.
    """

    path: str
    label: str
    kind: str
    member: str
    bytes: int
    header: tuple[str, ...]
    start: int
    empty: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Span:
    """A byte range of one source, or the whole of a source that cannot be split. Owns the lines that start in it."""

    number: int
    source: Source
    source_number: int
    start: int
    end: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunk:
    """What a piece of a span held: rows and rejects, and how many records and lines it had in all.

    `records` is counted apart from the rows and rejects, so that a lost line shows.
    """

    rows: pa.RecordBatch
    rejects: pa.RecordBatch
    records: int
    lines: int


# --- before the run: which texts are there, and where can they be cut


def list_sources(files: Sequence[storage.FileInfo], text: TextFormat) -> list[Source]:
    """Look at the first bytes of every file and return the texts to read, in the order of the files.

    Raises:
      DataError: a file is not text, is UTF-16, or lacks a wanted column.
    """
    root = _common_folder([file.path for file in files])
    return [source for file in files for source in _sources_of(file, file.path[len(root) :], text)]


def split_sources(sources: Sequence[Source], span_bytes: int, *, quoted: bool = False) -> list[Span]:
    """Cut the sources into spans of about `span_bytes`; gzip, zip members and quoted text stay whole."""
    spans: list[Span] = []
    for source_number, source in enumerate(sources):
        if source.empty:
            continue
        step = span_bytes if source.kind == "plain" and not quoted else source.bytes + 1
        for start in range(source.start, max(source.bytes, source.start + 1), step):
            end = min(start + step, source.bytes)
            spans.append(Span(number=len(spans), source=source, source_number=source_number, start=start, end=end))
    return spans


def _common_folder(paths: Sequence[str]) -> str:
    """Return the longest common prefix of the paths that ends in "/".

    >>> _common_folder(["/a/b/one.txt", "/a/b/c/two.txt"])
    '/a/b/'
    """
    shortest, longest = min(paths), max(paths)
    same = next((i for i, c in enumerate(shortest) if i >= len(longest) or c != longest[i]), len(shortest))
    return shortest[: shortest.rfind("/", 0, same) + 1]


def _sources_of(file: storage.FileInfo, label: str, text: TextFormat) -> Iterator[Source]:
    with storage.open_input(file.path) as raw, storage.explained(file.path, "read"):
        magic = raw.read(4)
    if magic.startswith(b"\x1f\x8b"):
        # a gzip file says its size only modulo 4 GiB; six times is about what such text shrinks to
        yield _source(file.path, label, "gzip", "", file.bytes * 6, text)
    elif magic.startswith(b"PK\x03\x04"):
        for member, size in _zip_members(file.path):
            yield _source(file.path, f"{label}!{member}", "zip", member, size, text)
    else:
        yield _source(file.path, label, "plain", "", file.bytes, text)


def _zip_members(path: str) -> list[tuple[str, int]]:
    try:
        with storage.open_input(path) as raw, zipfile.ZipFile(raw) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
    except zipfile.BadZipFile as error:
        raise DataError(f"cannot read {path}: a damaged zip file ({error}); fetch it again") from None
    for info in members:
        if info.flag_bits & 1:
            raise DataError(f"cannot read {path}: {info.filename} is encrypted; unpack it first")
    return sorted((info.filename, info.file_size) for info in members)


def _source(path: str, label: str, kind: str, member: str, size: int, text: TextFormat) -> Source:
    blocks = _blocks(path, kind, member, 2 * text.max_line_bytes)
    head = next(blocks, b"")
    header, start = _read_header(head, path if not member else f"{path}!{member}", text)
    empty = len(head) <= start and not next(blocks, b"")
    return Source(path=path, label=label, kind=kind, member=member, bytes=size, header=header, start=start, empty=empty)


def _read_header(head: bytes, path: str, text: TextFormat) -> tuple[tuple[str, ...], int]:
    """Return the column names and the length of the header line with its end; ((), 0) for a text of no bytes."""
    if not head:
        return (), 0
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path} looks like UTF-16; convert it first, for example: iconv -f UTF-16 -t UTF-8")
    start = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    end = _line_end(head, start)
    line = head[start : end if end >= 0 else len(head)]
    if b"\0" in line or (end < 0 and len(line) >= text.max_line_bytes):
        raise DataError(f"{path} does not look like text with a header line; give delimited text, .gz or .zip")
    try:
        decoded = line.decode(text.encoding).rstrip("\r\n")
    except UnicodeDecodeError:
        raise DataError(f"the header of {path} is not {text.encoding}; choose another --encoding") from None
    if text.quote:
        names = next(csv.reader([decoded], delimiter=text.delimiter, quotechar=text.quote), [])
    else:
        names = decoded.split(text.delimiter)
    for wanted in text.columns.values():
        if names.count(wanted) != 1:
            what = "lacks the column" if wanted not in names else "has more than one column"
            shown = ", ".join(name[:40] for name in names[:20])
            raise DataError(f"{path} {what} {wanted!r}; its header has: {shown}; map columns with --*-column")
    return tuple(names), end if end >= 0 else len(head)


# --- reading bytes


def _line_end(data: bytes, start: int = 0) -> int:
    r"""Return the index just after the first line end (\n, \r\n or \r) at or after `start`; -1 when there is none.

    >>> _line_end(b"a\r\nb"), _line_end(b"a\rb"), _line_end(b"ab")
    (3, 2, -1)
    """
    newline, carriage = data.find(b"\n", start), data.find(b"\r", start)
    if carriage >= 0 and (newline < 0 or carriage < newline):
        return carriage + 2 if newline == carriage + 1 else carriage + 1
    return newline + 1 if newline >= 0 else -1


def _blocks(path: str, kind: str, member: str, size: int) -> Iterator[bytes]:
    """Yield the bytes of a text, unpacked, in blocks of about `size`."""
    with storage.open_input(path) as raw, storage.explained(path, "read"):
        if kind == "gzip":
            yield from _unzip(raw, path, size)
        elif kind == "zip":
            try:
                with zipfile.ZipFile(raw) as archive, archive.open(member) as file:
                    while block := file.read(size):
                        yield block
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                raise DataError(f"cannot read {path}!{member}: damaged ({error}); fetch it again") from None
        else:
            while block := raw.read(size):
                yield block


def _unzip(raw: pa.NativeFile, path: str, size: int) -> Iterator[bytes]:
    """Yield the content of a gzip file of one or more members."""
    unpack, inside = zlib.decompressobj(wbits=31), False
    try:
        while data := raw.read(size):
            while data := data if inside else data.lstrip(b"\0"):  # some writers pad between members
                inside = True
                if block := unpack.decompress(data, size):
                    yield block
                data = unpack.unconsumed_tail
                if unpack.eof:
                    data, unpack, inside = unpack.unused_data, zlib.decompressobj(wbits=31), False
        if block := unpack.flush():
            yield block
    except zlib.error as error:
        raise DataError(f"cannot read {path}: a damaged gzip file ({error}); fetch it again") from None
    if inside and not unpack.eof:
        raise DataError(f"cannot read {path}: the gzip file is cut short; fetch it again")


def _span_bytes(span: Span, max_line: int) -> bytes:
    """Return the bytes of the lines that start in a span of a plain file, without the rest of an over-long last one."""
    source = span.source
    with storage.open_input(source.path) as file, storage.explained(source.path, "read"):
        first = span.start == source.start
        begin = span.start if first else span.start - 1
        file.seek(begin)
        data = file.read(span.end - begin)
        if len(data) < span.end - begin:
            raise DataError(f"{source.path} became shorter while it was read; run again when it is complete")
        skip = 0 if first else _line_end(data)
        if skip < 0 or begin + skip >= span.end:
            return b""
        tail = b"" if data.endswith((b"\n", b"\r")) else file.read(max_line + 2)
        end = _line_end(tail)
        return b"".join([memoryview(data)[skip:], tail if end < 0 else tail[:end]])


def _line_blocks(source: Source, size: int, max_line: int) -> Iterator[bytes]:
    """Yield an unpacked text in blocks of whole lines; a line that is too long is cut, and its rest is left out."""
    held, skip, cutting = b"", source.start, False
    for block in _blocks(source.path, source.kind, source.member, size):
        if skip:
            block, skip = block[skip:], max(0, skip - len(block))
        # a final \r may be half of a \r\n: wait for the next block
        block = held + block
        held = b""
        if cutting:
            end = _line_end(block)
            if end < 0 or (end == len(block) and block.endswith(b"\r")):
                held = block[-1:] if block.endswith(b"\r") else b""
                continue
            block, cutting = block[end:], False
        last = max(block.rfind(b"\n"), block.rfind(b"\r", 0, -1)) + 1
        if last:
            yield block[:last]
        held = block[last:]
        if len(held) > max_line + 2:
            yield held[: max_line + 1] + b"\n"
            held, cutting = b"", True
    if held:
        yield held


# --- bytes to rows


def parse_lines(data: bytes, source: Source, text: TextFormat, span_number: int, first_line: int) -> Chunk:
    """Parse whole lines of unquoted text; the last may lack its end.

    The first of them is line `first_line` of its span. Lines that are empty, too long, of another number of fields
    than the header, undecodable or with a NUL byte become rejects.
    """
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if data and not data.endswith(b"\n"):
        data += b"\n"
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == NEWLINE) + 1
    position = (span_number << LINE_BITS) + first_line
    decoded = _to_utf8(data, text.encoding)
    suspicious = decoded is None or b"\0" in data or (np.diff(ends, prepend=0) > text.max_line_bytes + 1).any()
    table = None if suspicious or decoded is None else _parse(decoded, len(ends), source, text)
    if table is not None:
        positions = np.arange(position, position + len(ends), dtype=np.int64)
        return Chunk(
            rows=_with_position(table, positions), rejects=_raw_rejects([], [], []), records=len(ends), lines=len(ends)
        )
    return _parse_with_rejects(data, ends, source, text, position)


def _parse_with_rejects(data: bytes, ends: np.ndarray, source: Source, text: TextFormat, position: int) -> Chunk:
    reasons = line_faults(data, ends, len(source.header), text)
    bad = np.flatnonzero(reasons.astype(bool))
    lengths = np.diff(ends, prepend=0)
    keep = np.repeat(~reasons.astype(bool), lengths)
    clean = np.frombuffer(data, np.uint8)[keep].tobytes()
    good = np.flatnonzero(~reasons.astype(bool))
    decoded = _to_utf8(clean, text.encoding)
    table = None if decoded is None else _parse(decoded, len(good), source, text)
    if table is None:
        raise DataError(f"{source.path}: {len(good)} lines passed every check but could not be parsed; report this")
    starts = ends - lengths
    shapes = [show_shape(data[starts[i] : min(ends[i], starts[i] + CLIP)], text.encoding) for i in bad]
    rejects = _raw_rejects(position + bad, reasons[bad].tolist(), shapes)
    return Chunk(rows=_with_position(table, position + good), rejects=rejects, records=len(ends), lines=len(ends))


def line_faults(data: bytes, ends: np.ndarray, fields: int, text: TextFormat) -> np.ndarray:
    """Return for each line the reason to reject it, or ""; `ends` are the offsets just after each newline."""
    values = np.frombuffer(data, np.uint8)
    lengths = np.diff(ends, prepend=0) - 1
    delimiters = _count_in_lines(values == ord(text.delimiter), ends)
    reasons = np.full(len(ends), "", dtype=object)
    reasons[delimiters < fields - 1] = "too_few_fields"
    reasons[delimiters > fields - 1] = "too_many_fields"
    if text.encoding != "latin-1":
        for i in np.flatnonzero(_count_in_lines(values >= 0x80, ends)):
            try:
                data[ends[i] - lengths[i] - 1 : ends[i]].decode(text.encoding)
            except UnicodeDecodeError:
                reasons[i] = "bad_encoding"
    reasons[_count_in_lines(values == 0, ends) > 0] = "nul_byte"
    reasons[lengths == 0] = "empty_line"
    reasons[lengths > text.max_line_bytes] = "line_too_long"
    return reasons


def _count_in_lines(flags: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return how many flags are set in each line."""
    return np.diff(np.searchsorted(np.flatnonzero(flags), ends), prepend=0)


def show_shape(row: bytes, encoding: str) -> str:
    """Return a rejected row as it may be shown: letters as A, digits as 9, the rest as it is, clipped.

    >>> show_shape(b"9|AAAA570617HQT|PEREZ|X", "latin-1")
    '9|AAAA999999AAA|AAAAA|A'
    """
    shown = row.rstrip(b"\n").decode(encoding, "replace").translate(SHAPE)
    return "".join("A" if c.isalpha() else c for c in shown)[:CLIP]


def _to_utf8(data: bytes, encoding: str) -> bytes | None:
    """Return the text in UTF-8, or None when it is not in its encoding."""
    if data.isascii():
        return data
    try:
        decoded = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return data if codecs.lookup(encoding).name == "utf-8" else decoded.encode()


def _parse(data: bytes, lines: int, source: Source, text: TextFormat) -> pa.Table | None:
    """Parse clean lines; None when any of them is not a row of the header's number of fields."""
    odd: list[object] = []
    wanted = list(text.columns.values())
    # names that the job does not want may stand twice in the header; Arrow wants them distinct
    names = [name if name in wanted else f"{i}:{name}" for i, name in enumerate(source.header)]

    def skip(row: object) -> str:
        odd.append(row)
        return "skip"

    if not data:
        table = pa.table({name: pa.array([], pa.string()) for name in wanted})
    else:
        table = pa_csv.read_csv(
            pa.BufferReader(data),
            read_options=pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=1 << 20),
            parse_options=pa_csv.ParseOptions(
                delimiter=text.delimiter, quote_char=False, double_quote=False, invalid_row_handler=skip
            ),
            convert_options=pa_csv.ConvertOptions(
                include_columns=wanted,
                column_types=dict.fromkeys(wanted, pa.string()),
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
    if odd or len(table) != lines:
        return None
    return table.rename_columns(list(text.columns))


def _with_position(table: pa.Table, positions: np.ndarray) -> pa.RecordBatch:
    columns = [_one_array(column) for column in table.columns]
    return pa.RecordBatch.from_arrays([*columns, pa.array(positions, pa.int64())], [*table.column_names, POSITION])


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _raw_rejects(positions: Sequence[int] | np.ndarray, reasons: Sequence[str], rows: Sequence[str]) -> pa.RecordBatch:
    arrays = [pa.array(positions, pa.int64()), pa.array(reasons, pa.string()), pa.array(rows, pa.string())]
    return pa.RecordBatch.from_arrays(arrays, schema=RAW_REJECTS)


# --- quoted text


class _BadLineError(Exception):
    """A line that no record can hold; the argument is the reason to reject the record that it stands in."""


class _Lines:
    """Numbered lines of a quoted text, one record's worth of which can be taken back."""

    def __init__(self, lines: Iterator[bytes], text: TextFormat):
        self.taken: list[bytes] = []
        self.number = 0  # of the record's first line
        self._lines, self._back, self._text = lines, list[bytes](), text

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._back.pop() if self._back else next(self._lines)
        self.taken.append(line)
        if sum(map(len, self.taken)) > self._text.max_line_bytes:
            raise _BadLineError("line_too_long" if len(self.taken) == 1 else "unclosed_quote")
        if b"\0" in line:
            raise _BadLineError("nul_byte")
        try:
            return line.decode(self._text.encoding)
        except UnicodeDecodeError:
            raise _BadLineError("bad_encoding") from None

    def accept(self, count: int | None = None) -> bytes:
        """Count the first `count` lines taken (all by default) as done, and give the others back."""
        count = len(self.taken) if count is None else count
        done, self._back = self.taken[:count], self._back + self.taken[count:][::-1]
        self.taken, self.number = [], self.number + len(done)
        return b"".join(done)


def parse_quoted(lines: Iterator[bytes], source: Source, text: TextFormat, span_number: int) -> Iterator[Chunk]:
    """Parse quoted text with Python's csv module, in chunks of 65,536 records.

    Where the quoting of a record makes no sense its first line is the reject, and reading goes on at the next line:
    a quote that is never closed costs one line, not the rest of the file.
    """
    feed = _Lines(lines, text)
    wanted = [source.header.index(name) for name in text.columns.values()]
    rows: list[list[str]] = []
    positions: list[int] = []
    bad: list[tuple[int, str, str]] = []
    done_lines = 0

    def chunk() -> Chunk:
        table = pa.table({name: pa.array([r[i] for r in rows], pa.string()) for i, name in enumerate(text.columns)})
        return Chunk(
            rows=_with_position(table, np.asarray(positions, dtype=np.int64)),
            rejects=_raw_rejects(*(list(column) for column in zip(*bad, strict=True)))
            if bad
            else _raw_rejects([], [], []),
            records=len(rows) + len(bad),
            lines=feed.number - done_lines,
        )

    reader = _csv_reader(feed, text)
    while True:
        position = (span_number << LINE_BITS) + feed.number
        reason = ""
        try:
            fields = next(reader)
        except StopIteration:
            break
        except _BadLineError as error:
            reason = str(error)
        except csv.Error as error:
            reason = "unclosed_quote" if "end of data" in str(error) else "bad_quoting"
        if reason:
            bad.append((position, reason, show_shape(feed.accept(1)[:CLIP], text.encoding)))
            reader = _csv_reader(feed, text)
        else:
            record = feed.accept()
            if len(fields) == len(source.header):
                rows.append([fields[i] for i in wanted])
                positions.append(position)
            else:
                reason = (
                    "empty_line"
                    if not fields
                    else "too_few_fields"
                    if len(fields) < len(source.header)
                    else "too_many_fields"
                )
                bad.append((position, reason, show_shape(record[:CLIP], text.encoding)))
        if len(rows) + len(bad) >= 65536:
            yield chunk()
            rows, positions, bad, done_lines = [], [], [], feed.number
    yield chunk()


def _csv_reader(feed: _Lines, text: TextFormat) -> Iterator[list[str]]:
    return csv.reader(feed, delimiter=text.delimiter, quotechar=text.quote, strict=True)


# --- spans to chunks, and lines of spans to lines of files


def read_span(span: Span, text: TextFormat, block_bytes: int) -> Iterator[Chunk]:
    """Read the lines that start in a span. Memory: a few times the span, or `block_bytes` for a text that is not split.

    Raises:
      DataError: the file is damaged, or became shorter.
    """
    source = span.source
    if source.kind == "plain" and not text.quote:
        yield parse_lines(_span_bytes(span, text.max_line_bytes), source, text, span.number, 0)
        return
    blocks = _line_blocks(source, block_bytes, text.max_line_bytes)
    if text.quote:
        lines = (line for block in blocks for line in block.splitlines(keepends=True))
        yield from parse_quoted(lines, source, text, span.number)
        return
    line = 0
    for block in blocks:
        chunk = parse_lines(block, source, text, span.number, line)
        line += chunk.lines
        yield chunk


@dataclasses.dataclass(frozen=True)
class LineTable:
    """Where each span starts: turns positions into sources and lines.

    Attributes:
      sources: label of every source.
      source_of: (spans,) int32, the source of each span.
      first_line: (spans,) int64, the line in its file of each span's first line; the header is line 1.
    """

    sources: tuple[str, ...]
    source_of: np.ndarray
    first_line: np.ndarray

    def locate(self, positions: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Return (source labels, line numbers) of positions."""
        values = positions.to_numpy()
        spans = values >> LINE_BITS
        labels = pa.array(self.sources, pa.string()).take(pa.array(self.source_of[spans]))
        return labels, pa.array(self.first_line[spans] + (values & ((1 << LINE_BITS) - 1)), pa.int64())


def line_table(lines: Iterable[tuple[int, int]], spans: Sequence[Span], sources: Sequence[Source]) -> LineTable:
    """Return the table of where spans start, from the (span number, lines) of every span.

    Raises:
      DataError: a span's count is missing. No other sum would show it: only the line numbers would be wrong.
    """
    held = dict(lines)
    lost = [span.number for span in spans if span.number not in held]
    if lost:
        raise DataError(f"the runner lost the line counts of {len(lost)} spans; nothing was published; run again")
    count = np.array([held[span.number] for span in spans], np.int64)
    source_of = np.array([span.source_number for span in spans], np.int32)
    before = np.cumsum(count) - count
    starts = np.flatnonzero(np.diff(source_of, prepend=-1))  # the first span of each source
    base = np.repeat(before[starts], np.diff(np.append(starts, len(spans))))
    return LineTable(tuple(source.label for source in sources), source_of, before - base + 2)


# --- the transforms


class _ReadSpan(beam.DoFn):
    def __init__(self, text: TextFormat, block_bytes: int):
        self.text, self.block_bytes = text, block_bytes

    def process(self, span: Span) -> Iterator[object]:
        lines = 0
        for chunk in read_span(span, self.text, self.block_bytes):
            lines += chunk.lines
            progress.report("read", rows=chunk.records, bytes=min(self.block_bytes, span.end - span.start))
            yield beam.pvalue.TaggedOutput("counters", {"rows_read": chunk.records})
            if chunk.rejects.num_rows:
                yield beam.pvalue.TaggedOutput("rejects", chunk.rejects)
            if chunk.rows.num_rows:
                yield chunk.rows
        yield beam.pvalue.TaggedOutput("lines", (span.number, lines))


@dataclasses.dataclass(kw_only=True)
class ReadDelimited(beam.PTransform):
    """Read delimited text in batches.

    Output: `rows`, batches of `text.schema`; `rejects`, batches of position, reason and shape; `lines`, one
    LineTable; `counters`, `rows_read` of every chunk.

    Attributes:
      sources: the texts, from `list_sources`.
      text: format and wanted columns.
      span_bytes: size of a piece of work; the output does not depend on it.
    """

    sources: Sequence[Source]
    text: TextFormat
    span_bytes: int = 16 << 20

    def expand(self, pipeline: beam.Pipeline) -> dict[str, beam.PCollection]:
        spans = split_sources(self.sources, self.span_bytes, quoted=bool(self.text.quote))
        read = (
            pipeline
            | "Spans" >> beam.Create(spans, reshuffle=False)
            | "Spread" >> beam.Reshuffle()
            | "Read"
            >> beam.ParDo(_ReadSpan(self.text, self.span_bytes))
            .with_output_types(pa.RecordBatch, rejects=pa.RecordBatch)
            .with_outputs("rejects", "lines", "counters", main="rows")
        )
        table = read.lines | "Lines" >> Gather(
            into=line_table, arguments={"spans": spans, "sources": list(self.sources)}
        )
        return {"rows": read.rows, "rejects": read.rejects, "lines": table, "counters": read.counters}


def sort_rejects(
    group: tuple[tuple[int, int], Iterable[pa.RecordBatch]],
) -> tuple[tuple[int, int], list[pa.RecordBatch]]:
    """Return one group of rejects as a shard, ordered by line."""
    key, parts = group
    batch = concat(parts, REJECTS)
    order = [("line", "ascending"), ("reason", "ascending"), ("row", "ascending")]
    return key, [pa.Table.from_batches([batch]).sort_by(order).combine_chunks().to_batches()[0]]


def count_rejects(raw: pa.RecordBatch) -> dict[str, int]:
    """Return how many rejects there are, in all and by reason."""
    reasons = Counter(raw["reason"].to_pylist())
    return {"rejects": raw.num_rows, **{f"rejects.{reason}": n for reason, n in reasons.items()}}


def split_rejects(raw: pa.RecordBatch, table: LineTable) -> Iterator[tuple[tuple[int, int], pa.RecordBatch]]:
    """Yield the rejects of a chunk with source and line, keyed by source and by million lines."""
    sources, lines = table.locate(raw[POSITION])
    located = pa.RecordBatch.from_arrays([sources, lines, raw["reason"], raw["row"]], schema=REJECTS)
    numbers = table.source_of[raw[POSITION].to_numpy() >> LINE_BITS]
    keys = np.stack([numbers, lines.to_numpy() >> 20], axis=1)
    for key in np.unique(keys, axis=0):
        rows = np.flatnonzero((keys == key).all(axis=1))
        yield (int(key[0]), int(key[1])), located.take(pa.array(rows))


@dataclasses.dataclass(kw_only=True)
class GatherRejects(beam.PTransform):
    """Turn raw rejects into `shards` of REJECTS, in the order of files and lines, and `counters` by reason.

    Attributes:
      lines: the LineTable of the read.
    """

    lines: beam.PCollection

    def expand(self, raw: beam.PCollection) -> dict[str, beam.PCollection]:
        shards = (
            raw
            | "Locate"
            >> beam.FlatMap(split_rejects, table=beam.pvalue.AsSingleton(self.lines)).with_output_types(
                tuple[tuple[int, int], pa.RecordBatch]
            )
            | "Group" >> beam.GroupByKey()
            | "Sort" >> beam.Map(sort_rejects)
        )
        return {"shards": shards, "counters": raw | "CountRejects" >> beam.Map(count_rejects)}

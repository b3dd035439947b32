"""Lines to rows: every line becomes a row of a batch or a reject, and none is lost."""

import codecs
import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from molino.transforms.errors import DataError
from molino.transforms.files.list_files import folder_columns
from molino.transforms.rows.batches import concat, empty
from molino.transforms.text.encodings import count_doubts
from molino.transforms.text.position import LINE_BITS, POSITION
from molino.transforms.text.sources import KEPT, Source, TextFormat

CLIP = 200  # characters of a rejected row that are kept
NEWLINE = ord("\n")
MARKS = ("\ufeff", "ï»¿")  # a byte order mark, as UTF-8 and as latin-1 has it; files put together have it within

RAW_REJECTS = pa.schema([(POSITION, pa.int64()), ("reason", pa.string()), ("row", pa.string())])
NO_REJECTS = empty(RAW_REJECTS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunk:
    """What a piece of a span held: rows and rejects, and how many records, lines and bytes it had in all.

    `records` is counted apart from the rows and rejects, so that a lost line shows. `counters` are of doubtful rows.
    """

    rows: pa.RecordBatch
    records: int
    lines: int
    bytes: int
    rejects: pa.RecordBatch = dataclasses.field(default_factory=lambda: NO_REJECTS)
    counters: Mapping[str, int] = dataclasses.field(default_factory=dict)


def parse_lines(data: bytes, source: Source, text: TextFormat, span_number: int, first_line: int) -> Chunk:
    """Parse whole lines of unquoted text; the last may lack its end.

    The first of them is line `first_line` of its span. Lines that are empty, too long, of another number of fields
    than the header, undecodable or with a NUL byte become rejects. What a line gives depends on no other.
    """
    data, ends = cut_lines(data)
    lengths, reasons = np.diff(ends, prepend=0), np.zeros(len(ends), str)
    decoded = to_utf8(data, text.encoding)
    suspicious = decoded is None or b"\0" in data or (lengths > text.max_line_bytes + 1).any()
    table = None if suspicious or decoded is None else parse_clean(decoded, len(ends), source, text)
    if table is None:
        reasons = line_faults(data, ends, len(source.header), text)
        good = reasons == ""
        decoded = to_utf8(np.frombuffer(data, np.uint8)[np.repeat(good, lengths)].tobytes(), text.encoding)
        table = None if decoded is None else parse_clean(decoded, good.sum(), source, text)
        if table is None:
            raise DataError(
                f"{source.path}: {good.sum()} lines passed every check but could not be parsed; report this"
            )
    position = (span_number << LINE_BITS) + first_line
    chunk = divide_rows(table, reasons, position, len(data), lambda i: show_line(line_at(data, ends, i), text))
    doubts = count_doubts(data, ends, text.codec, position, text.max_line_bytes)
    return dataclasses.replace(chunk, counters=doubts)


def divide_rows(
    table: pa.Table, reasons: np.ndarray, position: int, size: int, show: Callable[[int], str] = lambda _: ""
) -> Chunk:
    """Return a chunk of `size` bytes: the rows of a table without a reason to reject them, and the others as rejects.

    `table`: of all rows, or of the good ones alone. `position`: of the first row. `show`: what is shown of a reject, by
    its number.
    """
    bad, positions = np.flatnonzero(reasons), np.arange(position, position + len(reasons), dtype=np.int64)
    if len(bad) and len(table) == len(reasons):
        table = table.filter(pa.array(reasons == ""))
    return Chunk(
        rows=with_position(table, np.delete(positions, bad)),
        rejects=raw_rejects(positions[bad], reasons[bad].tolist(), [show(i) for i in bad.tolist()]),
        records=len(reasons),
        lines=len(reasons),
        bytes=size,
    )


def cut_lines(data: bytes) -> tuple[bytes, np.ndarray]:
    """Return text with each line ended by a newline, and the offsets just after these."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if data and not data.endswith(b"\n"):
        data += b"\n"
    return data, np.flatnonzero(np.frombuffer(data, np.uint8) == NEWLINE) + 1


def line_at(data: bytes, ends: np.ndarray, number: int) -> bytes:
    """Return a line of text, with its newline; `ends` are those of `cut_lines`."""
    return data[ends[number - 1] if number else 0 : ends[number]]


def line_faults(data: bytes, ends: np.ndarray, fields: int, text: TextFormat) -> np.ndarray:
    """Return for each line the reason to reject it, or ""; `ends` are the offsets just after each newline.

    `fields`: that a line must have; 0 for any number.
    """
    values = np.frombuffer(data, np.uint8)
    lengths = np.diff(ends, prepend=0) - 1
    reasons = np.full(len(ends), "", dtype=object)
    if fields:
        delimiters = count_in_lines(values == ord(text.mark), ends)
        reasons[delimiters < fields - 1] = "too_few_fields"
        reasons[delimiters > fields - 1] = "too_many_fields"
        last = values[np.maximum(ends - 2, 0)] == ord(text.mark)
        reasons[(delimiters == fields) & last] = "trailing_delimiter"
    if text.encoding != "latin-1":
        for i in np.flatnonzero(count_in_lines(values >= 0x80, ends)).tolist():
            try:
                line_at(data, ends, i).decode(text.encoding)
            except UnicodeDecodeError:
                reasons[i] = "bad_encoding"
    reasons[count_in_lines(values == 0, ends) > 0] = "nul_byte"
    reasons[lengths == 0] = "empty_line"
    reasons[lengths > text.max_line_bytes] = "line_too_long"
    return reasons


def count_in_lines(flags: np.ndarray, ends: np.ndarray) -> np.ndarray:
    return np.diff(np.searchsorted(np.flatnonzero(flags), ends), prepend=0)


def show_shape(row: bytes, encoding: str) -> str:
    """Return a rejected row as it may be shown: letters as A, digits as 9, the rest as it is, clipped.

    Names and CURPs are personal data.

    >>> show_shape(b"9|AAAA570617HQT|PEREZ|X", "latin-1")
    '9|AAAA999999AAA|AAAAA|A'
    """
    shown = row.rstrip(b"\n").decode(encoding, "replace")[:CLIP]
    return "".join("A" if c.isalpha() else "9" if c.isalnum() else c for c in shown)


def show_line(line: bytes, text: TextFormat) -> str:
    """Return the shape of a rejected line. Of one that is too long no more than what every way of reading holds."""
    return show_shape(line[: min(CLIP, text.max_line_bytes)], text.encoding)


def reject_headers(chunk: Chunk, source: Source, text: TextFormat) -> Chunk:
    """Return a chunk with the rows that repeat the header, in all the wanted columns, among the rejects.

    Files that were put together have their headers within, each behind its byte order mark.
    """
    again = np.ones(chunk.rows.num_rows, bool)
    for name, column in source.columns.items():
        if name.startswith(KEPT) or column not in source.header:
            continue
        if not again.any():
            return chunk
        spelt = {column, column.lower(), column.upper(), column.title()}
        marked = [mark + quote + name + quote for mark in MARKS for quote in {"", text.quote} for name in spelt]
        values = pa.array([*spelt, *marked])
        again &= pc.is_in(chunk.rows[name], values).to_numpy(zero_copy_only=False)
    if not again.any():
        return chunk
    rejects = pa.concat_batches([chunk.rejects, reject_rows(chunk.rows, np.where(again, "header_line", ""))])
    return dataclasses.replace(chunk, rows=chunk.rows.filter(pa.array(~again)), rejects=rejects)


def fill_folder_columns(rows: pa.RecordBatch, source: Source) -> pa.RecordBatch:
    """Return rows with the columns that the names of a source's folders say."""
    folders = folder_columns(source.path)
    for name, column in source.columns.items():
        if column not in source.header:
            values = pa.repeat(pa.scalar(folders[column], pa.string()), rows.num_rows)
            rows = rows.set_column(rows.schema.get_field_index(name), name, values)
    return rows


def reject_rows(rows: pa.RecordBatch, reasons: np.ndarray) -> pa.RecordBatch:
    """Return the rejects among rows: those whose reason is not empty, with the shape of their wanted columns."""
    bad = rows.filter(pa.array(reasons != ""))
    names = [name for name in bad.schema.names if name != POSITION and not name.startswith(KEPT)]
    texts = zip(*(bad[name].fill_null("").to_pylist() for name in names), strict=True)
    shapes = [show_shape("|".join(values).encode(), "utf-8") for values in texts]
    return raw_rejects(bad[POSITION], reasons[reasons != ""].tolist(), shapes)


def to_utf8(data: bytes, encoding: str) -> bytes | None:
    """Return the text in UTF-8, or None when it is not in its encoding."""
    if data.isascii():
        return data
    try:
        decoded = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return data if codecs.lookup(encoding).name == "utf-8" else decoded.encode()


def parse_clean(data: bytes, records: int, source: Source, text: TextFormat) -> pa.Table | None:
    """Parse clean records; None when any of them is not a row of the header's number of fields.

    Columns that the file lacks are null.
    """
    odd: list[object] = []
    wanted = list(text.columns.values())
    # names that the job does not want may stand twice in the header; Arrow wants them distinct
    names = [name if name in wanted else f"{i}:{name}" for i, name in enumerate(source.header)]

    def skip(row: object) -> str:
        odd.append(row)
        return "skip"

    if not data:
        return text.schema.remove(len(text.columns)).empty_table()
    if data.startswith(codecs.BOM_UTF8):
        data = codecs.BOM_UTF8 + data  # Arrow drops one where its input begins, which may be any line
    table = pa_csv.read_csv(
        pa.BufferReader(data),
        read_options=pa_csv.ReadOptions(
            column_names=names,
            use_threads=False,
            # where fields hold line ends all is one block: at a block's edge Arrow loses bytes of them
            block_size=len(data) + 1 if text.quote else max(1 << 20, 2 * text.max_line_bytes),
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=text.mark,
            quote_char=text.quote or False,
            double_quote=bool(text.quote),
            newlines_in_values=bool(text.quote),
            invalid_row_handler=skip,
        ),
        convert_options=pa_csv.ConvertOptions(
            include_columns=wanted,
            include_missing_columns=True,
            column_types=dict.fromkeys(wanted, pa.string()),
            strings_can_be_null=False,
            check_utf8=False,
        ),
    )
    if odd or len(table) != records:
        return None
    return table.rename_columns(list(text.columns))


def with_position(table: pa.Table, positions: np.ndarray) -> pa.RecordBatch:
    """Return a table's rows as one batch, with their positions."""
    table = table.append_column(POSITION, pa.array(positions, pa.int64()))
    return concat(table.to_batches(), table.schema)


def reject_titles(rows: pa.RecordBatch, reason: str) -> pa.RecordBatch:
    """Return rows with a `title` and a position as rejects."""
    return reject_rows(rows.select(["title", POSITION]), np.full(rows.num_rows, reason, dtype=object))


def raw_rejects(positions: Sequence[int] | np.ndarray, reasons: Sequence[str], rows: Sequence[str]) -> pa.RecordBatch:
    arrays = [pa.array(positions, pa.int64()), pa.array(reasons, pa.string()), pa.array(rows, pa.string())]
    return pa.RecordBatch.from_arrays(arrays, schema=RAW_REJECTS)

"""Text with quotes or escapes to rows: fields may hold delimiters and line ends, so the text is read in one run.

Records whose quotes stand where quotes belong are found by their bytes and parsed by Arrow, a block at a time; an odd
record, and those just after it, go through Python's csv module. Both give the same rows.
"""

import csv
import dataclasses
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from molino.transforms.errors import BadLineError
from molino.transforms.rows.batches import sum_counters
from molino.transforms.text.encodings import STRAY, count_doubts
from molino.transforms.text.lines import Chunk, cut_lines, parse_clean, raw_rejects, show_line, with_position
from molino.transforms.text.position import LINE_BITS
from molino.transforms.text.sources import Source, TextFormat
from molino.transforms.warnings import Sighting

LINE = re.compile(rb"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+\Z")
NEWLINE, RETURN = b"\n\r"
WINDOW = 1 << 18  # bytes parsed at once: after an odd record what follows is looked at again
ODD_RUN = 256  # records after which the fast way is tried again
CHUNK_RECORDS = 65536


class _Lines:
    """Lines of a quoted text, one record's worth of which can be taken back; `number` and `bytes` are of those done."""

    def __init__(self, data: bytes, text: TextFormat):
        self.taken: list[bytes] = []
        self.number = self.bytes = 0
        self._lines, self._back, self._text = LINE.finditer(data), list[bytes](), text
        self._marks = f"{text.escape}{text.quote}{text.mark}\r\n"

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._back.pop() if self._back else next(self._lines)[0]
        self.taken.append(line)
        ending = len(line) - len(line.rstrip(b"\r\n"))
        if sum(map(len, self.taken)) - ending > self._text.max_line_bytes:
            raise BadLineError("line_too_long" if len(self.taken) == 1 else "unclosed_quote")
        if b"\0" in line:
            raise BadLineError("nul_byte")
        try:
            decoded = line.decode(self._text.encoding)
        except UnicodeDecodeError:
            raise BadLineError("bad_encoding") from None
        escape = self._text.escape
        if not escape or escape not in decoded:
            return decoded
        return re.sub(f"{re.escape(escape)}(.)", lambda pair: escape * (pair[1] not in self._marks) + pair[0], decoded)

    def accept(self, count: int | None = None) -> bytes:
        """Count the first `count` lines taken (all by default) as done, and give the others back."""
        count = len(self.taken) if count is None else count
        done, self._back = self.taken[:count], self._back + self.taken[count:][::-1]
        self.taken, self.number, self.bytes = [], self.number + len(done), self.bytes + sum(map(len, done))
        return b"".join(done)


def parse_quoted(blocks: Iterator[bytes], source: Source, text: TextFormat, span_number: int) -> Iterator[Chunk]:
    """Parse blocks of whole lines of quoted text.

    Where the quoting of a record makes no sense its first line is the reject, and reading goes on at the next line:
    a quote that is never closed costs one line, not the rest of the file.
    """
    csv.field_size_limit(max(csv.field_size_limit(), text.max_line_bytes))  # its own is 128 KiB
    size = max(WINDOW, 2 * text.max_line_bytes + 8)  # bytes that hold any record, and the line at which it proves none
    held, at, line, ended = b"", 0, 0, False
    chunks: list[Chunk] = []
    while True:
        while len(held) - at < size and not ended:
            block = next(blocks, None)
            held, at, ended = held[at:] + (block or b""), 0, block is None
        window = held[at : at + size]
        if not window:
            break
        complete, position = ended and at + size >= len(held), (span_number << LINE_BITS) + line
        chunk = parse_clean_records(window, source, text, position, ended=complete)
        chunk = chunk or parse_odd_records(window, source, text, position, ended=complete)
        at, line = at + chunk.bytes, line + chunk.lines
        doubts = count_doubts(*cut_lines(window[: chunk.bytes]), text.codec, position, text.max_line_bytes)
        chunks.append(dataclasses.replace(chunk, counters=sum_counters([chunk.counters, doubts])))
        if sum(chunk.records for chunk in chunks) >= CHUNK_RECORDS:
            yield _join(chunks)
            chunks = []
    if chunks:
        yield _join(chunks)


def _join(chunks: Sequence[Chunk]) -> Chunk:
    return Chunk(
        rows=pa.concat_batches([chunk.rows for chunk in chunks]),
        rejects=pa.concat_batches([chunk.rejects for chunk in chunks]),
        records=sum(chunk.records for chunk in chunks),
        lines=sum(chunk.lines for chunk in chunks),
        bytes=sum(chunk.bytes for chunk in chunks),
        counters=sum_counters(chunk.counters for chunk in chunks),
    )


def parse_clean_records(data: bytes, source: Source, text: TextFormat, position: int, *, ended: bool) -> Chunk | None:
    """Parse the records at the start of a text, up to the first that is odd or not complete; None when there is none.

    Clean is a record of the header's number of fields, in which every quote opens a field, closes one, or is one of two
    side by side within one; with neither a lone carriage return nor one within quotes, no escape, and nothing that
    makes any record a reject. `position`: of the first line. `ended`: whether nothing follows: the last record is
    complete without a line end.
    """
    if text.mark != text.delimiter:
        return None
    length = len(data)
    if ended and not data.endswith(b"\n"):
        data += b"\n"
    starts, ends = clean_bounds(data, len(source.header), text)
    clean = data[: ends[-1]] if len(ends) else b""
    try:
        decoded = clean if clean.isascii() else clean.decode(text.encoding).encode()
    except UnicodeDecodeError as error:
        count = int(np.searchsorted(ends, error.start, side="right"))
        starts, ends = starts[:count], ends[:count]
        clean = data[: ends[-1]] if len(ends) else b""
        decoded = clean.decode(text.encoding).encode()
    table = parse_clean(decoded, len(ends), source, text) if len(ends) else None
    if table is None:
        return None
    newlines = np.flatnonzero(np.frombuffer(clean, np.uint8) == NEWLINE)
    return Chunk(
        rows=with_position(table, position + np.searchsorted(newlines, starts)),
        records=len(ends),
        lines=len(newlines),
        bytes=min(len(clean), length),
    )


def clean_bounds(data: bytes, fields: int, text: TextFormat) -> tuple[np.ndarray, np.ndarray]:
    """Return the (n,) offsets at which the clean records at the start of a text begin, and just after which they end.

    Of a text in any encoding: bytes that are no text in it are not looked for.
    """
    values = np.frombuffer(data, np.uint8)
    delimiter, quote = ord(text.mark), ord(text.quote or "\n")
    newlines, delimiters = np.flatnonzero(values == NEWLINE), np.flatnonzero(values == delimiter)
    quotes = np.flatnonzero(values == quote) if text.quote else newlines[:0]
    stop = data.find(text.escape.encode()) if text.escape else -1
    stop = stop if stop >= 0 else len(data)
    if len(quotes):
        opens, closes = quotes[0::2], quotes[1::2]
        paired = np.diff(quotes, append=-1) == 1  # with the quote after it
        before = values[opens - 1]
        starts_field = (opens == 0) | (before == NEWLINE) | (before == delimiter)
        starts_field[1:] |= paired[1::2][: len(opens) - 1]
        after = values[np.minimum(closes + 1, len(data) - 1)]
        ends_field = (after == NEWLINE) | (after == delimiter) | (after == RETURN) | paired[1::2][: len(closes)]
        stop = min([stop, *opens[~starts_field][:1].tolist(), *closes[~ends_field][:1].tolist()])
    # those that stand in no quotes
    newlines, delimiters = (each[np.searchsorted(quotes, each) % 2 == 0] for each in (newlines, delimiters))
    if b"\r" in data:
        returns = np.flatnonzero(values == RETURN)
        alone = values[np.minimum(returns + 1, len(data) - 1)] != NEWLINE
        alone |= np.searchsorted(quotes, returns) % 2 == 1
        stop = min([stop, *returns[alone][:1].tolist()])
    if (nul := data.find(b"\0")) >= 0:
        stop = min(stop, nul)
    ends = newlines[: np.searchsorted(newlines, stop)] + 1
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    lengths = ends - starts - 1 - (values[np.maximum(ends - 2, 0)] == RETURN)
    found = np.diff(np.searchsorted(delimiters, ends), prepend=0) + 1
    odd = np.flatnonzero((lengths <= 0) | (lengths > text.max_line_bytes) | (found != fields))
    count = odd[0] if len(odd) else len(ends)
    return starts[:count], ends[:count]


def parse_odd_records(data: bytes, source: Source, text: TextFormat, position: int, *, ended: bool) -> Chunk:
    """Parse one or more records at the start of a text with Python's csv module.

    Stops where the text may hold only a part of the next record. A quote within an unquoted field is a letter, and
    counted, unless it may as well open a field that has lost its delimiter: then the record is a reject.
    """
    feed = _Lines(data, text)
    limit = len(data) if ended else len(data) - 2 * text.max_line_bytes - 8
    wanted = [source.header.index(c) if c in source.header else -1 for c in text.columns.values()]
    rows: list[list[str | None]] = []
    positions: list[int] = []
    bad: list[tuple[int, str, str]] = []
    letters: list[int] = []
    reader = _csv_reader(feed, text)
    while len(rows) + len(bad) < ODD_RUN and (feed.bytes <= limit or not feed.number):
        place, reason = position + feed.number, ""
        try:
            fields = next(reader)
        except StopIteration:
            break
        except BadLineError as error:
            reason = str(error)
        except csv.Error as error:
            reason = "unclosed_quote" if "end of data" in str(error) else "bad_quoting"
        record, letter = feed.accept(1 if reason else None), False
        if reason:
            reader = _csv_reader(feed, text)
        else:
            reason, letter = judge_record(fields, record, len(source.header), text)
        if reason:
            bad.append((place, reason, show_line(record, text)))
        else:
            rows.append([fields[i] if i >= 0 else None for i in wanted])
            positions.append(place)
            letters += [place] if letter else []
    table = pa.table({name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(text.columns)})
    return Chunk(
        rows=with_position(table, np.asarray(positions, dtype=np.int64)),
        rejects=raw_rejects([at for at, _, _ in bad], [why for _, why, _ in bad], [shown for _, _, shown in bad]),
        records=len(rows) + len(bad),
        lines=feed.number,
        bytes=feed.bytes,
        counters={STRAY: Sighting(len(letters), letters[0])} if letters else {},
    )


def judge_record(fields: list[str], record: bytes, count: int, text: TextFormat) -> tuple[str, bool]:
    """Return why to reject a record that the csv module has parsed, or "", and whether a quote is a letter in it.

    Of `24" LCD,"new, boxed"` the first quote is a letter. Of `$78"Table, 48"` it may be one, or what is left of
    `$78,"Table, 48"`: the text from it to a quote that ends a field holds a delimiter.
    """
    if not fields:
        return "empty_line", False
    width = "too_many_fields" if len(fields) > count else "too_few_fields" if len(fields) < count else ""
    width = "trailing_delimiter" if len(fields) == count + 1 and fields[-1] == "" else width
    if not text.quote or text.quote.encode() not in record or (text.escape and text.escape.encode() in record):
        return width, False
    line = record.decode(text.encoding).rstrip("\r\n")
    mark, quote = re.escape(text.mark), re.escape(text.quote)
    delimiter = mark if text.mark == text.delimiter else f"{mark} *"
    quoted = f"{quote}(?:[^{quote}]|{quote}{quote})*{quote}(?=$|{delimiter})"
    letter = False
    for unquoted in re.finditer(f"(?:^|{delimiter})(?:{quoted}|([^{mark}]*))", line, re.DOTALL):
        for at in re.finditer(quote, unquoted[1] or ""):
            letter = True
            opened = re.compile(quoted, re.DOTALL).match(line, unquoted.start(1) + at.start())
            if opened and text.mark in opened[0]:
                return "bad_quoting", False
    return width, letter and not width


def _csv_reader(feed: _Lines, text: TextFormat) -> Iterator[list[str]]:
    return csv.reader(
        feed,
        delimiter=text.mark,
        skipinitialspace=text.mark != text.delimiter,
        quotechar=text.quote or None,
        escapechar=text.escape or None,
        quoting=csv.QUOTE_MINIMAL if text.quote else csv.QUOTE_NONE,
        strict=True,
    )

"""Quoted text to rows: fields may hold delimiters and line ends, so the text is read in one run."""

import csv
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from transforms.parse import CLIP, LINE_BITS, Chunk, raw_rejects, show_shape, with_position
from transforms.sources import Source, TextFormat


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
        ending = len(line) - len(line.rstrip(b"\r\n"))
        if sum(map(len, self.taken)) - ending > self._text.max_line_bytes:
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
    csv.field_size_limit(max(csv.field_size_limit(), text.max_line_bytes))  # its own is 128 KiB
    feed = _Lines(lines, text)
    wanted = [source.header.index(name) for name in text.columns.values()]
    rows: list[list[str]] = []
    positions: list[int] = []
    bad: list[tuple[int, str, str]] = []
    done_lines = 0

    def chunk() -> Chunk:
        table = pa.table({name: pa.array([r[i] for r in rows], pa.string()) for i, name in enumerate(text.columns)})
        return Chunk(
            rows=with_position(table, np.asarray(positions, dtype=np.int64)),
            rejects=raw_rejects(*(list(column) for column in zip(*bad, strict=True)))
            if bad
            else raw_rejects([], [], []),
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

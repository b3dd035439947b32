"""Read delimited text and Parquet: any number of files, in parallel pieces, without losing a record.

Every line becomes either a row of a batch or a row of the rejects. A row's `position` orders all rows of all files
as the files were listed and as their lines stand: it is the number of the span that the line starts in, then the
line's number within it. The line's number in its file is known only when all spans are read (see `line_table`).
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa

from molino.schemas.rejects import REJECTS
from molino.transforms import progress
from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.rows.batches import Counters, concat
from molino.transforms.rows.gather import Gather
from molino.transforms.rows.outputs import NamedOutputs, ParDoInto
from molino.transforms.text.clean import clean_values
from molino.transforms.text.fields import count_fields
from molino.transforms.text.json_lines import parse_json
from molino.transforms.text.lines import Chunk, cut_lines, fill_folder_columns, parse_lines, reject_headers
from molino.transforms.text.position import LINE_BITS, POSITION, LineTable, locate_sightings
from molino.transforms.text.quoted import parse_quoted
from molino.transforms.text.row_groups import read_groups
from molino.transforms.text.sources import Source, Span, TextFormat, split_sources
from molino.transforms.text.unpack import line_end, unpacked_blocks


def read_span(span: Span, text: TextFormat, block_bytes: int, *, doubt_fields: bool = True) -> Iterator[Chunk]:
    """Read the records of a span. Memory: a few times the span, or `block_bytes` for a text that is not split.

    `doubt_fields`: count what is doubtful about values, see `count_fields`; of columns of numbers all would be. Raises
    DataError: the file is damaged, or became shorter.
    """
    text = span.source.format_of(text)
    unquoted = not (text.quote or span.source.json or span.source.is_table)
    for chunk in _read_span(span, text, block_bytes):
        found = reject_headers(chunk, span.source, text)
        rows, changed = clean_values(fill_folder_columns(found.rows, span.source), text)
        counts = count_fields(rows, unquoted=unquoted) if doubt_fields else {}
        yield dataclasses.replace(found, rows=rows, counters={**found.counters, **changed, **counts})


def _read_span(span: Span, text: TextFormat, block_bytes: int) -> Iterator[Chunk]:
    source = span.source
    if source.is_table:
        yield from read_groups(span, text)
        return
    whole = source.kind == "plain" and not text.framed
    lines = _span_lines(span, block_bytes, text.max_line_bytes, whole=whole)
    yield from parse_blocks(lines, source, text, span.number)


def cut_source(source: Source, text: TextFormat, piece_bytes: int) -> tuple[TextFormat, list[Span], list[int]]:
    """Return how a text is to be read, its pieces, and how many records each has: all of it is read once.

    Where neither quote nor escape occurs lines are records: then they are counted and not parsed, and the text can be
    cut.
    """
    pieces, counts = split_sources([source], piece_bytes), []
    text = source.format_of(text)
    for piece in pieces:
        records = 0
        for block in _span_lines(piece, piece_bytes, text.max_line_bytes, whole=source.kind == "plain"):
            if any(mark and mark.encode() in block for mark in (text.quote, text.escape)):
                pieces = split_sources([source], piece_bytes, quoted=True)
                return text, pieces, [sum(chunk.records for chunk in _read_span(pieces[0], text, piece_bytes))]
            records += len(cut_lines(block)[1])
        counts.append(records)
    return dataclasses.replace(text, quote="", escape=""), pieces, counts


def parse_blocks(blocks: Iterator[bytes], source: Source, text: TextFormat, span_number: int) -> Iterator[Chunk]:
    """Parse blocks of whole lines of a text in its own format."""
    if text.framed:
        yield from parse_quoted(blocks, source, text, span_number)
        return
    line, parse = 0, parse_json if source.json else parse_lines
    for block in blocks:
        chunk = parse(block, source, text, span_number, line)
        line += chunk.lines
        yield chunk


def _span_lines(span: Span, size: int, max_line: int, *, whole: bool) -> Iterator[bytes]:
    """Yield the lines of a span: all at once, which only a plain text can be read, or in blocks of about `size`."""
    return iter([read_span_bytes(span, max_line)]) if whole else _line_blocks(span.source, size, max_line)


def read_span_bytes(span: Span, max_line: int) -> bytes:
    """Return the bytes of the lines that start in a span of a plain file, without the rest of an over-long last one."""
    source = span.source
    with storage.open_input(source.path) as file, storage.explained(source.path, "read"):
        first = span.start == source.start
        begin = span.start if first else span.start - 1
        file.seek(begin)
        data = file.read(span.end - begin)
        if len(data) < span.end - begin:
            raise DataError(f"{source.path} became shorter while it was read; run again when it is complete")
        skip = 0 if first else line_end(data)
        if skip < 0 or begin + skip >= span.end:
            return b""
        tail = b"" if data.endswith((b"\n", b"\r")) else file.read(max_line + 2)
        end = line_end(tail)
        return b"".join([memoryview(data)[skip:], tail if end < 0 else tail[:end]])


def _line_blocks(source: Source, size: int, max_line: int) -> Iterator[bytes]:
    """Yield an unpacked text in blocks of whole lines; a line that is too long is cut, and its rest is left out."""
    held, skip, cutting = b"", source.start, False
    for block in unpacked_blocks(source.path, source.kind, source.member, size):
        if skip:
            block, skip = block[skip:], max(0, skip - len(block))
        # a final \r may be half of a \r\n: wait for the next block
        block = held + block
        held = b""
        if cutting:
            end = line_end(block)
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
    if held and not cutting:
        yield held


def line_table(lines: Iterable[tuple], spans: Sequence[Span], sources: Sequence[Source]) -> LineTable:
    """Return the table of where spans start, from the (span number, lines) of every span.

    A third value is that of LineTable.longer. Raises DataError: a span's count is missing. No other sum would show it:
    only the line numbers would be wrong.
    """
    given = [(number, count, where) for number, count, *where in lines]
    held = {number: count for number, count, _ in given}
    longer = {number: where[0] for number, _, where in given if where and where[0].size}
    lost = [span.number for span in spans if span.number not in held]
    if lost:
        raise DataError(f"the runner lost the line counts of {len(lost)} spans; nothing was published; run again")
    counts = np.array([held[span.number] for span in spans], np.int64)
    source_of = np.array([span.source_number for span in spans], np.int32)
    before = np.cumsum(counts) - counts
    heads = np.flatnonzero(np.diff(source_of, prepend=-1))  # the first span of each source
    base = np.repeat(before[heads], np.diff(np.append(heads, len(spans))))
    first = np.array([source.first_line for source in sources], np.int64)[source_of]
    return LineTable(tuple(source.label for source in sources), source_of, before - base + first, longer)


def _read_lines(span: Span, text: TextFormat, block_bytes: int) -> Iterator[object]:
    lines, last, longer, quoted = 0, -1, [np.zeros((2, 0), np.int64)], span.source.format_of(text).framed
    for chunk in read_span(span, text, block_bytes):
        lines += chunk.lines
        if quoted and chunk.records:
            held = np.concatenate([rows[POSITION].to_numpy() for rows in (chunk.rows, chunk.rejects)])
            starts = np.sort(held) & ((1 << LINE_BITS) - 1)
            skipped = np.diff(starts, prepend=last) - 1
            longer.append(np.stack([starts, skipped])[:, skipped > 0])
            last = int(starts[-1])
        progress.report("read", rows=chunk.records, bytes=chunk.bytes)
        yield beam.pvalue.TaggedOutput("counters", {"rows_read": chunk.records, **chunk.counters})
        if chunk.rejects.num_rows:
            yield beam.pvalue.TaggedOutput("rejects", chunk.rejects)
        if chunk.rows.num_rows:
            yield chunk.rows
    at, skipped = np.concatenate(longer, axis=1)
    yield beam.pvalue.TaggedOutput("lines", (span.number, lines, np.stack([at, np.cumsum(skipped)])))


class DelimitedRows(NamedTuple):
    """What `ReadDelimited` gives.

    `rows` are batches of the text's schema; `rejects` batches of position, reason and shape; `lines` is one LineTable;
    `counters` are `rows_read` of every chunk and what is doubtful.
    """

    rows: beam.PCollection[pa.RecordBatch]
    rejects: beam.PCollection[pa.RecordBatch]
    lines: beam.PCollection[Any]  # on its way what `line_table` takes of each span
    counters: beam.PCollection[Counters]


@dataclasses.dataclass(kw_only=True)
class ReadDelimited(NamedOutputs):
    """Read delimited text and Parquet in batches. Output: DelimitedRows."""

    sources: Sequence[Source]  # from `list_sources`
    text: TextFormat
    span_bytes: int = 16 << 20  # size of a piece of work; the output does not depend on it

    def expand(self, pipeline: beam.Pipeline) -> DelimitedRows:
        spans = split_sources(self.sources, self.span_bytes, quoted=self.text.framed)
        arguments = {"text": self.text, "block_bytes": self.span_bytes}
        read = (
            pipeline
            | "Spans" >> beam.Create(spans, reshuffle=False)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> ParDoInto(into=DelimitedRows, call=_read_lines, arguments=arguments)
        )
        sources = list(self.sources)
        table = read.lines | "Lines" >> Gather(into=line_table, arguments={"spans": spans, "sources": sources})
        counters = read.counters | "Located" >> beam.Map(locate_sightings, lines=beam.pvalue.AsSingleton(table))
        return read._replace(lines=table, counters=counters)


def sort_rejects(
    group: tuple[tuple[int, int], Iterable[pa.RecordBatch]],
) -> tuple[tuple[int, int], list[pa.RecordBatch]]:
    """Return one group of rejects as a shard, ordered by line."""
    key, parts = group
    return key, [concat(parts, REJECTS).sort_by([(name, "ascending") for name in ("line", "reason", "row")])]


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


class GatheredRejects(NamedTuple):
    """What `GatherRejects` gives: shards of REJECTS, keyed by source and million lines, and counters by reason."""

    shards: beam.PCollection[tuple[tuple[int, int], list[pa.RecordBatch]]]
    counters: beam.PCollection[Counters]


@dataclasses.dataclass(kw_only=True)
class GatherRejects(NamedOutputs):
    """Turn raw rejects into REJECTS, in the order of files and lines. Output: GatheredRejects."""

    lines: beam.PCollection[LineTable]  # of the read

    def expand(self, raw: beam.PCollection) -> GatheredRejects:
        located = beam.FlatMap(split_rejects, table=beam.pvalue.AsSingleton(self.lines))
        shards = (
            raw
            | "Locate" >> located.with_output_types(tuple[tuple[int, int], pa.RecordBatch])
            | "Group" >> beam.GroupByKey()
            | "Sort" >> beam.Map(sort_rejects)
        )
        return GatheredRejects(shards, raw | "CountRejects" >> beam.Map(count_rejects))

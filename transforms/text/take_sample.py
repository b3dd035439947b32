"""A small sample of delimited text or Parquet: how many records a byte has, and what they cost on their way."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms.rows.batches import empty
from molino.transforms.rows.coder import ArrowBatchCoder
from molino.transforms.rows.partition import PLACE
from molino.transforms.text.read import read_span
from molino.transforms.text.sources import PARQUET, Source, Span, TextFormat

SAMPLES, SAMPLE_BYTES = 8, 1 << 18
PIECE_ROWS = 4  # of a piece whose cost is looked at: where pieces count, they have few rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """What some of the records of delimited text or Parquet are like.

    Attributes:
      rows: batches of the records, as they are brought together.
      row_bytes: of a row in a file of such batches, all that it costs.
      piece, message: bytes that a batch costs besides its rows, in a file of batches and in a runner's shuffle.
      rows_a_byte: of text; 0 where none was looked at.
    """

    rows: Sequence[pa.RecordBatch]
    row_bytes: float
    piece: float
    message: float
    rows_a_byte: float

    def text_bytes(self, column: str) -> float:
        """Return the mean bytes of a column of strings."""
        sizes = [pc.sum(pc.binary_length(batch[column])).as_py() or 0 for batch in self.rows]
        return sum(sizes) / max(1, sum(batch.num_rows for batch in self.rows))


def take_sample(sources: Sequence[Source], text: TextFormat, keyed: Callable[..., Any] | None = None) -> Sample:
    """Return what the records of some files are like: eight pieces of a quarter of a megabyte, at other places of each.

    Args:
      keyed: what a job makes of the rows before it brings them together.
    """
    filled = [source for source in sources if not source.empty]
    records = size = 0
    batches = []
    seen = set()
    for place in range(SAMPLES if filled else 0):
        source = filled[place * len(filled) // SAMPLES]
        plain = source.kind == "plain" and not text.quote
        start = source.start + (source.bytes - source.start) * place // SAMPLES if plain else source.start
        piece = min(SAMPLE_BYTES, -(-(source.bytes - source.start) // SAMPLES))  # a small file is read to its end
        end = min(start + piece, source.bytes) if plain else source.bytes
        if source.kind == PARQUET:
            start, end = 0, 1
        if end <= start or (source.path, source.member, start) in seen:
            continue
        seen.add((source.path, source.member, start))
        span = Span(number=0, source=source, source_number=0, start=start, end=end)
        for chunk in read_span(span, text, SAMPLE_BYTES):
            if source.kind != PARQUET:
                records, size = records + chunk.records, size + chunk.bytes
            batches.append(keyed(chunk.rows) if keyed else chunk.rows)
            break
    kept = [batch for batch in batches if batch.num_rows]
    return Sample(rows=kept, rows_a_byte=records / size if size else 0.0, **_costs(kept))


def _costs(batches: Sequence[pa.RecordBatch]) -> dict[str, float]:
    """Return what a row, a piece and a message cost in bytes, by writing the rows as bucket files have them."""
    if not batches:
        return {"row_bytes": 0.0, "piece": 0.0, "message": 0.0}
    batches = [batch.append_column(PLACE, pa.array(np.zeros(batch.num_rows, np.uint8))) for batch in batches]
    rows = sum(batch.num_rows for batch in batches)
    whole = sum(_file_bytes([batch]) - _file_bytes([empty(batch.schema)]) for batch in batches) / rows
    first = batches[0]
    some = first.slice(0, 64)
    few = [some.slice(start, PIECE_ROWS) for start in range(0, some.num_rows, PIECE_ROWS)]
    piece = (_file_bytes(few) - _file_bytes([some])) / max(1, len(few) - 1)
    message = len(ArrowBatchCoder().encode(first.slice(0, 1))) - whole
    return {"row_bytes": whole, "piece": max(0.0, piece), "message": max(0.0, message)}


def _file_bytes(batches: Sequence[pa.RecordBatch]) -> int:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().size


def grown_distinct(columns: Sequence[pa.Array], rows: float) -> float:
    """Return how many distinct values so many rows have, by Heaps' law from those of a sample and of half of it."""
    if not columns:
        return 0.0
    values = pa.concat_arrays(columns)
    half = max(1, len(values) // 2)
    all_, few = pc.count_distinct(values).as_py(), pc.count_distinct(values.slice(0, half)).as_py()
    growth = math.log(all_ / few) / math.log(len(values) / half) if len(values) > half else 1.0
    return min(rows, all_ * (rows / len(values)) ** min(max(growth, 0.0), 1.0))

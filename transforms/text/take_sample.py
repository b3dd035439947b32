"""A small sample of delimited text or Parquet: how many records a byte has, and what they cost on their way."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from molino.transforms.rows.partition import PLACE
from molino.transforms.text.lines import Chunk
from molino.transforms.text.read import parse_blocks
from molino.transforms.text.row_groups import read_groups
from molino.transforms.text.sources import Source, Span, TextFormat

PIECE_ROWS = 4  # of a piece whose cost is looked at: where pieces count, they have few rows
FOOTER_BYTES = 24  # that a file of batches has for each


def take_sample(
    heads: Sequence[tuple[Source, bytes]], text: TextFormat, keyed: Callable[..., Any] | None = None
) -> tuple[float, float, float]:
    """Return how many records a byte of text has; and bytes of a row in a file of batches, and of a batch besides.

    `heads`: lines after the header, as a look at the files has read them; of Parquet the first rows are read here.
    `keyed`: what a job makes of the rows before it brings them together.
    """
    parsed = [(head, chunk) for source, head in heads for chunk in itertools.islice(_parse(source, head, text), 1)]
    records, size = (sum(getattr(chunk, name) for head, chunk in parsed if head) for name in ("records", "bytes"))
    batches = [keyed(chunk.rows) if keyed else chunk.rows for _, chunk in parsed]
    rows = [batch for batch in batches if batch.num_rows]
    if not rows:
        return records / max(1, size), 0.0, 0.0
    costs = [batch.append_column(PLACE, pa.array(np.zeros(batch.num_rows, np.uint8))) for batch in rows]
    row = sum(map(pa.ipc.get_record_batch_size, costs)) / sum(batch.num_rows for batch in costs)
    piece = pa.ipc.get_record_batch_size(costs[0].slice(0, PIECE_ROWS)) - row * min(PIECE_ROWS, costs[0].num_rows)
    return records / max(1, size), row, piece + FOOTER_BYTES


def _parse(source: Source, head: bytes, text: TextFormat) -> Iterator[Chunk]:
    if source.is_table:
        return read_groups(Span(number=0, source=source, source_number=0, start=0, end=1), text)
    return parse_blocks(iter([head]), source, source.format_of(text), 0)

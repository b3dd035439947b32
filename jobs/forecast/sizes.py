"""How much a job has to do, as far as a listing and a small sample of the input tell: nothing is run for it."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

# Arrow and the transforms are imported when an input is looked at: `--help` must not wait for them.
if TYPE_CHECKING:
    from molino.transforms.text.sources import Source, TextFormat
    from molino.transforms.text.take_sample import Sample


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """What a run is expected to meet. What does not apply to a job is 0 or empty.

    Attributes:
      files: input files, or members of zips.
      bytes: that will be read, unpacked.
      rows: records: rows, images or networks.
      exact: whether the rows were listed, and not reckoned from a sample.
      amounts: what processor time, bytes and memory grow with, by the names that the constants have.
      datasets: rows of data sets that follow from the input alone.
      shuffle: bytes that are brought together, pieces apart.
      batches: each is cut into as many pieces as there are shards, `pieces["write"]`; into fewer where they have no
        rows, and the runner's shuffle carries them.
      by_span: whether larger spans make larger batches; those of Parquet and of quoted text have 65,536 rows.
      piece, message: bytes that a piece costs besides its rows, in a bucket file and in a runner's shuffle.
      pieces: of each stage, how many parts of it can be worked on side by side.
      chunk: bytes of the largest part of the rows that a worker holds at once.
      held: bytes of models that each process holds.
    """

    files: int = 0
    bytes: int = 0
    rows: float
    exact: bool
    amounts: Mapping[str, float]
    datasets: Mapping[str, float] = dataclasses.field(default_factory=dict)
    shuffle: float = 0.0
    batches: int = 0
    by_span: bool = False
    piece: float = 0.0
    message: float = 0.0
    pieces: Mapping[str, int] = dataclasses.field(default_factory=dict)
    chunk: float = 0.0
    held: int = 0


def text_size(
    sources: "Sequence[Source]",
    text: "TextFormat",
    *,
    span_bytes: int,
    shards: int,
    keyed: Callable[..., Any] | None = None,
    amounts: Callable[["Sample", float], Mapping[str, float]] | None = None,
    more: Callable[["Sample", float], float] | None = None,
    held: int = 0,
    sample: "Sample | None" = None,
) -> Size:
    """Return what a job has to do that reads delimited text or Parquet and brings its rows together in shards.

    Args:
      keyed: see `take_sample`.
      amounts: from the sample and the rows to amounts besides `rows` and `shuffle`.
      more: the same, to bytes that a second shuffle brings together.
      held: see Size.
      sample: of records like those of the sources; by default it is taken from them.
    """
    from molino.transforms.text.quoted import CHUNK_RECORDS
    from molino.transforms.text.row_groups import BATCH_ROWS
    from molino.transforms.text.sources import PARQUET, split_sources
    from molino.transforms.text.take_sample import take_sample

    sample = sample or take_sample(sources, text, keyed)
    tables = sum(rows for source in sources for rows, _ in source.groups)
    texts = sum(source.bytes - source.start for source in sources if source.kind != PARQUET and not source.empty)
    rows = tables + texts * sample.rows_a_byte
    spans = split_sources(sources, span_bytes, quoted=bool(text.quote))
    batches = 0
    for span in spans:
        source = span.source
        if source.kind == PARQUET:
            batches += -(-sum(n for n, _ in source.groups[span.start : span.end]) // BATCH_ROWS)
        elif text.quote:
            batches += max(1, math.ceil((span.end - span.start) * sample.rows_a_byte / CHUNK_RECORDS))
        else:
            batches += 1 if source.kind == "plain" else -(-(span.end - span.start) // span_bytes)
    shuffle, total = rows * sample.row_bytes, sum(source.bytes for source in sources)
    return Size(
        files=len(sources),
        bytes=total,
        rows=rows,
        exact=not texts,
        amounts={"rows": rows, "shuffle": shuffle, **(amounts(sample, rows) if amounts else {})},
        shuffle=shuffle + (more(sample, rows) if more else 0.0),
        batches=batches,
        by_span=not text.quote and not tables,
        piece=sample.piece,
        message=sample.message,
        pieces={"read": len(spans), "reduce": shards, "write": shards, "finish": 1},
        # a worker holds a shard, or the span that it reads
        chunk=shuffle * max(1 / shards, min(1.0, span_bytes / max(1, total))),
        held=held,
    )

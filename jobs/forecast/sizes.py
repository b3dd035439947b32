"""How much a job has to do, as far as a listing and a look at the input tell: nothing is run for it."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

# Arrow and the transforms are imported when an input is looked at: `--help` must not wait for them.
if TYPE_CHECKING:
    from molino.transforms.text.sources import Source, TextFormat


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """What a run is expected to meet. What does not apply to a job is 0 or empty.

    Attributes:
      rows: records: rows, images or networks; None is not known.
      exact: whether the rows were listed, and not reckoned from a sample.
      datasets: rows of the main data sets at most: of how many are duplicates or rejects nothing is known.
      files: input files, or members of zips.
      read_bytes: of the input, unpacked.
      shuffle_bytes: that are brought together.
      overhead_bytes: those of them that are no rows: each batch is cut into as many pieces as there are shards.
      parts: of each stage, how many parts of it can be worked on side by side.
      amounts: what time, disk and memory grow with, by the names that the constants have.
    """

    rows: int | None = None
    exact: bool = True
    datasets: Mapping[str, int] = dataclasses.field(default_factory=dict)
    files: int = 0
    read_bytes: int = 0
    shuffle_bytes: int = 0
    overhead_bytes: int = 0
    parts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    amounts: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowWork:
    """What a job does with each row of its input.

    Attributes:
      keyed: see `take_sample`.
      models: bytes of the models that it asks.
      amounts: of the job's own, for each row.
    """

    keyed: Callable[..., Any] | None = None
    models: int = 0
    amounts: Mapping[str, float] = dataclasses.field(default_factory=dict)


def text_size(
    sources: "Sequence[Source]",
    heads: "Sequence[tuple[Source, bytes]]",
    text: "TextFormat",
    *,
    dataset: str,
    span_bytes: int,
    shards: int,
    work: RowWork = RowWork(),
) -> Size:
    """Return what a job has to do that reads delimited text or Parquet and brings its rows together in shards.

    Args:
      heads: see `take_sample`.
      dataset: the one that has a row for each that is read.
      work: what the job does with each row.
    """
    from molino.transforms.text.row_groups import BATCH_ROWS
    from molino.transforms.text.sources import PARQUET, split_sources
    from molino.transforms.text.take_sample import take_sample

    rows_a_byte, row_bytes, piece_bytes = take_sample(heads, text, work.keyed)
    tables = sum(rows for source in sources for rows, _ in source.groups)
    texts = sum(source.bytes - source.start for source in sources if source.kind != PARQUET and not source.empty)
    rows, total = round(tables + texts * rows_a_byte), sum(source.bytes for source in sources)
    spans = len(split_sources(sources, span_bytes, quoted=bool(text.quote)))
    # batches of Parquet and of quoted text have so many rows whatever the span
    pieces = shards * max(spans, math.ceil(rows / BATCH_ROWS if text.quote or tables else texts / span_bytes))
    shuffle, overhead = round(rows * row_bytes), round(pieces * piece_bytes)
    # a worker holds a shard, or the span that it reads
    chunk = shuffle * max(1 / shards, min(1.0, span_bytes / max(1, total)))
    own = {name: rows * each for name, each in work.amounts.items()}
    return Size(
        rows=rows,
        exact=not texts,
        datasets={dataset: rows},
        files=len(sources),
        read_bytes=total,
        shuffle_bytes=shuffle + overhead,
        overhead_bytes=overhead,
        parts={"read": spans, "write": shards},
        amounts={"rows": rows, "bytes": total, "pieces": pieces, "chunk": chunk, "models": work.models, **own},
    )

"""Write Parquet shards whose bytes depend on their rows alone, and describe each so that it can be verified."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa

import molino.transforms.rows.coder  # noqa: F401  batches travel as Arrow IPC
from molino.transforms import progress
from molino.transforms.parquet.shards import DEFAULT_LAYOUT, Layout, StagedFile, write_shard


@dataclasses.dataclass(kw_only=True)
class WriteParquet(beam.PTransform):
    """Write each element as one shard.

    Input: (key, batches), one element for a whole shard; a key is a number or a tuple of numbers and orders the shards.
    Each batch begins a new row group, so that a data set's digest does not depend on its number of shards.
    Output: a StagedFile for every shard that has rows. Memory: one shard per worker thread.
    """

    schema: pa.Schema  # of the file, with a name and a version
    folder: str  # the run's staging folder
    dataset: str  # folder of the output
    layout: Layout = DEFAULT_LAYOUT

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        return shards | f"Write {self.dataset}" >> beam.FlatMap(self._write).with_output_types(StagedFile)

    def _write(self, shard: tuple[int | tuple[int, ...], Sequence[pa.RecordBatch]]) -> Iterator[StagedFile]:
        key, batches = shard
        if held := [batch for batch in batches if batch.num_rows]:
            place: Any = {"folder": self.folder, "dataset": self.dataset, "layout": self.layout}
            yield write_shard(held, key=key if isinstance(key, tuple) else (key,), schema=self.schema, **place)
            progress.report("write", rows=sum(batch.num_rows for batch in held))

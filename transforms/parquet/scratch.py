"""What work units leave for later steps: scratch files of rows, read in the order of units."""

import dataclasses
from collections.abc import Iterator, Sequence

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from molino.transforms.files import storage
from molino.transforms.parquet.shards import StagedFile, write_if_any
from molino.transforms.rows.gather import Gather


def read_scratch(
    files: Sequence[StagedFile], scratch: str, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one kind of scratch files, in the order of units."""
    for file in sorted((file for file in files if file.dataset == scratch), key=lambda file: file.key):
        with storage.open_input(file.path) as raw:
            yield from pq.ParquetFile(raw).iter_batches(columns=columns)


@dataclasses.dataclass(kw_only=True)
class GatherScratch(beam.PTransform):
    """Write the rows of one kind of scratch files to one shard, in the order of units.

    Input: the scratch files of units. Output: a StagedFile, or none where there are no rows.
    """

    scratch: str  # the data set of the scratch files
    # dataset, schema: of the shard; the scratch files have all its columns
    dataset: str
    schema: pa.Schema
    folder: str  # the run's staging folder
    merge: bool = False  # one batch of all rows, instead of those of the files

    def expand(self, files: beam.PCollection) -> beam.PCollection:
        gathered = files | "Gather" >> Gather(into=self._gather)
        return gathered | "Each" >> beam.FlatMap(list).with_output_types(StagedFile)

    def _gather(self, files: Sequence[StagedFile]) -> list[StagedFile]:
        batches: Iterator[pa.RecordBatch] = read_scratch(files, self.scratch, self.schema.names)
        if self.merge:
            batches = iter(pa.Table.from_batches(batches).combine_chunks().to_batches())
        return write_if_any(batches, schema=self.schema, folder=self.folder, dataset=self.dataset, key=(0,))

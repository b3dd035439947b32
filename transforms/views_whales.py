"""The contact sheet of the whales job: gather the cards of all units and stage the report's pages."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from transforms.extract_regions import CARDS, scratch_batches
from transforms.parquet import StagedFile, write_view


def write_report(
    _: bytes, files: Sequence[StagedFile], counters: Sequence[Mapping[str, int]], run: Any, most: int
) -> Iterator[StagedFile | beam.pvalue.TaggedOutput]:
    """Stage the pages of the report; nothing but the rows and the options goes into them."""
    plain = [name for name in CARDS.names if name != "thumbnail"]
    schema = pa.schema([CARDS.field(name) for name in plain])
    cards = pa.Table.from_batches(scratch_batches(files, "_cards", plain), schema)
    duplicates = len(cards) - pc.count_distinct(cards["sha256"]).as_py()
    yield beam.pvalue.TaggedOutput("counters", {"duplicates": duplicates})
    yield write_view(b"<p>", folder=run.staging, name="report.html")


@dataclasses.dataclass(kw_only=True)
class WriteReport(beam.PTransform):
    """Stage the report. Input: the scratch files of units. Output: `files`, and `counters` with `duplicates`.

    Attributes:
      run: gives staging folder, options and inputs.
      counters: of the whole run.
      most: images that are shown.
    """

    run: Any
    counters: beam.PCollection
    most: int

    def expand(self, scratch: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        return (
            scratch.pipeline
            | "Once" >> beam.Impulse()
            | "WriteReport"
            >> beam.FlatMap(
                write_report,
                beam.pvalue.AsList(scratch),
                beam.pvalue.AsList(self.counters),
                run=self.run,
                most=self.most,
            ).with_outputs("counters", main="files")
        )

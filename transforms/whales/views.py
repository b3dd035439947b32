"""The contact sheet of the whales job: gather the cards of all units and stage the report's pages."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms.parquet.scratch import read_scratch
from molino.transforms.parquet.shards import StagedFile, write_view
from molino.transforms.rows.batches import sum_counters
from molino.transforms.whales.extract import CARDS
from molino.transforms.whales.report import whales_report


def read_thumbnails(files: Sequence[StagedFile], rows: Sequence[int]) -> dict[int, bytes]:
    """Return the thumbnails of some cards, by their number over all units; opens only the files that hold them."""
    wanted = set(rows)
    found: dict[int, bytes] = {}
    start = 0
    for file in sorted((file for file in files if file.dataset == "_cards"), key=lambda file: file.key):
        numbers = range(start, start + file.rows)
        start = numbers.stop
        if wanted.isdisjoint(numbers):
            continue
        column = (value for part in read_scratch([file], "_cards", ["thumbnail"]) for value in part["thumbnail"])
        found |= {row: value.as_py() for row, value in zip(numbers, column, strict=True) if row in wanted}
    return {row: jpeg for row, jpeg in found.items() if jpeg is not None}


def write_report(
    _: bytes, files: Sequence[StagedFile], counters: Sequence[Mapping[str, int]], run: Any, most: int
) -> Iterator[StagedFile | beam.pvalue.TaggedOutput]:
    """Stage the pages of the report; nothing but the rows and the options goes into them."""
    plain = [name for name in CARDS.names if name != "thumbnail"]
    cards = pa.Table.from_batches(
        read_scratch(files, "_cards", plain), pa.schema([CARDS.field(name) for name in plain], CARDS.metadata)
    )
    found = {"duplicates": len(cards) - pc.count_distinct(cards["sha256"]).as_py()}
    yield beam.pvalue.TaggedOutput("counters", found)
    # how many units were resumed is of this attempt, not of the rows
    totals = {name: n for name, n in sum_counters([*counters, found]).items() if not name.startswith("units")}
    pages = whales_report(
        cards,
        lambda rows: read_thumbnails(files, rows),
        counters=totals,
        options=run.options,
        inputs=run.inputs,
        warnings=run.warnings_of(totals),
        expected=run.expected,
        most=most,
    )
    for name, html in pages:
        yield write_view(html.encode(), folder=run.staging, name=name)


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

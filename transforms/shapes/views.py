"""The report of the shapes job: gather what the networks came to, and stage the page."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa

from molino.transforms.parquet.scratch import read_scratch
from molino.transforms.parquet.shards import StagedFile, write_view
from molino.transforms.rows.batches import sum_counters
from molino.transforms.shapes.report import shapes_report
from molino.transforms.shapes.run_network import CARDS, RUN_CARDS


def write_report(
    _: bytes, files: Sequence[StagedFile], counters: Sequence[Mapping[str, int]], run: Any
) -> Iterator[StagedFile]:
    """Stage the report; nothing but the rows, the pictures and the options goes into it.

    Memory: the thumbnails of all networks, some 10 kB each.
    """
    cards = pa.Table.from_batches(read_scratch(files, RUN_CARDS), CARDS)
    # how many units were resumed is of this attempt, and times are of this machine
    totals = {name: n for name, n in sum_counters(counters).items() if not name.startswith("units")}
    plain = cards.drop_columns(["seconds"])
    html = shapes_report(
        plain, counters=totals, options=run.options, warnings=run.warnings_of(totals), expected=run.expected
    )
    yield write_view(html.encode(), folder=run.staging, name="report.html")


@dataclasses.dataclass(kw_only=True)
class WriteReport(beam.PTransform):
    """Stage the report. Input: the scratch files of units. Output: its StagedFile.

    Attributes:
      run: gives staging folder, options and warnings.
      counters: of the whole run.
    """

    run: Any
    counters: beam.PCollection

    def expand(self, scratch: beam.PCollection) -> beam.PCollection:
        return (
            scratch.pipeline
            | "Once" >> beam.Impulse()
            | "WriteReport"
            >> beam.FlatMap(write_report, beam.pvalue.AsList(scratch), beam.pvalue.AsList(self.counters), run=self.run)
        )

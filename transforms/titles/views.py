"""What the report shows of the titles, gathered while they are written, and the report itself."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam

from molino.transforms.models.embed import Model
from molino.transforms.parquet.shards import StagedFile, write_view
from molino.transforms.rows.batches import sum_counters
from molino.transforms.rows.gather import Gather
from molino.transforms.titles.glance import Glance, combine_glances
from molino.transforms.titles.labels import Labels
from molino.transforms.titles.report import titles_report


def write_report(
    glances: list[Glance], labels: Labels, counters: list[Mapping[str, int]], run: Any, models: Sequence[Model]
) -> StagedFile:
    """Stage the report; nothing but the data and the options goes into it."""
    totals = sum_counters(counters)
    report = titles_report(
        combine_glances(glances),
        labels.table,
        models=[dataclasses.asdict(model) for model in models],
        counters=totals,
        options=run.options,
        inputs=run.inputs,
        warnings=run.warnings_of(totals),
        expected=run.expected,
    )
    return write_view(report.encode(), folder=run.staging, name="report.html")


@dataclasses.dataclass(kw_only=True)
class WriteReport(beam.PTransform):
    """Stage the report. Input: all Glances of the run. Output: one StagedFile.

    Attributes:
      run: gives staging folder, options and inputs.
      models: that the titles are embedded with.
      labels: one Labels.
      counters: of the whole run.
    """

    run: Any
    models: Sequence[Model]
    labels: beam.PCollection
    counters: beam.PCollection

    def expand(self, glances: beam.PCollection) -> beam.PCollection:
        arguments = {
            "labels": beam.pvalue.AsSingleton(self.labels),
            "counters": beam.pvalue.AsList(self.counters),
            "run": self.run,
            "models": list(self.models),
        }
        return glances | "Report" >> Gather(into=write_report, arguments=arguments)

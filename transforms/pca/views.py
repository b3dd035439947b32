"""The report of the pca job and the summary that R prints, staged beside the components."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam

from molino.transforms.parquet.shards import StagedFile, write_view
from molino.transforms.pca.print_variance import print_variance
from molino.transforms.pca.report import pca_report
from molino.transforms.pca.rotate import Findings, stage_components
from molino.transforms.rows.batches import sum_counters


def write_findings(
    findings: Findings, counters: Sequence[Mapping[str, int]], run: Any
) -> Iterator[StagedFile | beam.pvalue.TaggedOutput]:
    """Stage components, errors, summary and report, and count what was findings."""
    components = findings.components
    known = {"numbers": len(components.singular), "components": findings.kept, "refined": int(findings.refined)}
    known["_spanned"] = components.spanned
    yield beam.pvalue.TaggedOutput("counters", known)
    totals = sum_counters([*counters, known])
    yield from stage_components(findings, run.staging)
    summary = print_variance(findings.components, findings.kept)
    yield write_view(summary.encode(), folder=run.staging, name="summary.txt")
    report = pca_report(
        findings.components,
        findings.sample,
        findings.stored,
        findings.errors.to_pylist(),
        counters=totals,
        options=run.options,
        inputs=run.inputs,
        warnings=run.warnings_of(totals),
        expected=run.expected,
    )
    yield write_view(report.encode(), folder=run.staging, name="report.html")


@dataclasses.dataclass(kw_only=True)
class WriteFindings(beam.PTransform):
    """Stage components, errors, summary and report. Input: one Findings. Output: `files` and `counters`.

    Attributes:
      run: gives staging folder, options and inputs.
      counters: of what was read.
    """

    run: Any
    counters: beam.PCollection

    def expand(self, found: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        return found | "Findings" >> beam.FlatMap(
            write_findings, counters=beam.pvalue.AsList(self.counters), run=self.run
        ).with_outputs("counters", main="files")

"""The report of the pca job and the summary that R prints, staged beside the components."""

from collections.abc import Iterator, Mapping
from typing import Any

from molino.transforms.parquet.shards import StagedFile, write_view
from molino.transforms.pca.print_variance import print_components
from molino.transforms.pca.report import TERMS, pca_report
from molino.transforms.pca.rotate import Findings, stage_components
from molino.transforms.report.run import RunFacts


def write_findings(
    findings: Findings, counters: Mapping[str, int], run: Any
) -> Iterator[StagedFile | Mapping[str, int]]:
    """Stage components, errors, summary and report, and count the components."""
    components = findings.components
    counted = {"numbers": len(components.singular), "components": findings.kept, "refined": int(findings.refined)}
    counted["_spanned"] = components.spanned
    yield counted
    yield from stage_components(findings, run.staging)
    columns = run.options["column"]
    names = columns if len(columns) == len(components.singular) else []
    summary = print_components(components, findings.kept, names)
    yield write_view(summary.encode(), folder=run.staging, name="summary.txt")
    facts = RunFacts.of(run, {**counters, **counted}, TERMS)
    errors = findings.errors.to_pylist()
    report = pca_report(components, findings.sample, findings.stored, errors, facts, names)
    yield write_view(report.encode(), folder=run.staging, name="report.html")

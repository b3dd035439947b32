"""The report of the titles job, staged."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from molino.transforms.models.embed import Model
from molino.transforms.parquet.shards import StagedFile, write_view
from molino.transforms.report.run import RunFacts
from molino.transforms.titles.glance import Glance, combine_glances
from molino.transforms.titles.labels import Labels
from molino.transforms.titles.report import TERMS, titles_report


def write_titles_report(
    glances: list[Glance], counters: Mapping[str, int], run: Any, *, labels: Labels, models: Sequence[Model]
) -> Iterator[StagedFile]:
    """Stage the report; nothing but the data and the options goes into it."""
    report = titles_report(combine_glances(glances), labels.table, models, RunFacts.of(run, counters, TERMS))
    yield write_view(report.encode(), folder=run.staging, name="report.html")

"""The report of the shapes job: gather what the networks came to, and stage the page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from molino.transforms.parquet.scratch import read_scratch
from molino.transforms.parquet.shards import StagedFile, write_view
from molino.transforms.report.run import RunFacts
from molino.transforms.shapes.report import TERMS, shapes_report
from molino.transforms.shapes.run_network import CARDS, RUN_CARDS


def write_shapes_report(files: Sequence[StagedFile], counters: Mapping[str, int], run: Any) -> Iterator[StagedFile]:
    """Stage the report; nothing but the rows, the pictures and the options goes into it.

    Memory: the thumbnails of all networks, some 10 kB each.
    """
    cards = pa.Table.from_batches(read_scratch(files, RUN_CARDS), CARDS).drop_columns(
        ["seconds"]
    )  # times are of this machine
    report = shapes_report(cards, RunFacts.of(run, counters, TERMS))
    yield write_view(report.encode(), folder=run.staging, name="report.html")

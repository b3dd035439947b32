"""The contact sheet of the whales job: gather the cards of all units and stage the report's pages."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms.parquet.scratch import read_scratch
from molino.transforms.parquet.shards import StagedFile, write_view
from molino.transforms.report.run import RunFacts
from molino.transforms.whales.extract import CARDS
from molino.transforms.whales.report import TERMS, whales_report


def read_thumbnails(files: Sequence[StagedFile], rows: Sequence[int]) -> dict[int, bytes]:
    """Return the thumbnails of some cards, by their number over all units; opens only the files that hold them."""
    wanted, start = set(rows), 0
    found: dict[int, bytes] = {}
    for file in sorted((file for file in files if file.dataset == "_cards"), key=lambda file: file.key):
        numbers = range(start, start + file.rows)
        start = numbers.stop
        if wanted.isdisjoint(numbers):
            continue
        column = (value for part in read_scratch([file], "_cards", ["thumbnail"]) for value in part["thumbnail"])
        found |= {row: value.as_py() for row, value in zip(numbers, column, strict=True) if row in wanted}
    return {row: jpeg for row, jpeg in found.items() if jpeg is not None}


def write_contact_sheet(
    files: Sequence[StagedFile], counters: Mapping[str, int], run: Any, *, most: int
) -> Iterator[StagedFile | Mapping[str, int]]:
    """Stage the pages of the report, and count duplicates; nothing but the rows and the options goes into them.

    Args:
      most: images that are shown.
    """
    plain = [name for name in CARDS.names if name != "thumbnail"]
    schema = pa.schema([CARDS.field(name) for name in plain], CARDS.metadata)
    cards = pa.Table.from_batches(read_scratch(files, "_cards", plain), schema)
    counted = {"duplicates": len(cards) - pc.count_distinct(cards["sha256"]).as_py()}
    yield counted
    facts = RunFacts.of(run, {**counters, **counted}, TERMS)
    for name, html in whales_report(cards, lambda rows: read_thumbnails(files, rows), facts, most=most):
        yield write_view(html.encode(), folder=run.staging, name=name)

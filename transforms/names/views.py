"""The name tables as Parquet, as CSV, and in a report."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms.errors import DataError
from molino.transforms.names.count import NameTables
from molino.transforms.names.report import TERMS, names_report
from molino.transforms.parquet.shards import StagedFile, write_if_any, write_view
from molino.transforms.report.run import RunFacts


def to_csv(table: pa.Table) -> bytes:
    """Return a table as CSV in UTF-8, values as they are.

    A spreadsheet may take a name that begins with =, +, - or @ for a formula; what reads the tables may not be misled
    by a mark against that, so there is none.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return text.getvalue().encode()


def _named(tables: NameTables) -> Iterator[tuple[str, pa.Table]]:
    yield from tables.record.items()
    if tables.repaired is not None and tables.repairs is not None:
        yield from ((f"{name}_repaired", table) for name, table in tables.repaired.items())
        yield "repairs", tables.repairs


def write_tables(
    tables: NameTables, counters: Mapping[str, int], run: Any, *, births: pa.Table
) -> Iterator[StagedFile | Mapping[str, int]]:
    """Stage every table, its CSV, and the report; nothing but the data and the options goes into them.

    Args:
      births: BIRTHS, of everyone.

    Raises:
      DataError: the tables do not count everyone.
    """
    counted = {"tables of names": tables.people, "table of births": pc.sum(births["people"]).as_py() or 0}
    for name, people in counted.items():
        if people != counters.get("people", 0):
            raise DataError(
                f"the {name} counts {people:,} people where {counters.get('people', 0):,} were kept; "
                "nothing was published; run again, and report this"
            )
    yield {f"rare.{name}": names for name, names in tables.rare.items()}
    for name, table in _named(tables):
        yield {name: len(table)}
        batches = table.combine_chunks().to_batches()
        yield from write_if_any(batches, schema=table.schema, folder=run.staging, dataset=name, key=(0,))
        yield write_view(to_csv(table), folder=run.staging, name=f"{name}.csv")
    facts = RunFacts.of(run, counters, TERMS)
    report = names_report(**tables.record, births=births, repairs=tables.repairs, facts=facts)
    yield write_view(report.encode(), folder=run.staging, name="report.html")

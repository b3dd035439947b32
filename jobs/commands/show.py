"""The summary of a finished run, and the columns and first rows of each data set.

examples:
  molino show demo/names
  molino show demo/names people --rows 10
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from molino.jobs.options import Parser, natural

if TYPE_CHECKING:
    from molino.training.runs import FinishedRun

ABOUT = "a finished run: its summary, columns and first rows"
WIDTH = 40  # of a value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    from molino.jobs.runners import exits

    parser = Parser(prog="molino show", description=__doc__)
    parser.add_argument("output", metavar="DIR", help="output folder of a run; also gs://, s3://, hdfs://")
    parser.add_argument("dataset", metavar="DATASET", nargs="*", help="only these (default: all)")
    parser.add_argument("--rows", type=natural, default=3, metavar="N", help="how many rows to show (default 3)")
    args = parser.parse_args(arguments)

    def work() -> list[str]:
        import molino

        run = molino.open(args.output)
        shown = args.dataset or list(run.manifest["datasets"])
        return [*describe_run(run), *(line for name in shown for line in describe_dataset(run, name, args.rows))]

    return exits.print_lines(parser, work)


def describe_run(run: "FinishedRun") -> Iterator[str]:
    """Yield the lines of a run's summary."""
    from molino.jobs.job import load_all
    from molino.jobs.run.summary import summary_lines

    job = load_all().get(run.manifest["job"])
    summary = job.summarize(dict(run.manifest)) if job and job.summarize else []
    yield from summary_lines(run.folder, dict(run.manifest), [("job", run.manifest["job"]), *summary])


def describe_dataset(run: "FinishedRun", name: str, rows: int) -> Iterator[str]:
    """Yield the columns of a data set, and its first rows."""
    entry, schema = run.manifest["datasets"].get(name, {}), run.schema(name)
    yield f"\n{name}: {entry['rows']:,} rows, schema {entry['schema']} {entry['version']}"
    values = run.dataset(name).head(rows).to_pydict() if rows and entry["rows"] else {}
    wide = max((len(column) for column in schema.names), default=0)
    for column in schema:
        shown = " | ".join(map(_cell, values.get(column.name, ())))
        yield f"  {column.name:<{wide}}  {column.type!s:<20}  {shown}".rstrip()


def _cell(value: Any) -> str:
    """Return a value on one line, cut where it is long."""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, list) and len(value) > 4:
        return f"[{', '.join(map(_cell, value[:3]))}, ... {len(value):,} in all]"
    text = " ".join(f"{value:.6g}".split()) if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."

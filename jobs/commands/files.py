"""Print the paths of a data set's files, in their order, one a line: what the manifest lists, and nothing else.

examples:
  molino files demo/names people
  molino files demo/titles titles --split train
  duckdb -c "SELECT count(*) FROM read_parquet([$(molino files demo/names people --sql)])"
"""

from collections.abc import Sequence

from molino.jobs.options import Parser

ABOUT = "print the paths of a data set's files, one a line"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    from molino.jobs.runners import exits

    parser = Parser(prog="molino files", description=__doc__)
    parser.add_argument("output", metavar="DIR", help="output folder of a run; also gs://, s3://, hdfs://")
    parser.add_argument("dataset", metavar="DATASET", help="one of those that molino show lists")
    parser.add_argument("--sql", action="store_true", help="in quotes, on one line, with commas between")
    parser.add_argument("--split", metavar="NAME", help="those of one split, such as train, alone")
    args = parser.parse_args(arguments)

    def work() -> list[str]:
        import molino

        paths = molino.open(args.output).files(args.dataset, args.split)
        quoted = ["'" + path.replace("'", "''") + "'" for path in paths]
        return [", ".join(quoted)] if args.sql and paths else paths

    return exits.print_lines(parser, work)

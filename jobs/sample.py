"""Write made-up input for a job, so that it can be tried with no download."""

import sys
from collections.abc import Sequence

from jobs import runners
from jobs.options import DONE, Parser, natural, positive

DESCRIPTION = """
Write a made-up input file for a job. Nobody in it exists: names are drawn from lists of common names, and the CURPs are
invented, with the right form. The same rows and seed give the same bytes.

  names   a payroll file like the one of SEP, 2012: latin-1, "|" between fields
"""
EPILOG = """
examples:
  molino sample names --output demo/sep.txt
  molino sample names --output demo/small.txt --rows 10000 --seed 7 --hostile
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = Parser(prog="molino sample", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("job", choices=("names",), help="the job whose input is wanted")
    parser.add_argument("--output", required=True, metavar="FILE", help="file to write, or replace")
    parser.add_argument("--rows", type=positive, default=1_256_438, metavar="N", help="rows (default 1,256,438)")
    parser.add_argument("--seed", type=natural, default=2012, metavar="N", help="of the random numbers (default 2012)")
    parser.add_argument("--files", type=positive, default=1, metavar="N", help="split into FILE-00000-of-0000N")
    parser.add_argument("--hostile", action="store_true", help="add rows that a job must reject")
    given = parser.parse_args(arguments)
    runners.silence_beam()
    from transforms import storage

    if not storage.is_local(given.output):
        parser.error(f"--output {given.output}: a sample is written to a local file")
    if given.rows > 1_000_000_000:
        parser.error(f"--rows {given.rows:,}: at most 1,000,000,000 made-up people can be told apart")
    from transforms.sample_names import sample_names

    try:
        with storage.explained(given.output, "write"):
            wrote = sample_names(
                given.output, rows=given.rows, seed=given.seed, files=given.files, hostile=given.hostile
            )
    except Exception as error:
        return runners.fail(error)
    print(
        f"{wrote['rows']:,} rows of {wrote['people']:,} people in {len(wrote['files'])} file(s): {wrote['files'][0]}"
        + (f"; {sum(wrote['hostile'].values()):,} hostile rows besides" if given.hostile else "")
    )
    return DONE


if __name__ == "__main__":
    sys.exit(main())

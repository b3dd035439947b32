"""Recheck a finished run from its manifest: every file is there, with the bytes, sha256, rows and schema that were
written, the rows have the digest that they had, and the counters add up. Reads every byte; changes nothing.

examples:
  molino verify demo/names
"""

import sys
from collections.abc import Sequence
from typing import Any

from molino.jobs.options import DATA, DONE, Parser
from molino.transforms.warnings import many

ABOUT = "recheck every byte of a finished run from its manifest"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    from molino import quiet
    from molino.jobs.runners import exits

    parser = Parser(prog="molino verify", description=__doc__)
    parser.add_argument("output", metavar="DIR", help="output folder of a run; also gs://, s3://, hdfs://")
    quiet.silence_beam()
    args, beam_flags = parser.parse_strictly(arguments)
    from molino.jobs.run.recheck import verify
    from molino.transforms.files import storage

    def work() -> tuple[dict[str, Any], list[str]]:
        storage.use_options(beam_flags)
        return verify(args.output.rstrip("/") or "/")

    code, checked = exits.attempt(parser, work)
    if checked is None:
        return code
    manifest, wrong = checked
    for line in wrong:
        print(f"molino: {line}", file=sys.stderr)
    for name, dataset in manifest["datasets"].items():
        files = many(len(dataset["files"]), "file")
        print(f"{name:>20}  {dataset['rows']:>12,} rows in {files}  {dataset['digest'][:16]}")
    print(f"{'run':>20}  {manifest['job']} {manifest['run'][:16]}, digest {manifest['digest'][:16]}")
    if wrong:
        faults = many(len(wrong), "fault")
        remedy = "delete the files named above, then give the run's own command again, which makes them anew"
        print(f"molino: {args.output} is not as it was written: {faults}; {remedy}", file=sys.stderr)
        return DATA
    print(f"{'verified':>20}  everything is as it was written")
    return DONE

"""Free an output that a dead run has left locked, and delete what killed runs have staged there.

The run is watched for half a minute first. While its heartbeat moves, nothing is done without --force. Its job
on Flink or Dataflow is cancelled. A run that goes on afterwards publishes nothing.

examples:
  molino unlock demo/names
"""

import functools
from collections.abc import Sequence
from typing import Any

from molino.jobs.options import Parser, exit_codes

ABOUT = "free an output that a dead run has left locked"
BUSY = "its run is alive, or in its commit; nothing was done"
CODES = exit_codes("the output is free", "not used by this command", BUSY)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    from molino import quiet
    from molino.jobs.runners import exits, service

    parser = Parser(prog="molino unlock", description=__doc__, exit_codes=CODES)
    parser.add_argument("output", metavar="DIR", help="output folder of a run; also gs://, s3://, hdfs://")
    parser.add_argument("--force", action="store_true", help="free it from a run that is alive, too")
    quiet.silence_beam()
    args, beam_flags = parser.parse_strictly(arguments)
    from molino.jobs.run.state import find_output, unlock

    how: Any = {"force": args.force, "end_job": functools.partial(service.end_job, flags=beam_flags)}
    return exits.print_lines(parser, lambda: unlock(find_output(args.output, beam_flags), **how))

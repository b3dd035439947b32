"""Free an output that a dead run has left locked."""

import functools
import sys
from collections.abc import Sequence

from molino.jobs.options import BUSY, DONE, Parser, exit_codes
from molino.jobs.runners import exits, quiet, service

DESCRIPTION = """
Free an output that a dead run has left locked, and delete what killed runs have staged there.

The run is watched for half a minute first. While its heartbeat moves it is alive, and nothing is done but with --force.
Its job on Flink or Dataflow is ended. A run that goes on all the same publishes nothing.
"""
CODES = exit_codes(
    "the output is free", "not used by this command", "its run is alive, or in its commit; nothing was done"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = Parser(prog="molino unlock", description=DESCRIPTION, exit_codes=CODES)
    parser.add_argument("output", metavar="DIR", help="output folder of a run; also gs://, s3://, hdfs://")
    parser.add_argument("--force", action="store_true", help="free it from a run that is alive, too")
    quiet.silence_beam()
    given, beam_flags = parser.parse_strictly(arguments)
    from molino.jobs.run.lock import BusyError
    from molino.jobs.run.state import unlock
    from molino.transforms.errors import DataError, OptionError
    from molino.transforms.files import storage

    storage.use_options(beam_flags)
    output = storage.folder(given.output)
    try:
        if not storage.list_tree(output):
            raise DataError(f"there is nothing in {output}; check the path")
        done = unlock(output, force=given.force, end_job=functools.partial(service.end_job, flags=beam_flags))
    except OptionError as error:
        parser.error(str(error))
    except BusyError as error:
        print(f"molino: {error}", file=sys.stderr)
        return BUSY
    except Exception as error:
        return exits.fail(error)
    for line in done:
        print(line)
    return DONE

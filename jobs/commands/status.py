"""What an output holds, and who is at work in it."""

from collections.abc import Sequence

from molino.jobs.options import DONE, Parser
from molino.jobs.runners import exits, quiet

DESCRIPTION = """
What an output holds, and who is at work in it: since when, where, how far, and why the last run failed.

A run at work is watched for some seconds: is it alive? Changes nothing. The exit code is 0 whatever is found.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = Parser(prog="molino status", description=DESCRIPTION)
    parser.add_argument("output", metavar="DIR", help="output folder of a run; also gs://, s3://, hdfs://")
    quiet.silence_beam()
    given, beam_flags = parser.parse_strictly(arguments)
    from molino.jobs.run.state import lines, state_of
    from molino.transforms.errors import DataError, OptionError
    from molino.transforms.files import storage

    storage.use_options(beam_flags)
    output = storage.folder(given.output)
    try:
        if not storage.list_tree(output):
            raise DataError(f"there is nothing in {output}; check the path")
        found = lines(output, state_of(output))
    except OptionError as error:
        parser.error(str(error))
    except Exception as error:
        return exits.fail(error)
    for name, text in found:
        print(f"{name:>10}  {text}")
    return DONE

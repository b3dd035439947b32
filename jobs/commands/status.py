"""What an output holds, and who is at work in it: since when, where, how far, and why the last run failed.

A run at work is watched for some seconds, to see whether it is alive. Nothing is changed. The exit code is always 0.

examples:
  molino status demo/names
"""

from collections.abc import Sequence

from molino.jobs.options import Parser

ABOUT = "what an output holds, who is at work in it, the last error"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    from molino import quiet
    from molino.jobs.runners import exits

    parser = Parser(prog="molino status", description=__doc__)
    parser.add_argument("output", metavar="DIR", help="output folder of a run; also gs://, s3://, hdfs://")
    quiet.silence_beam()
    args, beam_flags = parser.parse_strictly(arguments)
    from molino.jobs.run.state import describe_state, find_output

    def work() -> list[str]:
        found = describe_state(find_output(args.output, beam_flags))
        return [f"{name:>10}  {text}" for name, text in found]

    return exits.print_lines(parser, work)

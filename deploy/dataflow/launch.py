"""What the launcher of the flex template runs: its parameters, given as the command line of a job.

    python launch.py --job=names --input=gs://bucket/sep.txt --repair_names=true --runner=DataflowRunner ...

The launcher gives every parameter as --name=value. Options of the job have their dashes as underscores here; several
values stand in one parameter, as in a shell; a switch is true or false. What the job does not know is Beam's.
"""

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence

from molino.jobs.cli import main as run
from molino.jobs.job import load_job, load_jobs
from molino.jobs.options import USAGE, Parser

JOBS = tuple(load_jobs())
SWITCHES = {"true": True, "false": False}


def job_parser(job: str) -> Parser:
    """Return the parser of a job's command line."""
    return load_job(job).parser()


def options_of(parser: Parser) -> Iterator[tuple[str, argparse.Action]]:
    """Yield every option of a job under the name that it has as a parameter."""
    for action in parser._actions:
        flags = [flag for flag in action.option_strings if flag.startswith("--")]
        if flags and flags[0] != "--help":
            yield flags[0].removeprefix("--").replace("-", "_"), action


def command_of(words: Sequence[str]) -> list[str]:
    """Return the command line that the launcher's words stand for.

    >>> command_of(["--job=names", "--input=gs://b/1 'gs://b/2 3'", "--repair_names=true", "--region=r"])
    ['names', '--input', 'gs://b/1', 'gs://b/2 3', '--repair-names', '--region=r']

    Raises:
      ValueError: there is no such job, or a parameter is not what its option takes.
    """
    given = [word.partition("=") for word in words]
    job = next((value for name, _, value in given if name == "--job"), "")
    if job not in JOBS:
        raise ValueError(f"the parameter job must be one of {', '.join(JOBS)}, not {job!r}")
    known = dict(options_of(job_parser(job)))
    command = [job]
    for word, (flag, _, value) in zip(words, given, strict=True):
        action = known.get(flag.removeprefix("--").replace("-", "_"))
        if flag == "--job":
            continue
        command += [word] if action is None else _words(action, flag, value)
    return command


def _words(action: argparse.Action, flag: str, value: str) -> list[str]:
    """Return the words of one of the job's own options."""
    own = action.option_strings[0]
    if action.nargs == 0:
        if value not in SWITCHES:
            raise ValueError(f"{flag} must be true or false, not {value!r}")
        return [own] if SWITCHES[value] else []
    if isinstance(action, argparse._AppendAction):
        return [word for each in shlex.split(value) for word in (own, each)]
    if action.nargs in ("+", "*"):
        return [own, *shlex.split(value)]
    return [f"{own}={value}"]


def main(words: Sequence[str]) -> int:
    """Run the job and return its exit code."""
    try:
        command = command_of(words)
    except ValueError as error:
        print(f"molino: {error}", file=sys.stderr)
        return USAGE
    return run(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

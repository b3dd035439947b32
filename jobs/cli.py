"""The `molino` command."""

import errno
import importlib
import os
import pkgutil
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from molino import VERSION, code, environment
from molino.jobs.job import load_job, load_jobs
from molino.jobs.options import DATA, DONE, EXIT_CODES, USAGE, did_you_mean

PIPE = 128 + signal.SIGPIPE
COMMANDS_TEXT = """\
usage: molino COMMAND [options]

Batch jobs that turn raw public data into verified Parquet data sets.

jobs:
{jobs}

other commands:
{others}

  molino COMMAND --help    the options of a command, with examples
  molino --version

"""
FIRST_STEPS = """\
example:
  molino sample names --rows 20000 --output in.txt
  molino names --input in.txt --output out
  molino show out people
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command named by the first argument and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        jobs = _listing({name: job.about for name, job in load_jobs().items()})
        others = _listing({name: _load_command(name).ABOUT for name in command_names()})
        text = COMMANDS_TEXT.format(jobs=jobs, others=others)
        print(text + (EXIT_CODES if words else FIRST_STEPS), end="", file=sys.stdout if words else sys.stderr)
        return DONE if words else USAGE
    if words[0] in ("--version", "version"):
        print(f"molino {VERSION}")
        return DONE
    if words[0] in code.pipelines():
        return load_job(words[0]).main(words[1:])
    if words[0] in command_names():
        return _load_command(words[0]).main(words[1:])
    known = [*code.pipelines(), *command_names()]
    near = did_you_mean(words[0], known)
    print(f"molino: no such command: {words[0]}{near} (choose from {', '.join(known)})", file=sys.stderr)
    return USAGE


def command_names() -> list[str]:
    """Return the commands that are no jobs: the modules of jobs/commands, each with its `ABOUT` and its `main`."""
    return [module.name for module in pkgutil.iter_modules([str(code.ROOT / "jobs/commands")])]


def _load_command(name: str) -> Any:
    return importlib.import_module(f"molino.jobs.commands.{name}")


def _listing(abouts: Mapping[str, str]) -> str:
    return "\n".join(f"  {name:<8} {about}" for name, about in abouts.items())


def command() -> int:
    """Run the command of this process and return its exit code, however early it is stopped, whoever reads it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this, who wants none of it
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    for number in environment.stop_signals():
        signal.signal(number, _stop)
    environment.prepare()
    try:
        code = main()
        sys.stdout.flush()
    except OSError as error:
        # files and stores explain their own errors, and these have a name
        if error.filename is not None or error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EIO):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries once more at its end
        if error.errno == errno.EPIPE:  # whoever read has read enough: as other programs end
            return PIPE
        print(f"molino: cannot write to standard output: {error.strerror}", file=sys.stderr)
        code = DATA
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: only Python's own end is left
    return code


def _stop(number: int, _: object) -> None:
    """End the process at once; what has something to tidy up has a handler of its own while it is at work."""
    print("molino: stopped", file=sys.stderr, flush=True)
    os._exit(128 + number)

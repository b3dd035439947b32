"""The `molino` command."""

import errno
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from molino import VERSION, environment
from molino.jobs.options import DATA, DONE, EXIT_CODES, USAGE

PIPE = 128 + signal.SIGPIPE
COMMANDS = {
    "names": ("molino.jobs.names", "people, surnames and given names from payroll files"),
    "titles": ("molino.jobs.titles", "embeddings, labels and splits of product titles"),
    "whales": ("molino.jobs.whales", "the region of interest of every photograph"),
    "pca": ("molino.jobs.pca", "vectors rotated to their principal components"),
    "shapes": ("molino.jobs.shapes", "networks that learn shapes of the plane, in sweeps"),
    "model": ("molino.jobs.commands.model", "look at a language model, or grow one from titles"),
    "train": ("molino.jobs.commands.train", "train classifiers on titles, and compare language models"),
    "predict": ("molino.jobs.predict", "categories of titles, by a classifier that training saved"),
    "plan": ("molino.jobs.commands.plan", "what a run of a job will take, before it runs"),
    "status": ("molino.jobs.commands.status", "what an output holds, and who is at work in it"),
    "unlock": ("molino.jobs.commands.unlock", "free an output that a dead run has left locked"),
    "verify": ("molino.jobs.commands.verify", "recheck a finished run from its manifest"),
    "sample": ("molino.jobs.commands.sample", "write made-up input for a job"),
    "doctor": ("molino.jobs.commands.doctor", "what runs here, and what is missing"),
}
USAGE_TEXT = """\
usage: molino COMMAND [options]

Batch jobs that mill raw public data into Parquet that training jobs can trust.

{commands}

  molino COMMAND --help    the options of a command, with examples
  molino --version

{exit_codes}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command named by the first argument and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        listing = "\n".join(f"  {name:<8} {about}" for name, (_, about) in COMMANDS.items())
        print(USAGE_TEXT.format(commands=listing, exit_codes=EXIT_CODES), end="")
        return DONE if words else USAGE
    if words[0] == "--version":
        print(f"molino {VERSION}")
        return DONE
    if words[0] not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(words[0], COMMANDS, 1)
        hint = f"; did you mean {near[0]}?" if near else "; see molino --help"
        print(f"molino: no such command: {words[0]}{hint}", file=sys.stderr)
        return USAGE
    return importlib.import_module(COMMANDS[words[0]][0]).main(words[1:])


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

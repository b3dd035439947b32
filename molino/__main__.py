"""`python -m molino`: the `molino` command."""

import contextlib
import os
import sys

# Python looks into the current folder first, where a user's random.py must not be taken for the standard library's
with contextlib.suppress(FileNotFoundError):  # the folder was deleted
    if not sys.flags.safe_path and sys.path[0] == os.getcwd() != os.path.dirname(os.path.dirname(__file__)):
        del sys.path[0]

from molino.jobs.cli import command

if __name__ == "__main__":
    sys.exit(command())

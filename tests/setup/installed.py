"""What is installed, and its use by somebody in a folder that has files of the same names."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("jobs", "schemas", "training", "transforms")
# a file that the standard library's name leads to, as a user's folder may hold it; whoever imports it ends
TRAP = "import os, sys\nprint('random.py of the current folder was run', file=sys.stderr)\nos._exit(77)\n"


def run(python, folder, words):
    program = [python.with_name("molino") if isinstance(words, str) else python]
    command = [*program, *(words.split() if isinstance(words, str) else words)]
    ours = ("PYTHONPATH", "PYTHONSAFEPATH", "PYTHONDONTWRITEBYTECODE")
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def assert_enough(python, folder, extra, commands):
    """Assert that commands work in a folder with an install and an extra, "" for none."""
    for words in commands:
        code, told = run(python, folder, words.format(root=ROOT))
        assert code == 0, (words, told[-3000:])
        assert not words.startswith("doctor") or not extra or f"ok  molino-jobs[{extra}]" in told

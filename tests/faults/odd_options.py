"""Call the program with one odd value after another, each in a process of its own; print what went wrong as JSON.

Run as `python odd_options.py FOLDER PART PARTS`: of all cases, those whose number is PART modulo PARTS. An option may
name any path, and `/` is one of them: by root it must run where nothing but the folder can be written.
"""

import contextlib
import io
import json
import os
import re
import resource
import signal
import sys
import time
from pathlib import Path

import apache_beam  # noqa: F401  loaded once, and not by each of a thousand processes
import pyarrow.parquet  # noqa: F401

from molino.jobs import cli
from molino.jobs.job import load_jobs
from molino.jobs.run import command, commit  # noqa: F401
from tests import programs

SECONDS = 120
PAYROLL = "CURP|PRIMERAPELLIDO|SEGUNDOAPELLIDO|NOMBRESTRABAJADOR\nAAAA010101HDFBBB01|A|B|C\n"
TITLES = "title,category,language\nMesa,TABLES,spanish\n"
# commands, with words that make them end before they write anything: the output lies below a file
COMMANDS = {
    "names": "--input a.txt --output a.txt/o",
    "titles": "--input t.csv --output a.txt/o",
    "predict": "--input t.csv --model folder --output a.txt/o",
    "whales": "--input folder --output a.txt/o",
    "pca": "--input t.csv --column v --output a.txt/o",
    "shapes": "--rows 10 --output a.txt/o",
    "plan names": "--input a.txt",
    "plan shapes": "",
    "sample names": "--rows 10 --output a.txt/o",
    "sample titles": "--rows 10 --output a.txt/o",
    "sample whales": "--images 1 --output a.txt/o",
    "sample pca": "--rows 10 --output a.txt/o",
    "train titles": "--input folder --model m=folder --output a.txt/o",
    "train compare": "--input folder --output a.txt/o",
    "model train": "--input t.csv --output a.txt/o",
    "model inspect": "folder",
    "verify": "folder",
    "status": "folder",
    "unlock": "folder",
    "doctor": "",
}
for _name, _job in load_jobs().items():
    if _name not in COMMANDS and _job.example:  # its input is not there
        COMMANDS[_name] = f"{_job.example.options.format(tree=Path.cwd())} --output a.txt/o"
VALUES = ("", ".", "/", "folder", "a.txt", "pipe", "9" * 40, "-1", "nan", "ñ\u202e*[\x01\n=#")
KNOWN = {0, 1, 2, 3, 75}


def prepare(folder):
    """Make what the values name."""
    os.chdir(folder)
    Path("folder").mkdir()
    Path("a.txt").write_text(PAYROLL)
    Path("t.csv").write_text(TITLES)
    os.mkfifo("pipe")


def flags(name):
    """Return the options of a command, as its help tells them."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
        cli.main([*name.split(), "--help"])
    found = re.findall(r"^  (?:-\w, )?(--[a-z][a-z0-9-]+)", told.getvalue(), re.MULTILINE)
    return [flag for flag in dict.fromkeys(found) if flag not in ("--help", "--runner", "--worker-mode")]


def cases():
    """Yield the words of every case."""
    for name, base in COMMANDS.items():
        for value in VALUES:
            for flag in flags(name):
                words, kept = base.split(), []
                while words:
                    word = words.pop(0)
                    if word == flag:
                        words.pop(0)
                    else:
                        kept.append(word)
                yield [*name.split(), *kept, flag, value]
            if base and not base.startswith("--"):
                yield [*name.split(), value]


def call(words):
    """Call the program in a process of its own; return its exit code and what it said."""
    path = Path(f"said.{os.getpid()}")
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20, 64 << 20))
        out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        null = os.open(os.devnull, os.O_RDONLY)
        for number, target in ((0, null), (1, out), (2, out)):
            os.dup2(target, number)
        sys.argv = ["molino", *words]
        os._exit(_code(words))
    end = time.monotonic() + SECONDS
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), path.read_text(errors="replace")
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "no end", path.read_text(errors="replace")
        time.sleep(0.005)


def _code(words):
    try:
        return cli.main(words)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        return 99
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def main(folder, part, parts):
    """Try the cases of a part; print the number of them, and those that went wrong."""
    prepare(Path(folder))
    wrong, tried = [], 0
    Path("servers").mkdir()
    # what asks TensorFlow finds it imported, below the same root; the path is short enough for a socket
    with programs.serve("servers"), programs.tensorflow_at_hand():
        for number, words in enumerate(cases()):
            if number % parts != part:
                continue
            tried += 1
            code, said = call(words)
            if code not in KNOWN or "Traceback" in said or "should not happen" in said or os.path.exists("~"):
                wrong.append([words, code, said[-600:]])
    print(json.dumps({"tried": tried, "wrong": wrong}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

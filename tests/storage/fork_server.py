"""Runs programs that find Beam, Arrow and the clients of stores imported: each starts in a moment.

It reads a line of JSON for each, {"program", "arguments", "environment", "out", "err"}, and says the process's id; or
{"wait": id}, and says the exit code, negative for a signal.
"""

import importlib
import json
import os
import signal
import sys
import traceback

LOADED = (
    "boto3",
    "pyarrow.parquet",
    "molino.jobs.run.commit",
    "molino.jobs.run.lock",
    "molino.jobs.names",
    "molino.jobs.run.recheck",
)
LOADED += (
    "molino.training.runs",
    "molino.transforms.text.read",
    "molino.transforms.parquet.write",
    "molino.transforms.rows.partition",
)


def run(order):
    """Run a program in this process, which is a new one, and end it."""
    os.setsid()
    for number, path in ((0, os.devnull), (1, order["out"]), (2, order["err"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.environ.update(order["environment"])
    sys.argv = ["-c", *order["arguments"]]
    code = 0
    try:
        exec(order["program"], {"__name__": "__main__"})
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main():
    for name in LOADED:
        importlib.import_module(name)
    print("ready", flush=True)
    at_work = set()
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        if "wait" in order:
            print(os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]), flush=True)
            at_work.discard(order["wait"])
            continue
        child = os.fork()
        if not child:
            run(order)
        at_work.add(child)
        print(child, flush=True)
    for child in at_work:  # of a test that failed
        os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main()

"""Other processes: what kills or stops one, or what it fills the memory with, is not the end of the run."""

import dataclasses
import logging
import multiprocessing
import multiprocessing.connection
import os
import pickle
import re
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import molino
from molino.quiet import TENSORFLOW
from molino.transforms.errors import DataError

LOG_LINE = re.compile(r"[IWE]\d{4,}|WARNING|\d{4}-\d\d-\d\d ")  # of TensorFlow, at the beginning
START_SECONDS = 60  # for a new process to import what it needs
SAFE = {"PYTHONSAFEPATH": "1"}  # as -P, for all that it starts too: the current folder is not looked into


@dataclasses.dataclass(frozen=True, kw_only=True)
class Died:
    """The process came to no end of its own."""

    last: Any  # what it had last told of, or None
    cause: str  # in a few words


def call_apart(function: Callable[..., Any], arguments: Mapping[str, Any], *, seconds: float) -> Any | Died:
    """Return what `function(**arguments, report=...)` returns in a new process, or Died.

    The function calls `report` with whatever it is about to work on; a process from which nothing comes for
    `seconds` is ended.
    Function, arguments and result are pickled. A DataError is raised here as such.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit locks that other threads hold
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(there, pickle.dumps((function, dict(arguments)))), daemon=True)
    kept = {name: os.environ.get(name) for name in SAFE}
    os.environ.update(SAFE)  # what is spawned has the environment of this process, and no arguments of ours
    try:
        process.start()
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    there.close()
    last, patience = None, START_SECONDS + seconds
    try:
        while here.poll(patience):
            kind, content = here.recv()
            if kind == "result":
                return content
            if kind == "data":
                raise DataError(content)
            if kind == "error":
                raise RuntimeError(content)
            last, patience = content, seconds
        return Died(last=last, cause=f"it did not end within {seconds:g} seconds")
    except (EOFError, OSError):
        process.join()
        return Died(last=last, cause=f"the process ended with {process.exitcode}")
    finally:
        process.kill()
        process.join()
        here.close()


def child_environment() -> dict[str, str]:
    """Return what every process that this one starts has in its environment beside what this one has.

    It finds what this one does, a job's own modules beside its script, say, and nothing that merely lies in the current
    folder: "", which `python -c` and notebooks have for it, is left out.
    """
    # what Python has of itself stays behind the standard library
    own = tuple({os.path.join(os.path.realpath(place), "") for place in (sys.prefix, sys.base_prefix)})
    places = [*filter(None, sys.path), str(Path(molino.__file__).resolve().parents[1])]
    known = dict.fromkeys(map(os.path.abspath, places))
    path = os.pathsep.join(place for place in known if not os.path.realpath(place).startswith(own))
    return {"PYTHONPATH": path, **SAFE}


def start_module(module: str, *, errors: IO[bytes], temporary: str) -> subprocess.Popen[str]:
    """Start a module of this program as a program, in a process that Ctrl-C does not reach but by this one.

    It leads a group of processes, and ends when its standard input does, so with this process at the latest. Standard
    error goes to `errors`, its temporary files to the folder `temporary`.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, **child_environment(), **TENSORFLOW, "TMPDIR": temporary},
        text=True,
        start_new_session=True,
    )


def last_line(errors: IO[bytes]) -> str:
    """Return the last line of what a process wrote to standard error that is none of TensorFlow's log."""
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return ([""] + [line for line in lines if not LOG_LINE.match(line)])[-1][:300]


def _serve(connection: multiprocessing.connection.Connection, call: bytes) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(level=logging.ERROR)  # before Beam is imported, which has much to say
    try:
        function, arguments = pickle.loads(call)
        connection.send(("result", function(**arguments, report=lambda what: connection.send(("at", what)))))
    except DataError as error:
        connection.send(("data", str(error)))
    except Exception:
        connection.send(("error", traceback.format_exc()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

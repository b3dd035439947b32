"""How a command ends: with one line and an exit code, and without processes or files that it leaves behind."""

import argparse
import contextlib
import glob
import logging
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from molino import environment
from molino.jobs.options import DATA, DONE
from molino.jobs.runners.failures import explain_failure, innermost
from molino.transforms.errors import OptionError
from molino.transforms.files.temporary import remove_temporary_files

HUNG_UP, INTERRUPTED, TERMINATED = 129, 130, 143
Result = TypeVar("Result")
_guests = threading.Lock()
_others: set[int] = set()  # children of the program that runs a job as a part of it
# after which a signal is repeated to a pipeline that goes on: what Python raises in a callback, say, is lost
REPEAT_SECONDS = 10.0
STOPPED = re.compile(r"SystemExit: (129|130|143)\b")  # as a worker in the command's own thread tells of a signal


def fail(error: BaseException) -> int:
    """Print what went wrong and return the exit code."""
    code = getattr(error, "exit_code", None)  # of one that says how its command ends
    line = str(error) if code else explain_failure(error)
    if line:
        print(f"molino: {line}", file=sys.stderr)
    else:
        text = "".join(traceback.format_exception(error))
        told = f"molino: this should not happen: {innermost(text)}; please report the lines above"
        print(text, told, sep="", file=sys.stderr)
    return code or DATA


def describe_error(error: BaseException) -> str:
    """Return what stopped a run, in one line."""
    code = error.code if isinstance(error, SystemExit) else None
    if code is None and (stopped := STOPPED.match(str(error))):
        code = stopped[1]
    if code is not None:
        return f"stopped by {signal.Signals(int(code) - 128).name}"
    return explain_failure(error) or f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


def attempt(
    parser: argparse.ArgumentParser, work: Callable[[], Result], received: Sequence[int] = ()
) -> tuple[int, Result | None]:
    """Do a command's work; return 0 and what it returns, or another exit code after a line on standard error.

    What is wrong with the options ends the process, as any wrong command line does. `received` is what
    `signals_as_exits` around the call yields.
    """
    try:
        return DONE, work()
    except OptionError as error:
        parser.error(str(error))
    except (Exception, SystemExit) as error:
        if received:
            print("molino: stopped; the output is as its last complete run left it", file=sys.stderr)
            return received[0], None
        if isinstance(error, SystemExit):
            raise
        return fail(error), None


def print_lines(parser: argparse.ArgumentParser, work: Callable[[], Sequence[str]]) -> int:
    """Do a command's work, print the lines that it returns, and return the exit code."""
    code, lines = attempt(parser, work)
    for line in lines or ():
        print(line)
    return code


@contextlib.contextmanager
def signals_as_exits() -> Iterator[list[int]]:
    """Turn SIGTERM, SIGHUP and Ctrl-C into SystemExit with 143, 129 and 130, so that what was begun is tidied up.

    Yields a list that gets the exit code: a worker in this very thread makes an error of its own of the exit.
    """
    received: list[int] = []
    ended = threading.Event()

    def repeat(number: int) -> None:
        while not ended.wait(REPEAT_SECONDS):
            if _is_in_pipeline():
                signal.pthread_kill(threading.main_thread().ident or 0, number)

    def stop(number: int, _: object) -> None:
        if not received:
            threading.Thread(target=repeat, args=(number,), daemon=True).start()
        received.append(128 + number)
        # a terminal sends Ctrl-C to workers and job servers too: of their end logs and threads would tell
        logging.disable(logging.CRITICAL)
        threading.excepthook = lambda _: None
        raise SystemExit(received[0])

    before = {number: signal.signal(number, stop) for number in environment.stop_signals()}
    try:
        yield received
    finally:
        ended.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_in_pipeline() -> bool:
    """Return whether the main thread still runs a pipeline, in which an exit was lost, and is not ending it."""
    frame, names = sys._current_frames().get(threading.main_thread().ident or 0), set()
    while frame:
        names.add(frame.f_code.co_name)
        frame = frame.f_back
    return "run_pipeline" in names and "_ended_elsewhere" not in names


@contextlib.contextmanager
def as_guest() -> Iterator[None]:
    """Leave to the program that runs a job as a part of it what is its own: child processes, streams, hooks, logs.

    One at a time: what Beam's runner keeps, it keeps for the process.
    """
    log = logging.getLogger("apache_beam")
    with _guests:
        held = sys.stderr, threading.excepthook, log.level
        _others.update(_children())
        log.setLevel(logging.CRITICAL)  # what fails is raised as well
        logging.getLogger().addFilter(_is_of_others)
        try:
            yield
        finally:
            logging.getLogger().removeFilter(_is_of_others)
            sys.stderr, threading.excepthook = held[:2]
            log.setLevel(held[2])
            _others.clear()


def _is_of_others(record: logging.LogRecord) -> bool:
    """Return whether a record of the root logger is not Beam's."""
    return "apache_beam" not in record.pathname


def leave(code: int) -> None:
    """End the process at once: after a failure Beam's worker threads may hold it open for minutes."""
    sys.stdout.flush()
    sys.stderr.flush()
    end_workers()
    remove_temporary_files()
    os._exit(code)


def end_workers(seconds: float = 5) -> None:
    """End worker processes that this one started, within seconds; Linux only, elsewhere they notice by themselves."""
    threading.excepthook = lambda _: None  # Beam has a thread that waits for each of them, and tells of its end
    limit = time.monotonic() + seconds
    while (children := _children()) and time.monotonic() < limit:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        time.sleep(0.02)


def end_children(thread: threading.Thread) -> None:
    """Tell the processes that a thread started to end; Linux only."""
    for child in _children(thread.native_id):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)


def _children(thread: int | str | None = "*") -> list[int]:
    """Return the processes that a thread of this one, or any, started and that have not ended."""
    found = []
    for path in glob.glob(f"/proc/self/task/{thread}/children"):
        with contextlib.suppress(OSError), open(path) as file:
            found += [int(child) for child in file.read().split()]
    return [child for child in found if child not in _others and _is_at_work(child)]


def _is_at_work(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False

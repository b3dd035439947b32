"""Ask TensorFlow in another process: its memory is given back, what kills it is an error, and nobody sees its log.

Importing this module loads no TensorFlow. As a program it imports TensorFlow once, and answers each request in a fork
of itself, which gives back what it took.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from molino.transforms.errors import DataError, OptionError
from molino.transforms.files.temporary import make_folder, remove_folder
from molino.transforms.processes import last_line, start_module

FORKS = sys.platform == "linux"  # elsewhere what is imported may not be forked: there the process itself answers
_lock = threading.Lock()
_kept: list[Any] = []  # the process, what it writes to standard error, and the folder of its temporary files


def start_tensorflow() -> None:
    """Start the process, so that it imports TensorFlow while this one does something else."""
    with _lock:
        _start()


def ask_tensorflow(
    function: str, requests: Sequence[Mapping[str, Any]], *, doing: str, keep: bool = False
) -> list[Any]:
    """Return what a function gives for each request; no process is started for none.

    `function`: of this program, as MODULE:FUNCTION. `requests`: keyword arguments, as JSON has them; so is what is
    returned. `doing`: what it is at, for messages. `keep`: for the next call, by `labels`, whose packages the process
    imports meanwhile; else the process is ended. Raises DataError: one that the function has raised, or the process has
    failed. Raises OptionError: one that the function has raised.
    """
    with _lock:
        try:
            return [_ask({"function": function, "arguments": each, "keep": keep}, doing) for each in requests]
        finally:
            if not keep:
                _stop()


def stop_tensorflow() -> None:
    """End the process, where there is one."""
    with _lock:
        _stop()


def _start() -> None:
    if _kept and _kept[0].poll() is not None:  # ended while nothing was asked of it
        _stop()
    if not _kept:
        # what AutoGraph writes is not deleted by a fork, which ends at once
        errors, folder = tempfile.TemporaryFile(), make_folder()  # noqa: SIM115  # closed by _stop
        module = "molino.transforms.models.tensorflow_process"
        _kept[:] = start_module(module, errors=errors, temporary=folder), errors, folder


def _stop() -> None:
    if _kept:
        process, errors, folder = _kept
        _kept.clear()
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the fork at work, too
            process.kill()
        process.wait()
        remove_folder(folder)
        for file in (process.stdin, process.stdout, errors):
            with contextlib.suppress(BrokenPipeError):
                file.close()


def _ask(request: dict[str, Any], doing: str) -> Any:
    _start()
    process, errors, _ = _kept
    try:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except BrokenPipeError:
        line = ""
    given = json.loads(line) if line else {"code": process.wait()}
    if "code" in given:
        given = {"error": f"TensorFlow ended with the code {given['code']} while it {doing}: {last_line(errors)}"}
    return accept_answer(given)


def accept_answer(reply: Mapping[str, Any]) -> Any:
    """Return what `answer_request` has answered; raise what went wrong."""
    if "error" in reply:
        raise (OptionError if reply.get("kind") == "OptionError" else DataError)(reply["error"])
    return reply["answer"]


# --- the program


def main() -> int:
    """Answer the requests on standard input, a line of JSON each, with a line of JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing but the answers on standard output
    from molino.transforms.models import saved_model

    _try(saved_model.import_tensorflow)
    gc.disable()  # looking for garbage among TensorFlow's objects would take a third of the time
    for line in sys.stdin:
        request = json.loads(line)
        if not FORKS or (child := _fork()) == 0:
            print(json.dumps(answer_request(request["function"], request["arguments"])), file=answers, flush=True)
            if FORKS:
                os._exit(0)
            continue
        if request["keep"]:
            _try(lambda: importlib.import_module("tensorflow_transform.beam"))
        if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            print(json.dumps({"code": code}), file=answers, flush=True)
    return 0


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads: they belong to libraries that fork well
        return os.fork()


def _try(call: Callable[[], Any]) -> None:
    """Import something ahead; whoever asks for it gets the error."""
    try:
        call()
    except Exception as error:
        print(error, file=sys.stderr)


def answer_request(function: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one request, with what was asked for or with the error."""
    module, _, name = function.partition(":")
    try:
        return {"answer": getattr(importlib.import_module(module), name)(**arguments)}
    except (DataError, OptionError) as error:
        return {"error": str(error), "kind": type(error).__name__}
    except Exception as error:
        shown = " ".join(str(error).split())[:250]
        return {"error": f"TensorFlow failed in {name}: {type(error).__name__}: {shown}"}


if __name__ == "__main__":
    sys.exit(main())

"""What libraries write to the process's standard error by themselves: dropped, or read."""

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator

_turned = threading.RLock()


@contextlib.contextmanager
def no_stderr() -> Iterator[None]:
    """Drop what is written to standard error inside the block, by compiled code too; one thread at a time."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        with _turn_to(nowhere):
            yield
    finally:
        os.close(nowhere)


@contextlib.contextmanager
def record_stderr() -> Iterator[list[str]]:
    """Do as `no_stderr`; after the block the list holds what was written, of other threads too."""
    written: list[str] = []
    with tempfile.TemporaryFile() as file:
        with _turn_to(file.fileno()):
            yield written
        file.seek(0)
        written.append(file.read().decode(errors="replace"))


@contextlib.contextmanager
def _turn_to(handle: int) -> Iterator[None]:
    with _turned:
        sys.stderr.flush()
        kept = os.dup(2)
        try:
            os.dup2(handle, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)

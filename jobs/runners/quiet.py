"""What Beam and its workers would print, kept out of the user's sight."""

import contextlib
import io
import logging
import sys
import threading
from collections.abc import Iterator
from typing import TextIO


def silence_beam() -> None:
    """Keep Beam's chatter, at import and at work, out of the user's sight; its errors stay."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.ERROR)  # the logger of a job server has a level of its own
    logging.basicConfig(level=logging.ERROR, format="%(message)s", handlers=[handler])
    logging.getLogger().setLevel(logging.ERROR)
    # a failed bundle is raised as well: its traceback need not be logged before, here or by a job server
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(lambda record: record.module != "portable_runner")
    handler.addFilter(lambda record: record.funcName != "log_stdout")  # nor by Prism


@contextlib.contextmanager
def no_worker_prints() -> Iterator[None]:
    """Drop what this thread and those that begin meanwhile write to standard error; after a failure, of others still.

    Workers print the traceback of whatever they raise; it is raised here as well, and explained.
    """
    here = threading.current_thread()
    stream = _Threads(sys.stderr, {*threading.enumerate()} - {here})
    before, sys.stderr = sys.stderr, stream
    try:
        yield
    except BaseException:
        stream.threads.add(here)
        raise
    sys.stderr = before


class _Threads(io.TextIOBase):
    """A text stream that takes what some threads write, and drops the rest."""

    def __init__(self, stream: TextIO, threads: set[threading.Thread]):
        self.stream, self.threads = stream, threads

    def write(self, text: str) -> int:
        """Write the text, or drop it."""
        return self.stream.write(text) if threading.current_thread() in self.threads else len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self.stream.flush()

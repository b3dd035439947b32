"""What libraries write to standard error by themselves, kept out of the user's sight; here and nowhere else."""

import contextlib
import importlib.abc
import io
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator
from typing import TextIO

TENSORFLOW = {"TF_CPP_MIN_LOG_LEVEL": "3"}  # what its compiled parts read when they are loaded
# what Keras imports where it is installed, and needs for nothing that is done here: a second, and three with jax
UNUSED = ("IPython", "jax", "matplotlib", "pandas", "scipy", "sklearn", "torch")
_turned = threading.RLock()


@contextlib.contextmanager
def no_stderr() -> Iterator[None]:
    """Drop what is written to standard error inside the block, by compiled code too; one thread at a time."""
    with open(os.devnull, "wb") as nowhere, _turn_to(nowhere.fileno()):
        yield


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


@contextlib.contextmanager
def without(packages: Collection[str]) -> Iterator[None]:
    """Let what this thread imports in the block find none of some packages, but those that are imported already."""
    finder = _Without(packages)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Without(importlib.abc.MetaPathFinder):
    def __init__(self, packages: Collection[str]):
        self.packages, self.thread = packages, threading.get_ident()

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raise ModuleNotFoundError for one of the packages; else let others find it."""
        if name.partition(".")[0] in self.packages and threading.get_ident() == self.thread:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@contextlib.contextmanager
def silent_tensorflow() -> Iterator[None]:
    """Import TensorFlow, or Keras on it, in the block, and do a first operation, which prints too; its errors stay."""
    for name, value in TENSORFLOW.items():
        os.environ.setdefault(name, value)
    with without(UNUSED if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow" else ()), no_stderr():
        yield
    # batches of other sizes make it trace again, which it warns of
    for name in ("tensorflow", "tensorflow_hub", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)


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

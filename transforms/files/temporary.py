"""Folders for the temporary files of this process, which go with it; what a killed process left goes with the next."""

import atexit
import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator

from molino.transforms.errors import DataError

PREFIX = "molino-"
LOCK = "lock"  # a file that its process holds while it lives
_held: dict[str, int] = {}  # of each folder its open lock
_of_runs: dict[str, str] = {}  # by the folder that temporary files are in, the one that runs have there


@contextlib.contextmanager
def own_temporary_files() -> Iterator[None]:
    """Keep temporary files, Beam's too, in a folder of this process: a stopped run would leave them behind.

    All runs of the process share it: Beam may write there after the end of a run.
    """
    before = tempfile.tempdir
    with _explained():
        place = tempfile.gettempdir()
    if not os.path.isdir(_of_runs.get(place, "")):
        _of_runs[place] = make_folder()
    tempfile.tempdir = _of_runs[place]
    try:
        yield
    finally:
        tempfile.tempdir = before


def check_temporary_files() -> None:
    """Raise DataError unless temporary files can be written, without which Beam is not even imported."""
    with _explained():
        tempfile.gettempdir()


def make_folder() -> str:
    """Return a new folder in TMPDIR for this user alone, which goes with this process; DataError where it cannot be."""
    from molino.transforms.files.locked_file import lock

    with _explained():
        for path in glob.glob(os.path.join(glob.escape(tempfile.gettempdir()), f"{PREFIX}*", LOCK)):
            with contextlib.suppress(OSError), open(path, "rb") as file:  # of another user, or just deleted
                if lock(file.fileno()):  # its process is gone
                    shutil.rmtree(os.path.dirname(path), ignore_errors=True)
        folder = tempfile.mkdtemp(prefix=PREFIX)
        if not _held:
            atexit.register(remove_temporary_files)  # after Beam's own cleaning, which is registered later
        # locked for as long as it is there; nobody sees the lock before it is held
        fresh = os.path.join(folder, f"{LOCK}.new")
        _held[folder] = os.open(fresh, os.O_CREAT | os.O_RDWR)
        lock(_held[folder])
        os.rename(fresh, os.path.join(folder, LOCK))
        return folder


def remove_folder(folder: str) -> None:
    """Delete a folder of make_folder before the process ends."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder in _held:
        os.close(_held.pop(folder))


@contextlib.contextmanager
def bucket_folder(staging: str, *, embedded: bool) -> Iterator[str]:
    """Give the folder for bucket files of a run: below its staging folder, or here where that is an object store.

    The embedded runner's workers share a disk: what only they read need not travel to an object store and back. What is
    not below the staging folder, which has its own end, is deleted.
    """
    from molino.transforms.files import storage

    if storage.is_local(staging) or not embedded:
        yield storage.join(staging, "shuffle")
        return
    folder = make_folder()
    try:
        yield folder
    finally:
        storage.close_folder(folder)
        remove_folder(folder)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = "name a folder for them in TMPDIR, or make room"
        raise DataError(f"cannot write temporary files: {error.strerror}; {remedy}") from None


def remove_temporary_files() -> None:
    """Delete the folders of this process, which is about to end, maybe in a way that passes over what is registered."""
    for folder in [*_held]:
        remove_folder(folder)

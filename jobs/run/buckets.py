"""Where the bucket files of a run lie: below its staging folder, or on this machine where that is an object store."""

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator

from molino.transforms.files import storage

PREFIX = "molino-buckets-"


@contextlib.contextmanager
def bucket_folder(staging: str, *, embedded: bool) -> Iterator[str]:
    """Give the folder for bucket files, and delete it where it is not below the staging folder, which has its own end.

    The embedded runner's workers share a disk: what only they read need not travel to an object store and back.
    """
    if storage.is_local(staging) or not embedded:
        yield storage.join(staging, "shuffle")
        return
    with _own_folder() as folder:
        yield folder


@contextlib.contextmanager
def _own_folder() -> Iterator[str]:
    """Give a new folder in TMPDIR, for this user alone, which is locked while it is in use and deleted afterwards."""
    for left in glob.glob(os.path.join(glob.escape(tempfile.gettempdir()), f"{PREFIX}*")):
        if (lock := _lock(left)) is not None:  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)
    with storage.explained(tempfile.gettempdir(), "write"):
        folder = tempfile.mkdtemp(prefix=PREFIX)
        # another run may have taken it for one that was left, in the moment before it was locked
        while (lock := _lock(folder)) is None:
            folder = tempfile.mkdtemp(prefix=PREFIX)
    try:
        yield folder
    finally:
        storage.close_folder(folder)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _lock(folder: str) -> int | None:
    """Return the descriptor of a folder of this user that nobody else has locked, and that is still there; or None.

    The kernel lets the lock go when the process ends, in whatever way.
    """
    try:
        found = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if os.fstat(found).st_uid == os.getuid():
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.isdir(folder):
                return found
    except OSError:
        pass
    os.close(found)
    return None

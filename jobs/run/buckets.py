"""Where the bucket files of a run lie: below its staging folder, or on this machine where that is an object store."""

import contextlib
import shutil
from collections.abc import Iterator

from molino.jobs.runners.temporary import make_folder
from molino.transforms.files import storage


@contextlib.contextmanager
def bucket_folder(staging: str, *, embedded: bool) -> Iterator[str]:
    """Give the folder for bucket files, and delete it where it is not below the staging folder, which has its own end.

    The embedded runner's workers share a disk: what only they read need not travel to an object store and back.
    """
    if storage.is_local(staging) or not embedded:
        yield storage.join(staging, "shuffle")
        return
    folder = make_folder()
    try:
        yield folder
    finally:
        storage.close_folder(folder)
        shutil.rmtree(folder, ignore_errors=True)

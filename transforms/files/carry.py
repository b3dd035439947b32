"""Folders carried between machines: models from where they are kept, and to workers that are elsewhere."""

import contextlib
import hashlib
import math
import os
import posixpath
import shutil
import uuid
from collections.abc import Callable, Sequence

from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.files.locked_file import locked

MAX_FILES, MAX_BYTES = 10_000, 16 << 30
BLOCK = 1 << 20


def send(folder: str, target: str) -> None:
    """Copy the files of a local folder to a folder on any file system."""
    for file in storage.list_tree(folder):
        to = storage.join(target, os.path.relpath(file.path, folder).replace(os.sep, "/"))
        with open(file.path, "rb") as data, storage.explained(target, "write"), storage.open_output(to) as copy:
            shutil.copyfileobj(data, copy, BLOCK)


def public_location(location: str) -> str:
    """Return what other machines call a file or folder: no folders of this one.

    >>> public_location("/home/ana/models/es/"), public_location("gs://bucket/models/es")
    ('es', 'gs://bucket/models/es')
    """
    return os.path.basename(location.rstrip("/")) if storage.is_local(location) else location


def receive(source: str, folder: str, is_right: Callable[[str], bool]) -> str:
    """Return a local folder with what was sent to `source`: copied once, whatever the processes of this machine.

    Raises DataError: it is not there, cannot be copied, or `is_right` says of the copy that it is something else.
    """
    with storage.explained(folder, "write"):
        os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
        with locked(f"{folder}.lock", seconds=math.inf):
            if not os.path.isdir(folder):
                copy_tree(source, folder, storage.list_tree(source), is_right)
    return folder


def copy_tree(
    source: str, folder: str, files: Sequence[storage.FileInfo], is_right: Callable[[str], bool] = lambda _: True
) -> None:
    """Copy files of a folder on any file system to a local one, which appears whole or not at all.

    Raises DataError: there are none, too many, too large ones, one that would lie outside, or the copy is not right.
    """
    if not files:
        raise DataError(f"there is nothing in {source}")
    if len(files) > MAX_FILES or sum(file.bytes for file in files) > MAX_BYTES:
        raise DataError(f"{source} holds more than {MAX_FILES:,} files or {MAX_BYTES >> 30} GiB: it is no model")
    draft = f"{folder}.{uuid.uuid4().hex}.part"
    try:
        for file in files:
            name = posixpath.relpath(file.path, source) if file.path != source else posixpath.basename(source)
            if name.startswith("../"):
                raise DataError(f"{file.path} does not lie in {source}")
            target = os.path.join(draft, name)
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            with (
                storage.open_input(file.path) as data,
                open(target, "wb") as copy,
                storage.explained(file.path, "read"),
            ):
                shutil.copyfileobj(data, copy, BLOCK)
        if not is_right(draft):
            raise DataError(f"{source} is not what was sent; run again")
        with contextlib.suppress(OSError):  # another process was faster
            os.rename(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def fingerprint(files: Sequence[storage.FileInfo]) -> str:
    """Return a digest of the paths, sizes and times of change of files."""
    lines = "".join(f"{file.path}\0{file.bytes}\0{file.modified}\n" for file in files)
    return hashlib.sha256(lines.encode(errors="surrogatepass")).hexdigest()

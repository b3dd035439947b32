"""Which store a path lies in, and what every store can do."""

import re
from collections.abc import Iterator, Sequence
from typing import IO, Protocol

import pyarrow as pa

from molino.transforms.errors import OptionError
from molino.transforms.files.accounts import connect_gs, connect_s3
from molino.transforms.files.hadoop import Folders, connect_hdfs
from molino.transforms.files.objects import FileInfo, Objects, Snapshot

SCHEME = re.compile(r"([a-zA-Z][-a-zA-Z0-9+.]*)://")


class ObjectStore(Protocol):
    """What a store can do."""

    def get(self, path: str) -> bytes:
        """Return an object as it is at one moment, even while it is replaced."""

    def put(self, path: str, data: bytes) -> None:
        """Write an object, or replace it."""

    def see(self, path: str) -> Snapshot:
        """Return a small object, or that there is none, as its replacement can be conditional on."""

    def swap(self, path: str, data: bytes, snapshot: Snapshot) -> Snapshot | None:
        """Replace an object, or write a new one, in one step, unless it is no longer as it was seen.

        An answer that is lost on the way, or that tells of an earlier try, is no failure: what is there is read back.
        Two writers of the same bytes may both be told that they wrote: let the bytes be one writer's alone.

        Returns: what is there now; None where it was no longer as seen, and nothing was written.

        Raises:
          UnsupportedError: the store knows no such condition.
        """

    def move(self, source: str, target: str) -> None:
        """Give an object of any size another name."""

    def delete(self, paths: Sequence[str]) -> None:
        """Delete objects; one that is not there is no error."""

    def look(self, path: str) -> FileInfo | None:
        """Return what is known of an object, None where there is none."""

    def find(self, prefix: str) -> Iterator[FileInfo]:
        """Yield all objects whose paths begin so."""

    def open(self, path: str) -> pa.NativeFile:
        """Open an object for random access: only what is asked for is fetched."""

    def create(self, path: str) -> IO[bytes]:
        """Open a new object for writing. It shows when it is closed; an exception in a `with` leaves none."""


def store_of(path: str) -> ObjectStore | None:
    """Return the store that a path lies in, None for a local path.

    Raises:
      OptionError: there is none of that scheme.
    """
    scheme = scheme_of(path)
    if scheme and scheme not in STORES:
        raise OptionError(
            f"{path}: there is no file system for {scheme}://; give a local path, gs://, s3:// or hdfs://"
        )
    return STORES[scheme] if scheme else None


def scheme_of(path: str) -> str:
    """Return what stands before "://", "" for a local path.

    >>> scheme_of("gs://bucket/people.txt"), scheme_of("/data/people.txt"), scheme_of("C:\\\\people.txt")
    ('gs', '', '')
    """
    found = SCHEME.match(path)
    return found[1] if found else ""


STORES: dict[str, ObjectStore] = {"s3": Objects(connect_s3), "gs": Objects(connect_gs), "hdfs": Folders(connect_hdfs)}

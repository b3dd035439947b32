"""Which store a path lies in."""

import re

from molino.transforms.errors import OptionError
from molino.transforms.files.accounts import connect_gs, connect_s3
from molino.transforms.files.hadoop import Folders, connect_hdfs
from molino.transforms.files.objects import Objects

SCHEME = re.compile(r"([a-zA-Z][-a-zA-Z0-9+.]*)://")


def store_of(path: str) -> Objects | Folders | None:
    """Return the store that a path lies in, None for a local path; OptionError where there is none of that scheme."""
    scheme = scheme_of(path)
    if scheme and scheme not in STORES:
        remedy = "give a local path, gs://, s3:// or hdfs://"
        raise OptionError(f"{path}: there is no file system for {scheme}://; {remedy}")
    return STORES[scheme] if scheme else None


def scheme_of(path: str) -> str:
    """Return what stands before "://", "" for a local path.

    >>> scheme_of("gs://bucket/people.txt"), scheme_of("/data/people.txt"), scheme_of("C:\\\\people.txt")
    ('gs', '', '')
    """
    found = SCHEME.match(path)
    return found[1] if found else ""


STORES: dict[str, Objects | Folders] = {
    "s3": Objects(connect_s3),
    "gs": Objects(connect_gs),
    "hdfs": Folders(connect_hdfs),
}

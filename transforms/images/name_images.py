"""Names of files made for an image: from its key, safe on any file system, and never the same for two keys."""

import hashlib
import re

FOLDER = "images"
KINDS = ("extract", "mask", "mask-areas", "areas")
UNSAFE = re.compile(r"[^\w .,;=+@()\[\]{}~!'-]", re.ASCII)  # a worker may not know how to write more
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
MARKED = re.compile(r"-[0-9a-f]{16}")
LONGEST_PART, LONGEST_NAME = 180, 1000  # bytes; systems allow 255 and 4,096


def file_name(key: str, kind: str) -> str:
    """Return where a picture of an image goes in the output: the key and the kind, as the published program names it.

    A key with anything unsafe in it is mended, and a hash of the key tells it from others that are mended alike.

    >>> file_name("2015/w_7489.jpg", "mask-areas")
    'images/2015/w_7489.jpg.mask-areas.jpg'
    >>> file_name("a/<b>.jpg", "extract")
    'images/a/_b_.jpg-93c4bfafc5b1e53b.extract.jpg'
    """
    *folders, last = key.split("/")
    name = "/".join([*(_mend(_no_picture(folder)) for folder in folders), _mend(last)])
    if len(name.encode()) > LONGEST_NAME:
        name = "long"
    if name != key or MARKED.fullmatch(name[-17:]):
        name += "-" + hashlib.sha256(key.encode()).hexdigest()[:16]
    return f"{FOLDER}/{name}.{kind}.jpg"


def _mend(part: str) -> str:
    """Return a part of a path without what some system forbids or hides."""
    mended = UNSAFE.sub("_", part).encode()[:LONGEST_PART].decode(errors="ignore").rstrip(" .")
    return f"_{mended}" if not mended or mended.startswith(".") or RESERVED.fullmatch(mended) else mended


def _no_picture(folder: str) -> str:
    """Return the name of a folder so that it cannot be that of a picture beside it."""
    return folder + "_" if folder.endswith(tuple(f".{kind}.jpg" for kind in KINDS)) else folder

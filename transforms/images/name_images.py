"""Names of files made for an image: from its key, safe on any file system, and never the same for two keys."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

CROP = "crop"
KINDS = ("extract", "mask", "mask-areas", "areas")  # of the published program
JPEGS = (".jpg", ".jpeg", ".jpe")
UNSAFE = re.compile(r"[^\w .,;=+@()\[\]{}~!'-]", re.ASCII)  # a worker may not know how to write more
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
MARKED = re.compile(r"-[0-9a-f]{16}", re.IGNORECASE)
LONGEST_PART, LONGEST_NAME = 180, 1000  # bytes; systems allow 255 and 4,096


def file_name(key: str, kind: str, *, folds: bool = False) -> str:
    """Return where a picture of an image goes in the output: the key and the kind, as the published program names it.

    A crop has the name of the image itself. A key with anything unsafe in it is mended, and a hash of the key tells it
    from others that are mended alike. One that `folds`, as another's name differs by case alone, or not at all, gets a
    hash too.

    >>> file_name("2015/w_7489.jpg", "mask-areas")
    'images/2015/w_7489.jpg.mask-areas.jpg'
    >>> file_name("a/<b>.jpg", "extract")
    'images/a/_b_.jpg-93c4bfafc5b1e53b.extract.jpg'
    >>> file_name("2015/w_7489.JPG", "crop"), file_name("w_1.png", "crop")
    ('crops/2015/w_7489.JPG', 'crops/w_1.png.jpg')
    """
    *folders, last = key.split("/")
    # no folder has the name of a picture beside it
    folders = [f"{folder}_" if folder.lower().endswith(JPEGS) else folder for folder in folders]
    name = "/".join(map(_mend, [*folders, last]))
    if len(name.encode()) > LONGEST_NAME:
        name = "long"
    marked = name[: name.rindex(".")] if kind == CROP and name.lower().endswith(JPEGS) else name
    if folds or name != key or MARKED.fullmatch(marked[-17:]):
        name += "-" + hashlib.sha256(key.encode()).hexdigest()[:16]
    if kind == CROP:
        return f"crops/{name}" + ("" if name.lower().endswith(JPEGS) else ".jpg")
    return f"images/{name}.{kind}.jpg"


def folding(keys: Sequence[str]) -> list[bool]:
    """Return of which keys the names of crops are those of others to a file system that knows no case.

    >>> folding(["w.jpg", "W.JPG", "a/w.jpg", "v.png", "v.png.jpg"])
    [True, True, False, True, True]
    """
    names = [file_name(key, CROP).lower() for key in keys]
    times = Counter(names)
    return [times[name] > 1 for name in names]


def _mend(part: str) -> str:
    """Return a part of a path without what some system forbids or hides."""
    mended = UNSAFE.sub("_", part).encode()[:LONGEST_PART].decode(errors="ignore").rstrip(" .")
    return f"_{mended}" if not mended or mended.startswith(".") or RESERVED.fullmatch(mended) else mended

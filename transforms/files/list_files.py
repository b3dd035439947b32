"""List what a folder, a glob or a path names: regular files only, and what was left out by reason."""

import dataclasses
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence

from molino.transforms.files import storage
from molino.transforms.files.storage import FileInfo
from molino.transforms.warnings import Sighting, add_sightings

# why something in a folder is not read
HIDDEN, LINK, SPECIAL = "hidden", "link", "special"
WILDCARDS = frozenset("*?[")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """The files that one input names, in the order of their paths.

    Attributes:
      path: the input: a folder, a glob or a file; absolute where it is local.
      root: the folder that it is, or that holds all it can match; ends in "/".
      skipped: how many entries were left out, with the path of one, by reason: `hidden` (the name begins with a dot),
        `link`, `special` (a pipe, a socket, a device). No link inside a folder is followed: what it leads to is listed
        where it lies, or lies outside.
    """

    path: str
    root: str
    files: Sequence[FileInfo]
    skipped: Mapping[str, int]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files)

    def digest(self) -> str:
        """Return the sha256 over path, size and time of change of every file."""
        state = hashlib.sha256()
        for file in self.files:
            state.update(os.fsencode(file.path) + b"\0%d\0%.6f\n" % (file.bytes, file.modified))
        return state.hexdigest()


def list_files(path: str) -> Listing:
    """Return what an input names; a path that exists is never read as a glob, and a glob names files only.

    100,000 files take about a second. Nothing is opened: a pipe cannot make this wait.

    Raises:
      DataError: a folder cannot be read.
    """
    if not storage.is_local(path):
        found = storage.match(path)
        if found or WILDCARDS & set(path):
            return Listing(path=path, root=_fixed_folder(path), files=found, skipped={})
        folder = storage.join(path, "")
        return Listing(path=path, root=folder, files=storage.match(folder + "**"), skipped={})
    path = os.path.abspath(path)
    skipped: dict[str, int] = {}
    with storage.explained(path, "list"):
        if os.path.isdir(path):
            root, files = storage.join(path, ""), _walk(path, skipped)
        elif os.path.exists(path):
            # named by the user himself, so a link is followed
            status = os.stat(path)
            regular = stat.S_ISREG(status.st_mode)
            if not regular:
                skip(skipped, SPECIAL, path)
            root = _fixed_folder(path)
            files = iter([FileInfo(path, status.st_size, status.st_mtime)] if regular else [])
        else:
            root = _fixed_folder(path)
            files = _walk(root.rstrip("/") or "/", skipped, path) if os.path.isdir(root) else iter([])
        held = {file.path: file for file in files}
    return Listing(path=path, root=root, files=[held[name] for name in sorted(held)], skipped=skipped)


def skip(skipped: dict[str, int], reason: str, place: str) -> None:
    """Count what is left out, and where it is."""
    skipped[reason] = add_sightings(skipped.get(reason, 0), Sighting(1, place))


def _walk(folder: str, skipped: dict[str, int], pattern: str = "") -> Iterator[FileInfo]:
    """Yield every regular file below a folder, or those that match a glob, and count what is left out."""
    # "a/**/b" is "a/b" too, as in a shell; a glob alone wants a folder between
    globs = [storage.glob_regex(p) for p in {pattern, pattern.replace("**/", "")} if p]
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    if not pattern or storage.looks_into(pattern, entry.path):
                        waiting.append(entry.path)
                    continue
                if globs and not any(glob.match(entry.path) for glob in globs):
                    if entry.is_symlink() and entry.is_dir() and storage.looks_into(pattern, entry.path):
                        skip(skipped, LINK, entry.path)
                    continue
                if entry.name.startswith("."):
                    skip(skipped, HIDDEN, entry.path)
                elif entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    yield FileInfo(entry.path, status.st_size, status.st_mtime)
                else:
                    skip(skipped, LINK if entry.is_symlink() else SPECIAL, entry.path)


def _fixed_folder(path: str) -> str:
    """Return the folder before the first part of a path that has a wildcard, with "/" at its end.

    >>> _fixed_folder("/sea/2015/w_*.jpg"), _fixed_folder("/sea/20*/w_1.jpg"), _fixed_folder("/sea/w_1.jpg")
    ('/sea/2015/', '/sea/', '/sea/')
    """
    end = min((path.index(character) for character in WILDCARDS & set(path)), default=len(path))
    return path[: path.rindex("/", 0, end) + 1]


def common_folder(paths: Sequence[str]) -> str:
    """Return the longest common prefix of the paths that ends in "/".

    >>> common_folder(["/a/b/one.txt", "/a/b/c/two.txt"])
    '/a/b/'
    """
    shortest, longest = min(paths), max(paths)
    same = next((i for i, c in enumerate(shortest) if i >= len(longest) or c != longest[i]), len(shortest))
    return shortest[: shortest.rfind("/", 0, same) + 1]

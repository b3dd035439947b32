"""List what a folder, a glob or a path names: its data files, in natural order, and what was left out by reason."""

import dataclasses
import functools
import glob as shell
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.files.object_stores import store_of
from molino.transforms.files.storage import FileInfo
from molino.transforms.warnings import Sighting, add_sightings

# why something in a folder is not read
HIDDEN, LINK, SPECIAL, NO_DATA = "hidden", "link", "special", "no_data"
WILDCARDS = frozenset("*?[")
# what stands beside data in a folder: papers, programs, check sums, what a data set's tools keep
PAPERS = re.compile(
    r"(?i)(readme|licen[cs]e|copying|changelog|md5sums?|sha\d+sums?)([._-][a-z]{2})?(\.txt)?"
    r"|(dataset_infos?|dataset_dict|state|thumbs|ehthumbs|desktop)\.(json|db|ini)"
    r"|.*\.(md|rst|pdf|html?|docx?|py|ipynb|sh|r|sql|ya?ml|toml|crc|md5|sha\d+|asc|sig)"
)
TABLES = {"_delta_log": "a Delta", ".hoodie": "a Hudi"}  # folders that a table format keeps
ICEBERG = re.compile(r"(.*/)metadata/[^/]+\.metadata\.json")
REMEDIES = {
    "a Delta": "COPY (FROM delta_scan('{}')) TO 'rows.parquet'",
    "an Iceberg": "COPY (FROM iceberg_scan('{}')) TO 'rows.parquet'",
    "a Hudi": "",
}
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """The files that one input names, in natural order of their paths."""

    path: str  # the input: a folder, a glob or a file; absolute where it is local
    root: str  # the folder that it is, or that holds all it can match; ends in "/"
    files: Sequence[FileInfo]
    # how many entries were left out, with the path of one, by reason: `hidden` (the name begins with "." or "_"),
    # `link` (not followed, or to what is read where it lies), `special` (a pipe, a socket, a device), `no_data` (papers
    # and programs beside the data)
    skipped: Mapping[str, int]
    is_open: bool = True  # whether it is a folder or a glob, which may name more files later
    # photographs, follow_links: how it was listed; see `list_files`
    photographs: bool = False
    follow_links: bool = False

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files)

    def digest(self) -> str:
        """Return the sha256 over path, size and time of change of every file, in the order of their paths."""
        state = hashlib.sha256()
        for file in sorted(self.files, key=lambda file: file.path):
            state.update(os.fsencode(file.path) + b"\0%d\0%.6f\n" % (file.bytes, file.modified))
        return state.hexdigest()


def list_files(path: str, *, photographs: bool = False, follow_links: bool = False) -> Listing:
    """Return what an input names; a path that exists is never read as a glob, and a glob names files only.

    In a folder, names that begin with "." or "_" and papers beside the data are left out, and links are not followed; a
    glob is that of Beam's FileSystems, but "a/**/b" is "a/b" too, as in a shell, a name that begins with "." or "_" is
    matched by none that does not, and a link to a file is followed, as when a shell expands it. 100,000 files take
    about a second. Nothing is opened: a pipe cannot make this wait. `photographs`: names that begin with "_" are files
    as any, since cameras write them, and there are no papers. `follow_links`: go on in folders, and read files, that
    links inside a folder lead to; each once. Raises DataError: a folder cannot be read, what a path or a glob names is
    no regular file or leads nowhere, or it is a table whose folder has files of earlier versions (Delta, Iceberg,
    Hudi).
    """
    asked: dict[str, Any] = {"photographs": photographs, "follow_links": follow_links}
    walk = _Walk(hidden="." if photographs else "._", papers=not photographs, follow_links=follow_links)
    with storage.explained(path, "list"):
        store, path = store_of(path), storage.folder(path)
        if not store:
            storage.check_regular(path)
        if found := storage.look(path):  # named by the user himself, so a link is followed
            return Listing(path=path, root=_fixed_folder(path), files=[found], skipped={}, is_open=False, **asked)
        wild = bool(WILDCARDS & set(path)) and not (not store and os.path.isdir(path))
        walk.pattern, walk.root = (path, _fixed_folder(path)) if wild else ("", storage.join(path, ""))
        if store:
            entries = store.find(re.match(r"[^[*?]*", path)[0] if wild else walk.root)  # type: ignore[index]
            held = {file.path: file for file in entries if walk.takes(file.path)}
        else:
            held = {file.path: file for file in walk.files()} if os.path.isdir(walk.root) else {}
    walk.refuse_tables()
    ordered = [held[name] for name in sorted(held, key=natural_order)]
    return Listing(path=path, root=walk.root, files=ordered, skipped=walk.skipped, **asked)


def natural_order(path: str) -> list[Any]:
    """Return what paths are ordered by: numbers in them count as numbers.

    >>> sorted(["p10", "p9", "p"], key=natural_order)
    ['p', 'p9', 'p10']
    """
    parts = re.split(r"([0-9]+)", path)
    return [*((text, int(number)) for text, number in zip(parts[::2], [*parts[1::2], "-1"], strict=True)), path]


def folder_columns(path: str) -> dict[str, str | None]:
    """Return the columns that the folders of a file are named after, as Hive writes them, the outermost first.

    >>> folder_columns("/a=1/data/language=es/day=2019%2F05/part-0.csv")
    {'language': 'es', 'day': '2019/05'}
    """
    found: dict[str, str | None] = {}
    for name in reversed(path.split("/")[:-1]):
        key, mark, value = name.partition("=")
        if not (key and mark):
            break
        found[unquote(key)] = None if value == NO_VALUE else unquote(value)
    return dict(reversed(found.items()))


def with_folder_columns(names: Sequence[str], path: str) -> list[str]:
    """Return the columns of a file, and those of its folders that it has not itself."""
    return [*names, *(name for name in folder_columns(path) if name not in names)]


def skip(skipped: dict[str, int], reason: str, place: str) -> None:
    """Count what is left out, and where it is."""
    skipped[reason] = add_sightings(skipped.get(reason, 0), Sighting(1, place))


class _Walk:
    """What is looked for in a folder, or by a glob; and what was left out."""

    def __init__(self, *, hidden: str, papers: bool, follow_links: bool):
        self.hidden, self.papers, self.follow_links = tuple(hidden), papers, follow_links
        self.pattern = self.root = ""
        self.skipped: dict[str, int] = {}

    def takes(self, path: str) -> bool:
        """Return whether a file is asked for by its path alone; count it where it is not."""
        self._refuse_table(path)
        globs = {self.pattern, self.pattern.replace("**/", "")}  # "**/" may stand for no folder
        if self.pattern and not any(glob_regex(glob).match(path) for glob in globs):
            return False
        if self.is_hidden(path):
            skip(self.skipped, HIDDEN, path)
        elif self.papers and not self.pattern and PAPERS.fullmatch(path.rpartition("/")[2]):
            skip(self.skipped, NO_DATA, path)
        else:
            return True
        return False

    def is_hidden(self, path: str) -> bool:
        """Return whether a part of a path below the root has a name that is left alone, and is not asked for by it."""
        parts, asked = path[len(self.root) :].split("/"), self.pattern[len(self.root) :].split("/")
        if "**" in self.pattern:
            asked = [""] * (len(parts) - 1) + asked[-1:]  # "**" itself asks for none of them
        starts = [part[:1] for part in asked] + [""] * len(parts)
        named = ((part[:1], start) for part, start in zip(parts, starts, strict=False))
        return any(first in self.hidden and first != start for first, start in named)

    def files(self) -> Iterator[FileInfo]:
        """Yield the regular files of a local folder, or those that a glob matches, and count what is left out."""
        held: set[tuple[int, int]] = set()
        links: list[str] = []
        folders, linked = [self.root.rstrip("/") or "/"], list[str]()
        while folders or linked:
            folder = folders.pop() if folders else linked.pop(0)
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in held:
                continue
            held.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    is_link, is_folder = entry.is_symlink(), entry.is_dir()
                    if is_folder:
                        if self._enters(entry.path, is_link=is_link):
                            (linked if is_link else folders).append(entry.path)
                    elif not self.takes(entry.path):
                        continue
                    elif is_link:
                        links.append(entry.path)
                    elif entry.is_file():
                        status = entry.stat()
                        held.add((status.st_dev, status.st_ino))
                        yield FileInfo(entry.path, status.st_size, status.st_mtime)
                    elif self.pattern:
                        storage.check_regular(entry.path)  # it was named: that is refused
                    else:
                        skip(self.skipped, SPECIAL, entry.path)
        for path in sorted(links):
            if self.follow_links or self.pattern:
                storage.check_regular(path)
                status = os.stat(path)
                if (place := (status.st_dev, status.st_ino)) not in held:
                    held.add(place)
                    yield FileInfo(path, status.st_size, status.st_mtime)
                    continue
            skip(self.skipped, LINK, path)

    def _enters(self, folder: str, *, is_link: bool) -> bool:
        """Return whether files are looked for in a folder; count it where it is left out."""
        self._refuse_table(storage.join(folder, ""))
        if self.pattern and not looks_into(self.pattern, folder):
            return False
        if self.is_hidden(folder):
            if not self.pattern:
                skip(self.skipped, HIDDEN, folder)
            return False
        if is_link and not self.follow_links:
            skip(self.skipped, LINK, folder)
            return False
        return True

    def _refuse_table(self, path: str) -> None:
        for name, kind in TABLES.items():
            if f"/{name}/" in path:
                _refuse_table(path[: path.index(f"/{name}/")], kind)
        if path.endswith(".metadata.json") and (found := ICEBERG.fullmatch(path)):
            _refuse_table(found[1].rstrip("/"), "an Iceberg")

    def refuse_tables(self) -> None:
        """Raise DataError where what is asked for lies inside of a table."""
        above = self.root.rstrip("/")
        inside = ""
        while above and not above.endswith(":/"):
            for name, kind in TABLES.items():
                if _is_there(storage.join(above, name, "")):
                    _refuse_table(above, kind)
            if inside == "data" and _is_there(storage.join(above, "metadata", "*.metadata.json")):
                _refuse_table(above, "an Iceberg")
            above, _, inside = above.rpartition("/")


def _refuse_table(table: str, kind: str) -> None:
    remedy = REMEDIES[kind].format(table)
    by = f"write its rows of today, in DuckDB: {remedy}" if remedy else "write its rows of today to files first"
    raise DataError(f"{table} is {kind} table, whose folder has files of earlier versions too; {by}")


def _is_there(path: str) -> bool:
    """Return whether there is anything below a folder, or that a glob names; what may not be listed is not there."""
    store = store_of(path)
    if not store:
        return bool(shell.glob(path)) if "*" in path else os.path.isdir(path)
    asked = glob_regex(path) if "*" in path else None
    try:
        return any(not asked or asked.match(file.path) for file in store.find(path.partition("*")[0]))
    except Exception:  # the keys may be for the input alone, and clients have errors of their own
        return False


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
    same = os.path.commonprefix(list(paths))  # noqa: RUF071  its last "/" is looked for below
    return same[: same.rfind("/") + 1]


def labels_of(files: Sequence[FileInfo]) -> list[str]:
    """Return what outputs call files: their paths below their common folder; of what came through pipes, the names."""
    root = common_folder([file.path for file in files if not file.sha256])
    return [file.path.rpartition("/")[2] if file.sha256 else file.path[len(root) :] for file in files]


@functools.lru_cache(256)
def glob_regex(pattern: str) -> re.Pattern[str]:
    r"""Return what matches the paths that a glob names: `*` and `[..]` within a folder, `**` across, `?` any character.

    It is the glob of Beam's FileSystems. Nothing in it can be quoted. DataError: a range in brackets runs backwards.

    >>> [bool(glob_regex("/a/[!x]*.txt").match(path)) for path in ("/a/b.txt", "/a/x.txt", "/a/b/c.txt", "/a/b.txt~")]
    [True, False, False, False]
    >>> [bool(glob_regex("/a/**.txt").match(path)) for path in ("/a/b.txt", "/a/b/c.txt", "/a.txt")]
    [True, True, False]
    """
    parts = re.findall(r"\*\*|\*|\?|\[!?+\]?+[^]]*+\]|.", pattern, re.DOTALL)
    known = {"**": ".*", "*": r"[^/\\]*", "?": "."}
    made = "".join(known.get(part) or (_one_of(part[1:-1]) if len(part) > 1 else re.escape(part)) for part in parts)
    try:
        return re.compile(rf"(?ms){made}\Z")
    except re.error as error:
        raise DataError(f"cannot list {pattern}: not a valid glob: {error}") from None


def _one_of(characters: str) -> str:
    quoted = re.sub(r"([\\^[&~|])", r"\\\1", characters.removeprefix("!"))
    return f"[^/{quoted}]" if characters.startswith("!") else f"[{quoted}]"


def looks_into(pattern: str, folder: str) -> bool:
    """Return whether a glob looks for files in a folder.

    >>> [looks_into("/sea/20*/*.jpg", folder) for folder in ("/sea/2015", "/sea/old", "/sea/2015/deep")]
    [True, False, False]
    >>> looks_into("/sea/**.jpg", "/sea/2015/deep")
    True
    """
    parts, depth = pattern.split("/"), folder.count("/") + 1
    if "**" in "/".join(parts[:depth]):
        return True
    return depth < len(parts) and bool(glob_regex("/".join(parts[:depth])).match(folder))

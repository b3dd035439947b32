"""Objects of S3 and Cloud Storage, by obstore: whole in one request, in ranges, and written on a condition.

A client is made once for a bucket and a process, and keeps its connections.
"""

import contextlib
import dataclasses
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import obstore
import pyarrow as pa
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from molino.transforms.files.accounts import known_options

# bytes that are fetched where fewer are asked for: anywhere; at most, where one follows another; bytes that are kept
READ_FIRST, READ_MOST = 1 << 18, 1 << 24
PART, PARTS_AT_ONCE = 8 << 20, 4  # of an upload, whose memory they are
UNSUPPORTED = ("400", "405", "501")  # HTTP: no such condition is known
SLOW = "RequestTimeout"  # S3's, with 400: it has waited for the bytes
PAUSES = (0.0, 0.1, 0.5, 2.0, 5.0)  # seconds before each try of a conditional write
CERTAIN = (FileNotFoundError, PermissionDeniedError, UnauthenticatedError)  # nothing was written, nor will be
LISTED = 1000  # objects at once, as many as an answer has
TOO_LARGE = "larger than the maximum allowable size for a copy source"  # for S3, which copies 5 GB in one request
NO_ACCOUNT = "no account is known here"
ACCOUNTS_OF_MACHINES = ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "computeMetadata")  # asked last
_user = 0  # the process that has used a client


@dataclasses.dataclass(frozen=True)
class FileInfo:
    """A file as listed: path, size in bytes, time of the last change in seconds since 1970 (0 where unknown).

    Of what came through a pipe, and lies in a temporary file now, `sha256` is the digest; else it is "".
    """

    path: str
    bytes: int
    modified: float
    sha256: str = ""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A small file as it was at one moment, which its replacement is conditional on."""

    data: bytes | None  # what it held; None where there was none
    version: tuple[tuple[str, str], ...] = ()  # its ETag, and its generation where the store has them


class UnsupportedError(Exception):
    """The store knows no conditional writes."""


class Objects:
    """A store that obstore has a client for; `connect` makes that of a bucket from the options of the command line."""

    def __init__(self, connect: Callable[[str, Mapping[str, str]], Any]):
        self._connect = connect
        self._made: dict[Any, Any] = {}
        self._unsupported: set[str] = set()  # buckets without conditional writes

    def client(self, path: str) -> tuple[Any, str]:
        """Return the client of a path's bucket, and the object's name."""
        global _user
        _user = _user or os.getpid()
        if _user != os.getpid():  # a client's threads do not come along: it would wait for ever
            raise OSError("this process was forked from one that had opened a store; start it anew")
        bucket, _, name = path.partition("://")[2].partition("/")
        options = known_options()
        known = (bucket, *options.items())
        made = self._made.get(known) or self._made.setdefault(known, self._connect(bucket, options))
        if name != name.strip("/"):
            raise OSError("empty path segment in its name")  # the client would take it for another name
        return made, name

    def get(self, path: str) -> bytes:
        """Return an object as it is at one moment, even while it is replaced."""
        client, name = self.client(path)
        return bytes(client.get(name).bytes())

    def put(self, path: str, data: bytes) -> None:
        """Write an object, or replace it."""
        client, name = self.client(path)
        client.put(name, data, mode="overwrite", use_multipart=False)

    def see(self, path: str) -> Snapshot:
        """Return a small object, or that there is none, as its replacement can be conditional on."""
        client, name = self.client(path)
        try:
            found = client.get(name)
            return Snapshot(bytes(found.bytes()), _version(found.meta))
        except FileNotFoundError:
            return Snapshot(None)

    def swap(self, path: str, data: bytes, snapshot: Snapshot) -> Snapshot | None:
        """Replace an object, or write a new one, in one step, unless it is no longer as it was seen.

        An answer that is lost on the way, or that tells of an earlier try, is no failure: what is there is read back.
        Two writers of the same bytes may both be told that they wrote: let the bytes be one writer's alone.

        Returns: what is there now; None where it was no longer as seen, and nothing was written. Raises
        UnsupportedError: the store knows no such condition.
        """
        client, name = self.client(path)
        if path.split("/")[2] in self._unsupported:
            raise UnsupportedError("no conditional writes, as it has said before")
        failed: Exception | None = None
        for pause in PAUSES:
            time.sleep(pause)
            try:
                if failed:
                    # whatever the answer was, or if none came: what is there tells. An earlier try may have landed, to
                    # which the store answers 412, and of writers of one moment it may tell all 409 and write none
                    there = self.see(path)
                    if there.data == data:
                        return there
                    if (there.version, there.data is None) != (snapshot.version, snapshot.data is None):
                        return None
                mode: Any = dict(snapshot.version) if snapshot.data is not None else "create"
                return Snapshot(data, _version(client.put(name, data, mode=mode, use_multipart=False)))
            except CERTAIN:
                raise
            except (BaseError, OSError) as error:
                if cause_of(error).startswith(UNSUPPORTED) and SLOW not in str(error):
                    self._unsupported.add(path.split("/")[2])  # the client asks for half a minute until it says so
                    raise UnsupportedError(cause_of(error)) from error
                failed = error
        there = self.see(path)
        if there.data == data:
            return there
        if failed and there.version == snapshot.version:
            raise failed
        return None

    def copy(self, source: str, target: str) -> None:
        """Copy an object of any size; the store does it where it can."""
        (client, name), (other, to) = self.client(source), self.client(target)
        try:
            if client is not other:
                raise OSError(TOO_LARGE)
            client.copy(name, to)
        except (OSError, BaseError) as error:
            if TOO_LARGE not in str(error):
                raise
            with self.open(source) as file, self.create(target) as copy:
                shutil.copyfileobj(file, copy, READ_MOST)

    def move(self, source: str, target: str) -> None:
        """Give an object of any size another name."""
        self.copy(source, target)
        self.delete([source])

    def delete(self, paths: Sequence[str]) -> None:
        """Delete objects; one that is not there is no error."""
        client, names = self.client(paths[0])[0], [self.client(path)[1] for path in paths]
        try:
            client.delete(names if len(names) > 1 else names[0])
        except FileNotFoundError:  # Cloud Storage says so, and may have left others
            for name in names if len(names) > 1 else ():
                with contextlib.suppress(FileNotFoundError):
                    client.delete(name)

    def look(self, path: str) -> FileInfo | None:
        """Return what is known of an object, None where there is none."""
        if path.endswith("/"):
            return None
        client, name = self.client(path)
        with contextlib.suppress(FileNotFoundError):
            if name:
                return _info(path, client.head(name))
        return None

    def find(self, prefix: str) -> Iterator[FileInfo]:
        """Yield all objects whose paths begin so."""
        bucket, _, begin = prefix.partition("://")[2].partition("/")
        root = f"{prefix.partition('://')[0]}://{bucket}/"
        client, _ = self.client(root)
        folder = begin.rpartition("/")[0]
        if folder.startswith("/"):
            raise OSError("empty path segment in its name")
        # the client lists folders: what comes before is passed over, what comes after is not waited for
        offset = begin[:-1] or None if not begin.endswith("/") else None
        for chunk in client.list(folder or None, offset=offset, chunk_size=LISTED):
            for found in chunk:
                path = root + found["path"]
                if path.startswith(prefix):
                    # an empty object may be the mark of a folder, "a/", which the client shows as "a": it is no file
                    info = _info(path, found) if found["size"] else self.look(path)
                    if info and info.bytes == found["size"]:
                        yield info
            if offset and chunk and chunk[-1]["path"] > begin and not chunk[-1]["path"].startswith(begin):
                return

    def open(self, path: str) -> pa.NativeFile:
        """Open an object for random access: only what is asked for is fetched."""
        return pa.PythonFile(_Reader(self, path), mode="r")

    @contextlib.contextmanager
    def create(self, path: str) -> Iterator[Any]:
        """Give a new object to write. It shows at the end of the block; an exception in that leaves none."""
        client, name = self.client(path)
        with obstore.open_writer(client, name, buffer_size=PART, max_concurrency=PARTS_AT_ONCE) as made:
            yield Upload(made)


class _Reader:
    """An object as a file: read in ranges, and all of them of the object that it was when it was opened.

    The first request is for the first bytes, which are all that a small file has. Who reads on and on gets twice as
    many each time. Memory: one range.
    """

    closed = False

    def __init__(self, store: Objects, path: str):
        self.client, self.name = store.client(path)
        self.at, self.begin, self.least, self.state = 0, 0, READ_FIRST, {}
        self.held: Any = b""
        try:
            first = self.client.get(self.name, options={"range": (0, READ_FIRST)})
            self.length, tag = first.meta["size"], first.meta["e_tag"]
            self.state = {"if_match": tag} if tag else {}
            self.held = first.bytes()
        except FileNotFoundError:
            raise
        except (BaseError, ValueError):  # an empty object has no first bytes
            found = store.look(path)
            if found is None or found.bytes:
                raise
            self.length = 0

    def read(self, size: int | None = None) -> memoryview:
        start = self.at
        end = self.length if size is None or size < 0 else min(start + size, self.length)
        if start >= end:
            return memoryview(b"")
        last = self.begin + len(self.held)
        if start < self.begin or end > last:
            follows = self.begin <= start <= last
            self.least = min(2 * self.least, READ_MOST) if follows else READ_FIRST
            kept = memoryview(self.held)[start - self.begin :] if follows else b""
            begin = start + len(kept)
            asked = {"range": (begin, min(max(end, begin + self.least), self.length)), **self.state}
            self.held, self.begin = b"".join([kept, self.client.get(self.name, options=asked).bytes()]), start
        self.at = end
        piece = memoryview(self.held)[start - self.begin : end - self.begin]
        if len(self.held) > READ_MOST:
            self.held, self.begin = bytes(memoryview(self.held)[end - self.begin :]), end
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = min(offset + (0, self.at, self.length)[whence], self.length)
        return self.at

    def tell(self) -> int:
        return self.at

    def close(self) -> None:
        self.closed, self.held = True, b""


class Upload:
    """A writer that knows bytes alone, as what Arrow writes to."""

    closed = False

    def __init__(self, file: Any):
        self.file = file

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.file.write(view)
        return len(view)

    def flush(self) -> None:
        """Do nothing: nobody sees the object before it is whole."""


def cause_of(error: Exception) -> str:
    """Return what a client says of an error: of an HTTP answer the status, code and message; else without its times."""
    text = str(error).partition("\n\nDebug source")[0]
    if any(place in text for place in ACCOUNTS_OF_MACHINES):
        return NO_ACCOUNT
    if answer := re.search(r"status code: (\d+[ \w]*)", text):
        more = [found[1] for tag in ("Code", "Message") if (found := re.search(f"<{tag}>([^<]+)<", text))]
        return ": ".join([answer[1].strip(), *more])
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    text = re.sub(r" in [\d.]+[mµn]?s(, after [^-]*?)? +- ", ": ", " ".join(text.split()))
    return re.sub(r"//[^/@\s]+@", "//", text)[:300]  # an endpoint's URL may hold a password


def _version(found: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((part, found[part]) for part in ("e_tag", "version") if found.get(part))


def _info(path: str, found: Mapping[str, Any]) -> FileInfo:
    # in whole seconds: of Cloud Storage a list has milliseconds and the object's own head has none
    return FileInfo(path, found["size"], float(int(found["last_modified"].timestamp())))

"""Files: on a local path, gs://, s3:// or hdfs://.

Local files are opened by Arrow itself, which reads and writes without Python's lock; everything else goes through
`molino.transforms.files.object_stores`, so that a job is the same code on a laptop and on a cluster.
"""

import contextlib
import errno
import hashlib
import os
import posixpath
import re
import shutil
import stat
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa

from molino.transforms.errors import DataError, OptionError
from molino.transforms.files.accounts import S3_KEYS
from molino.transforms.files.accounts import use_options as use_options
from molino.transforms.files.object_stores import scheme_of, store_of
from molino.transforms.files.objects import NO_ACCOUNT, FileInfo, Snapshot, UnsupportedError, cause_of

REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space or write elsewhere, then run again",
    errno.EFBIG: "the file is larger than this process may write (ulimit -f); raise the limit, then run again",
    errno.EDQUOT: "the disk quota is used up; free some space or write elsewhere, then run again",
    errno.EACCES: "no permission; write elsewhere or change the folder's owner",
    errno.EROFS: "the file system is read-only; write elsewhere",
    errno.ENOTDIR: "a part of the path is a file, not a folder; write elsewhere",
}
_NO_FOLDER = "a part of the path is a file, not a folder"
READING = {errno.EACCES: "let this user read it, or leave it out", errno.ENOTDIR: _NO_FOLDER}
_NAME = "its client reaches no object whose name has an empty part, . or .., or a control character; rename that one"
_BUCKET = "there is no such bucket; make it, or check the name"
_REGION = "give the bucket's region: --s3_region_name or AWS_DEFAULT_REGION"
_BUSY = "the store asks for fewer requests; run again, with fewer workers"
# what the clients say, a status at its beginning, and the remedy
STORES = {
    "s3": {
        f"{NO_ACCOUNT}|Received None from session.get_credentials|InvalidAccessKeyId": S3_KEYS,
        "SignatureDoesNotMatch": "the secret key is not that of the access key; check both",
        "NoSuchBucket": _BUCKET,
        "^403": "the keys do not allow it; check them and the bucket's policy",
        "^301|redirect|AuthorizationHeaderMalformed": _REGION,
        "^503": _BUSY,
        "error sending request": "check --s3_endpoint_url or AWS_ENDPOINT_URL, and the network",
        "builder error": "check --s3_endpoint_url or AWS_ENDPOINT_URL",
        "path segment": _NAME,
    },
    "gs": {
        NO_ACCOUNT: "run gcloud auth application-default login, or name a key file: GOOGLE_APPLICATION_CREDENTIALS",
        "NoSuchBucket": _BUCKET,
        "^401": "the account is not accepted; run gcloud auth application-default login, or check the key file",
        "^403": "the account is not allowed to; check its roles on the bucket",
        "^503": _BUSY,
        "error sending request": "check the network, and STORAGE_EMULATOR_HOST where it is set",
        "path segment": _NAME,
    },
}
NO_FILES = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
_opening = threading.Lock()
_closed: set[str] = set()


def is_local(path: str) -> bool:
    """Return whether a path has no scheme.

    >>> is_local("/data/people.txt"), is_local("gs://bucket/people.txt")
    (True, False)
    """
    return not scheme_of(path)


def folder(path: str) -> str:
    """Return a folder's path as everything here writes it: absolute where it is local, without a slash at its end."""
    return os.path.abspath(path) if is_local(path) else path.rstrip("/")


def join(folder: str, *names: str) -> str:
    """Join a folder and names with "/", whatever the file system.

    >>> join("gs://bucket/out/", "people", "part.parquet")
    'gs://bucket/out/people/part.parquet'
    """
    return posixpath.join(folder.rstrip("/") or "/", *names)


def file_error(error: Exception, path: str, verb: str) -> DataError:
    """Return the error that a user reads for a failed file operation: path, cause and remedy in one line."""
    store_of(path)
    code = getattr(error, "errno", None)
    # Arrow's own OSErrors carry the number only in their text: "... [errno 28] No space left on device"
    for number in REMEDIES:
        if code is None and f"[errno {number}]" in str(error):
            code = number
    cause = os.strerror(code) if code else cause_of(error)
    if verb == "list" and isinstance(error, OSError) and isinstance(error.filename, str):
        path = error.filename  # the folder in it that cannot be read
    remedy = (REMEDIES if verb not in ("read", "list", "look at") else READING).get(code or 0, "")
    if not is_local(path):
        remedies = STORES.get(scheme_of(path), {})
        remedy = next((remedies[told] for told in remedies if re.search(told, cause)), "")
    return DataError(f"cannot {verb} {path}: {cause}" + (f"; {remedy}" if remedy else ""))


@contextlib.contextmanager
def explained(path: str, verb: str) -> Iterator[None]:
    """Turn the file system's errors inside the block into one that says the path and the remedy."""
    try:
        yield
    except (DataError, OptionError, UnsupportedError):
        raise
    except (OSError, pa.ArrowException) as error:
        raise file_error(error, path, verb) from error
    except Exception as error:
        # the clients of object stores have errors of their own
        if is_local(path):
            raise
        raise file_error(error, path, verb) from error


def open_input(path: str) -> pa.NativeFile:
    """Open a file for random access."""
    with explained(path, "read"):
        if store := store_of(path):
            return store.open(path)
        check_regular(path)
        return pa.OSFile(path, "rb")


@contextlib.contextmanager
def open_output(path: str) -> Iterator[IO[bytes]]:
    """Create or replace a file, with its folders, and give it open for writing.

    In a store it is there at the end of the block, and not at all where an exception leaves that.
    """
    with contextlib.ExitStack() as opened:
        with explained(path, "write"):
            if store := store_of(path):
                file = opened.enter_context(store.create(path))
            else:
                with _opening:
                    _check_open(path)
                    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
                    file = opened.enter_context(open(path, "wb"))
        yield file


def _check_open(path: str) -> None:
    """Raise DataError below a folder that is closed. Call it with `_opening` held, until the path is there."""
    if path.startswith(tuple(_closed)):
        raise DataError(f"cannot write {path}: the run was stopped")


def close_folder(folder: str) -> None:
    """Let no thread of this process put a file below a local folder any more, for it is about to be deleted."""
    with _opening:
        _closed.add(join(folder, ""))


def read_bytes(path: str) -> bytes:
    """Return the whole of a small file; of an object, as it was at one moment."""
    if store := store_of(path):
        with explained(path, "read"):
            return store.get(path)
    with open_input(path) as file, explained(path, "read"):
        return file.read()


def hash_file(path: str) -> tuple[int, str]:
    """Return the size and the sha256 of a file. Memory: a buffer."""
    with open_input(path) as file, explained(path, "read"):
        state = hashlib.file_digest(file, "sha256")
        return file.tell(), state.hexdigest()


def write_bytes(path: str, data: bytes) -> None:
    """Create or replace a small file, with its folders."""
    with explained(path, "write"):
        if store := store_of(path):
            store.put(path, data)
            return
        with open_output(path) as file:
            file.write(data)


def write_atomic(path: str, data: bytes) -> None:
    """Write a small file so that a reader sees all of it or none.

    A local file is written beside its place, synced and renamed. An object store shows an object only when it is whole.
    """
    if not is_local(path):
        write_bytes(path, data)
        return
    with explained(path, "write"):
        temporary = os.path.join(os.path.dirname(path) or ".", f"_tmp.{uuid.uuid4().hex}")
        try:
            with open_output(temporary) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            with _opening:  # a folder that was closed meanwhile has been looked through: what it needs is known
                _check_open(path)
                os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise


def see(path: str) -> Snapshot:
    """Return a small file as it is at one moment, or that there is none."""
    with explained(path, "read"):
        if store := store_of(path):
            return store.see(path)
        check_regular(path)
        try:
            with open(path, "rb") as file:
                return Snapshot(file.read())
        except FileNotFoundError:
            return Snapshot(None)


def swap(path: str, data: bytes, snapshot: Snapshot, *, strict: bool = False) -> Snapshot | None:
    """Replace a small file unless it is no longer as it was seen; return what is there now, None where it was not.

    In one step by S3's If-Match and Cloud Storage's generation; see `Objects.swap`. Elsewhere it is looked first, and
    what is returned has no version: there a writer needs a lock. Let the bytes be one writer's alone: they tell whose
    write it was. `strict`: raise UnsupportedError where it cannot be done in one step.
    """
    with explained(path, "write"):
        if store := store_of(path):
            try:
                return store.swap(path, data, snapshot)
            except UnsupportedError:
                if strict:
                    raise
        if see(path).data != snapshot.data:
            return None
        write_atomic(path, data)
        return Snapshot(data)


@contextlib.contextmanager
def published(targets: Sequence[Path]) -> Iterator[list[Path]]:
    """Give a temporary name for each target; rename all at the end, or remove all when the body fails."""
    parts = [target.with_name(f".{target.name}.{os.getpid()}.part") for target in targets]
    try:
        yield parts
        for part, target in zip(parts, targets, strict=True):
            os.replace(part, target)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def exists(path: str) -> bool:
    """Return whether a file (or a local folder) is there."""
    with explained(path, "look at"):
        store = store_of(path)
        return store.look(path) is not None if store else os.path.exists(path)


def look(path: str) -> FileInfo | None:
    """Return a file as it is listed; None where there is none."""
    with explained(path, "look at"):
        if store := store_of(path):
            return store.look(path)
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(path)
            return None if stat.S_ISDIR(status.st_mode) else FileInfo(path, status.st_size, status.st_mtime)
        return None


def list_tree(folder: str) -> list[FileInfo]:
    """Return every file below a folder, sorted by path; none when the folder is not there.

    A file that goes while the folder is listed, such as the claim of a run that did not get the lock, is left out.
    """
    found: list[FileInfo] = []
    with explained(folder, "list"):
        if store := store_of(folder):
            found += store.find(join(folder, ""))
        for top, _, names in [] if store else os.walk(folder):
            for name in names:
                if info := look(os.path.join(top, name)):
                    found.append(info)
    return sorted(found, key=lambda f: f.path)


def move(source: str, target: str, *, size: int) -> None:
    """Move a file to a name that stands for its content: where it is there with its size, it is left as it is.

    So an object that readers may have open is not written again, and an attempt that was repeated finds its own.
    """
    with explained(target, "write"):
        if store := store_of(target):
            there = store.look(target)
            if there and there.bytes == size:
                store.delete([source])
            else:
                store.move(source, target)
        elif os.path.exists(source) or not os.path.exists(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.replace(source, target)


def copy(source: str, target: str) -> None:
    """Give a file that nobody changes a second name: a link where the disk has them, else a copy."""
    with explained(target, "write"):
        store = store_of(target)
        if store:
            store.copy(source, target)
            return
        with _opening:
            _check_open(target)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with contextlib.suppress(OSError):  # another user's file, a system without links, or too many of them
                os.link(source, target)
                return
        with open(source, "rb") as file, open_output(target) as made:
            shutil.copyfileobj(file, made)


def delete_file(path: str, *, below: str = "") -> None:
    """Delete a file, if it is there, and its folder if that is empty then; those above too where they lie `below`."""
    with explained(path, "delete"):
        if store := store_of(path):
            store.delete([path])
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        _delete_empty(os.path.dirname(path), below)


def delete_tree(folder: str, *, below: str = "") -> None:
    """Delete a folder, if it is there, and all below it; empty folders above it too where they lie `below` another."""
    with explained(folder, "delete"):
        if not (store := store_of(folder)):
            shutil.rmtree(folder, ignore_errors=True)
            if below:
                _delete_empty(os.path.dirname(folder), below)
        elif paths := [file.path for file in list_tree(folder)]:
            store.delete(paths)


def _delete_empty(folder: str, below: str) -> None:
    """Delete a folder, and those above it that lie below another, as long as they are empty."""
    with contextlib.suppress(OSError):
        os.rmdir(folder)
        while below and (folder := os.path.dirname(folder)).startswith(join(below, "")):
            os.rmdir(folder)


def check_regular(path: str) -> None:
    """Raise DataError for a pipe, a socket, a device, which may wait for ever, and for a link that leads nowhere."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if os.path.islink(path):
            raise DataError(f"{path} is a link to {os.readlink(path)}, which is not there; leave it out") from None
        return  # whoever opens it says so
    except OSError:
        return
    if kind := NO_FILES.get(stat.S_IFMT(mode)):
        raise DataError(f"{path} is {kind}, not a file; write its content to a file first, or leave it out")

"""Files on any file system that Beam knows: a local path, gs://, s3:// or hdfs://.

Local files are opened by Arrow itself, which reads and writes without Python's lock; everything else goes through
Beam's FileSystems, so that a job is the same code on a laptop and on a cluster.
"""

import contextlib
import dataclasses
import errno
import hashlib
import importlib.util
import os
import posixpath
import shutil
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from molino.transforms.errors import DataError, OptionError
from molino.transforms.files.object_stores import UnsupportedError, store_of

REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space or write elsewhere, then run again",
    errno.EFBIG: "the file is larger than this process may write (ulimit -f); raise the limit, then run again",
    errno.EDQUOT: "the disk quota is used up; free some space or write elsewhere, then run again",
    errno.EACCES: "no permission; write elsewhere or change the folder's owner",
    errno.EROFS: "the file system is read-only; write elsewhere",
    errno.ENOTDIR: "a part of the path is a file, not a folder; write elsewhere",
}
# what must be installed for a file system
EXTRAS = {"gs": "dataflow", "s3": "aws", "hdfs": "hdfs"}
CLIENTS = {"gs": ("google.cloud.storage",), "s3": ("boto3",), "hdfs": ("hdfs",)}
_S3_KEYS = "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --s3_access_key_id and --s3_secret_access_key"
# what the clients say, in part, and the remedy
STORES = {
    "s3": {
        "Unable to locate credentials": _S3_KEYS,
        "Forbidden": "the keys do not allow it; check them and the bucket's policy",
        "InvalidAccessKeyId": _S3_KEYS,
        "NoSuchBucket": "there is no such bucket; make it, or check the name",
        "connect to the endpoint": "check --s3_endpoint_url or AWS_ENDPOINT_URL, and the network",
        "You must specify a region": "give --s3_region_name or AWS_DEFAULT_REGION",
    },
    "gs": {
        "Anonymous caller": "run gcloud auth application-default login, or name a key file: "
        "GOOGLE_APPLICATION_CREDENTIALS",
        "403": "the account is not allowed to; check its roles on the bucket",
        "bucket does not exist": "there is no such bucket; make it, or check the name",
        "Max retries exceeded": "check the network",
    },
}


_opening = threading.Lock()
_closed: set[str] = set()


@dataclasses.dataclass(frozen=True)
class FileInfo:
    """A file as listed: path, size in bytes, time of the last change in seconds since 1970 (0 where unknown)."""

    path: str
    bytes: int
    modified: float


def is_local(path: str) -> bool:
    """Return whether a path has no scheme.

    >>> is_local("/data/people.txt"), is_local("gs://bucket/people.txt")
    (True, False)
    """
    return FileSystems.get_scheme(path) is None


def join(folder: str, *names: str) -> str:
    """Join a folder and names with "/", whatever the file system.

    >>> join("gs://bucket/out/", "people", "part.parquet")
    'gs://bucket/out/people/part.parquet'
    """
    return posixpath.join(folder.rstrip("/") or "/", *names)


def use_options(flags: Sequence[str]) -> None:
    """Tell Beam's file systems their options, such as `--s3_endpoint_url`, before there is a pipeline that does."""
    from apache_beam.options.pipeline_options import PipelineOptions

    FileSystems.set_options(PipelineOptions(list(flags)))


def explain(error: Exception, path: str, verb: str) -> DataError:
    """Return the error that a user reads for a failed file operation: path, cause and remedy in one line.

    Raises:
      OptionError, DataError: of `check_store`, where that is the cause.
    """
    check_store(path)
    code = getattr(error, "errno", None)
    # Arrow's own OSErrors carry the number only in their text: "... [errno 28] No space left on device"
    for number in REMEDIES:
        if code is None and f"[errno {number}]" in str(error):
            code = number
    cause = os.strerror(code) if code else " ".join(str(error).split())[:300]
    remedy = REMEDIES.get(code or 0, "")
    scheme = FileSystems.get_scheme(path)
    if scheme in STORES:
        remedy = next((told for word, told in STORES[scheme].items() if word in cause), "")
    return DataError(f"cannot {verb} {path}: {cause}" + (f"; {remedy}" if remedy else ""))


def check_store(path: str) -> None:
    """Look whether there is a file system for a path.

    Raises:
      OptionError: Beam knows none of that scheme.
      DataError: its client is not installed.
    """
    scheme = FileSystems.get_scheme(path)
    if scheme is None:
        return
    if scheme in EXTRAS and not has_client(scheme):
        raise DataError(f"paths of {scheme}:// need: pip install -r requirements/{EXTRAS[scheme]}.txt")
    try:
        FileSystems.get_filesystem(path)
    except ValueError:
        raise OptionError(
            f"{path}: there is no file system for {scheme}://; give a local path, gs://, s3:// or hdfs://"
        ) from None


def has_client(scheme: str) -> bool:
    """Return whether what a file system needs is installed."""
    try:
        return all(importlib.util.find_spec(name) is not None for name in CLIENTS[scheme])
    except ModuleNotFoundError:  # of the package above
        return False


@contextlib.contextmanager
def explained(path: str, verb: str) -> Iterator[None]:
    """Turn the file system's errors inside the block into one that says the path and the remedy."""
    try:
        yield
    except (OSError, BeamIOError, pa.ArrowException) as error:
        raise explain(error, path, verb) from error
    except Exception as error:
        # the clients of object stores have errors of their own, and one for each package that is missing
        if is_local(path) or isinstance(error, DataError):
            raise
        raise explain(error, path, verb) from error


def open_input(path: str) -> pa.NativeFile:
    """Open a file for random access."""
    with explained(path, "read"):
        if is_local(path):
            return pa.OSFile(path, "rb")
        stream = FileSystems.open(path, "application/octet-stream", CompressionTypes.UNCOMPRESSED)
        return pa.PythonFile(stream, mode="r")


def open_output(path: str) -> IO[bytes]:
    """Create or replace a file, with its folders, and return it open for writing."""
    with explained(path, "write"):
        if is_local(path):
            with _opening:
                _check_open(path)
                os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
                return open(path, "wb")
        return FileSystems.create(path, "application/octet-stream", CompressionTypes.UNCOMPRESSED)


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
    store = store_of(path)
    if store:
        with explained(path, "read"):
            return store.get(path)
    with open_input(path) as file, explained(path, "read"):
        return file.read()


def hash_file(path: str) -> tuple[int, str]:
    """Return the size and the sha256 of a file. Memory: 1 MiB."""
    state, size = hashlib.sha256(), 0
    with open_input(path) as file, explained(path, "read"):
        while block := file.read(1 << 20):
            state.update(block)
            size += len(block)
    return size, state.hexdigest()


def write_bytes(path: str, data: bytes) -> None:
    """Create or replace a small file, with its folders."""
    with explained(path, "write"):
        store = store_of(path)
        if store:
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


def create_exclusive(path: str, data: bytes) -> bool:
    """Write a small object unless there is one, in one step; return False when there is one.

    By S3's If-None-Match and Cloud Storage's generation 0. Where a store knows no such condition it is looked first:
    then two writers of the same moment may both be told True, and the last one's object stays.
    """
    with explained(path, "write"):
        if exists(path):
            return False
        store = store_of(path)
        if store:
            with contextlib.suppress(UnsupportedError):
                return store.put(path, data, new=True)
        write_bytes(path, data)
        return True


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
        return os.path.exists(path) if is_local(path) else FileSystems.exists(path)


def match(pattern: str) -> list[FileInfo]:
    """Return the files that a path or a glob names, sorted by path; a path that exists is never read as a glob."""
    with explained(pattern, "list"):
        if is_local(pattern) and os.path.isfile(pattern):
            return [_local_info(pattern)]
        found = FileSystems.match([pattern])[0].metadata_list
        return sorted(
            (FileInfo(m.path, m.size_in_bytes, m.last_updated_in_seconds) for m in found), key=lambda f: f.path
        )


def list_tree(folder: str) -> list[FileInfo]:
    """Return every file below a folder, sorted by path; none when the folder is not there.

    A file that goes while the folder is listed, such as the claim of a run that did not get the lock, is left out.
    """
    if not is_local(folder):
        return match(join(folder, "**"))
    found = []
    with explained(folder, "list"):
        for top, _, names in os.walk(folder):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    found.append(_local_info(os.path.join(top, name)))
    return sorted(found, key=lambda f: f.path)


def move(source: str, target: str) -> None:
    """Move a file; does nothing when an earlier attempt has already moved it.

    A rename where the file system has one, else a copy and a delete.
    """
    with explained(target, "write"):
        if is_local(source):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if os.path.exists(source) or not os.path.exists(target):
                os.replace(source, target)
        elif FileSystems.exists(source) or not FileSystems.exists(target):
            store = store_of(source)
            if store:
                store.copy(source, target)
                store.delete([source])
            else:
                FileSystems.rename([source], [target])


def delete_file(path: str, *, below: str = "") -> None:
    """Delete a file; no error when it is not there.

    The folder goes too when the file leaves it empty, and the folders above it as far as they lie `below` another.
    """
    with explained(path, "delete"):
        store = store_of(path)
        if store:
            store.delete([path])
            return
        if not is_local(path):
            if FileSystems.exists(path):
                FileSystems.delete([path])
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        folder = os.path.dirname(path)
        with contextlib.suppress(OSError):
            os.rmdir(folder)
            while below and (folder := os.path.dirname(folder)).startswith(join(below, "")):
                os.rmdir(folder)


def delete_tree(folder: str) -> None:
    """Delete a folder and all below it; no error when it is not there."""
    with explained(folder, "delete"):
        if is_local(folder):
            shutil.rmtree(folder, ignore_errors=True)
            return
        paths, store = [file.path for file in list_tree(folder)], store_of(folder)
        if paths and store:
            store.delete(paths)
        elif paths:
            FileSystems.delete(paths)


def _local_info(path: str) -> FileInfo:
    status = os.stat(path)
    return FileInfo(path, status.st_size, status.st_mtime)

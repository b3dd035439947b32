"""Files of Hadoop, by Arrow and the client that this machine has."""

import contextlib
import functools
import posixpath
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from molino.transforms.errors import DataError
from molino.transforms.files.objects import FileInfo, Snapshot, UnsupportedError

NO_HADOOP = (
    "hdfs:// needs Hadoop's client on this machine, which was not found: install Java and Hadoop, and set JAVA_HOME, "
    'HADOOP_HOME and CLASSPATH="$(hadoop classpath --glob)"'
)


class Folders:
    """A file system of Arrow's, by default Hadoop's, by the client that this machine has; it does what `Objects` do.

    It knows no conditional writes. A file is written beside its place and renamed.
    """

    def __init__(self, connect: Callable[[str], Any]):
        self._connect = functools.cache(connect)

    def _split(self, path: str) -> tuple[Any, str, str]:
        """Return the file system, what its paths are below, and the path there."""
        root = "/".join(path.split("/", 3)[:3])
        return self._connect(root), root, path[len(root) :] or "/"

    def get(self, path: str) -> bytes:
        with self.open(path) as file:
            return file.read()

    def put(self, path: str, data: bytes) -> None:
        with self.create(path) as file:
            file.write(data)

    def see(self, path: str) -> Snapshot:
        return Snapshot(self.get(path) if self.look(path) else None)

    def swap(self, path: str, data: bytes, snapshot: Snapshot) -> Snapshot | None:
        raise UnsupportedError("no conditional writes")

    def copy(self, source: str, target: str) -> None:
        with self.open(source) as file, self.create(target) as copy:
            shutil.copyfileobj(file, copy)

    def move(self, source: str, target: str) -> None:
        (files, _, name), (_, _, to) = self._split(source), self._split(target)
        files.create_dir(posixpath.dirname(to), recursive=True)
        if files.get_file_info(name).is_file and files.get_file_info(to).is_file:
            files.delete_file(to)  # Hadoop renames nothing onto a file that is there
        files.move(name, to)

    def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            files, _, name = self._split(path)
            with contextlib.suppress(FileNotFoundError):
                files.delete_file(name)

    def look(self, path: str) -> FileInfo | None:
        files, _, name = self._split(path)
        found = files.get_file_info(name)
        return FileInfo(path, found.size, (found.mtime_ns or 0) / 1e9) if found.is_file else None

    def find(self, prefix: str) -> Iterator[FileInfo]:
        from pyarrow.fs import FileSelector

        files, root, name = self._split(prefix)
        folder = name.rpartition("/")[0] or "/"
        for found in files.get_file_info(FileSelector(folder, allow_not_found=True, recursive=True)):
            path = root + "/" + found.path.lstrip("/")
            if found.is_file and path.startswith(prefix):
                yield FileInfo(path, found.size, (found.mtime_ns or 0) / 1e9)

    def open(self, path: str) -> pa.NativeFile:
        files, _, name = self._split(path)
        return files.open_input_file(name)

    @contextlib.contextmanager
    def create(self, path: str) -> Iterator[Any]:
        files, root, name = self._split(path)
        draft = posixpath.join(posixpath.dirname(name), f"_tmp.{uuid.uuid4().hex}")
        files.create_dir(posixpath.dirname(name), recursive=True)
        try:
            with files.open_output_stream(draft) as made:
                yield made
            self.move(root + draft, path)
        except BaseException:
            with contextlib.suppress(Exception):  # what was raised first is what is told
                files.delete_file(draft)
            raise


def connect_hdfs(root: str) -> Any:
    from pyarrow.fs import FileSystem

    try:
        return FileSystem.from_uri(f"{root}/")[0]
    except OSError as error:
        if "libjvm" in str(error) or "libhdfs" in str(error):
            raise DataError(NO_HADOOP) from None
        raise

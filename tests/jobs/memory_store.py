"""An object store in memory, as Beam sees one: no folders, no renames, and an object is there when it is whole."""

import io
import time

from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem

OBJECTS: dict[str, tuple[bytes, float]] = {}


class _Upload(io.BytesIO):
    """An object on its way: nobody sees it until it is closed."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def close(self):
        if not self.closed:
            OBJECTS[self.path] = (self.getvalue(), time.time())
        super().close()


class MemoryStore(FileSystem):
    """Paths of mem://bucket/name."""

    @classmethod
    def scheme(cls):
        return "mem"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path):
        raise BeamIOError("an object store has no folders")

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        for path, (data, changed) in sorted(OBJECTS.items()):
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(data), changed)

    def create(self, path, mime_type="application/octet-stream", compression_type="auto"):
        return _Upload(path)

    def open(self, path, mime_type="application/octet-stream", compression_type="auto"):
        if path not in OBJECTS:
            raise BeamIOError("no such object", {path: FileNotFoundError(path)})
        return io.BytesIO(OBJECTS[path][0])

    def copy(self, source_file_names, destination_file_names):
        for source, target in zip(source_file_names, destination_file_names, strict=True):
            OBJECTS[target] = (OBJECTS[source][0], time.time())

    def rename(self, source_file_names, destination_file_names):
        self.copy(source_file_names, destination_file_names)
        self.delete(source_file_names)

    def exists(self, path):
        return path in OBJECTS

    def size(self, path):
        return len(OBJECTS[path][0])

    def last_updated(self, path):
        return OBJECTS[path][1]

    def checksum(self, path):
        return str(hash(OBJECTS[path][0]))

    def metadata(self, path):
        return FileMetadata(path, self.size(path), self.last_updated(path))

    def delete(self, paths):
        for path in paths:
            OBJECTS.pop(path, None)

"""An object store in memory, mem://: no folders, no renames, and an object is there when it is whole."""

from collections.abc import MutableMapping

from obstore.store import MemoryStore

from molino.transforms.files import object_stores, objects

_BUCKETS: dict[str, MemoryStore] = {}
STORE = objects.Objects(lambda bucket, options: _BUCKETS.setdefault(bucket, MemoryStore()))
object_stores.STORES["mem"] = STORE


class _Objects(MutableMapping):
    """What is in the buckets: bytes and time of change, by path."""

    def __iter__(self):
        for name, bucket in _BUCKETS.items():
            yield from sorted(f"mem://{name}/{found['path']}" for found in bucket.list().collect())

    def __len__(self):
        return sum(1 for _ in self)

    def __getitem__(self, path):
        found = STORE.look(path)
        if found is None:
            raise KeyError(path)
        return STORE.get(path), found.modified

    def __setitem__(self, path, known):
        data, _ = known
        STORE.put(path, data)

    def __delitem__(self, path):
        STORE.delete([path])


OBJECTS = _Objects()

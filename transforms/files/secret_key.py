"""A secret key that workers read for themselves: a pipeline names it and never holds it."""

import dataclasses
import hmac
import os

from molino.transforms.errors import DataError
from molino.transforms.files import storage

SHORTEST = 16  # bytes

_known: dict["SecretKey", bytes] = {}


@dataclasses.dataclass(frozen=True)
class SecretKey:
    """Where a key is, and what tells it from another."""

    path: str  # its file, on any file system; "" for the variable
    variable: str  # of the environment, where there is no file
    mark: str  # eight hex digits that follow from the key and tell nothing of it

    def read(self) -> bytes:
        """Return the key, read once a process; DataError where it cannot be, or is not that of the run's plan."""
        if self not in _known:
            key = _read(self.path, self.variable)
            if mark_of(key) != self.mark:
                where = self.path or f"the variable {self.variable} of a worker"
                raise DataError(f"the key in {where} is not the one that the run was planned with; run again")
            _known[self] = key
        return _known[self]


def find_key(path: str, variable: str) -> SecretKey | None:
    """Return the key of a file or, without one, of a variable; None when it has fewer than 16 bytes."""
    key = _read(path, variable)
    if len(key) < SHORTEST:
        return None
    found = SecretKey(path, variable, mark_of(key))
    _known[found] = key  # a pipe can be read only once
    return found


def mark_of(key: bytes) -> str:
    """Return what tells whether two keys are the same."""
    return hmac.digest(key, b"which key", "sha256").hex()[:8]


def _read(path: str, variable: str) -> bytes:
    if path:
        return storage.read_bytes(path).strip()
    return os.environ.get(variable, "").strip().encode()

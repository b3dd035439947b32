"""A small local file that one process at a time has open for good: what it holds changes under a lock of the system.

The system lets go of the lock when its process ends, and at no other time: a process that is paused keeps it. It holds
across PID namespaces, for it is the file's, not a process number's.

The package filelock would not do: it empties a file when it opens it, and a commit must read whose claim stands there.
"""

import contextlib
import dataclasses
import errno
import fcntl
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

from molino.transforms.files.storage import explained

POLL = 0.05  # seconds
PROBE_SECONDS = 5.0
# of file systems that several machines can see; of others the locks reach whoever sees the file
SHARED = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "virtiofs", "vboxsf"}
PROBED = {"nfs", "nfs4", "cifs", "smb3", "ceph", "lustre"}  # of these, those whose servers keep locks
HOST_ONLY = ("nolock", "local_lock=all", "local_lock=flock", "nobrl", "localflock", "noflock")  # options of a mount
UNKNOWN = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF}
PROBE = """
import fcntl, os, sys
with open(sys.argv[1], "wb") as file:
    os.unlink(sys.argv[1])
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""


class HeldError(Exception):
    """Another process has the file, and kept it."""


@dataclasses.dataclass(frozen=True)
class LockedFile:
    """An open file that nobody else changes meanwhile."""

    descriptor: int
    is_new: bool  # it was not there. That holds without locks, too: of two who find none, one makes it

    def read(self) -> bytes:
        """Return what it holds; empty where it is new."""
        return os.pread(self.descriptor, 1 << 20, 0)

    def write(self, data: bytes) -> None:
        """Replace what it holds, in place: in one write, so that a reader without the lock sees one state."""
        os.pwrite(self.descriptor, data, 0)
        os.ftruncate(self.descriptor, len(data))


@contextlib.contextmanager
def locked(path: str, *, seconds: float) -> Iterator[LockedFile]:
    """Open a file for this process alone, made where it is not there; at the end an empty one is deleted.

    Raises HeldError: somebody has it still after so many seconds; DataError: it cannot be opened or made.
    """
    file = _open(path, time.monotonic() + seconds)
    try:
        yield file
        with explained(path, "delete"):
            if not file.read():
                os.unlink(path)  # while it is locked: who waits for it looks whether it is still the file of that name
    finally:
        os.close(file.descriptor)


def _open(path: str, limit: float) -> LockedFile:
    while True:
        with explained(path, "write"):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            try:
                file = _open_or_make(path)
            except FileNotFoundError:  # it was deleted just now, or its folder
                continue
        try:
            # who waited for it looks whether it is still the file of that name
            with contextlib.suppress(FileNotFoundError):
                if lock(file.descriptor) is not False and os.path.samestat(os.fstat(file.descriptor), os.stat(path)):
                    return file
        except BaseException:
            os.close(file.descriptor)
            raise
        os.close(file.descriptor)
        if time.monotonic() >= limit:
            raise HeldError(path)
        time.sleep(POLL)


def _open_or_make(path: str) -> LockedFile:
    try:
        return LockedFile(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), True)
    except FileExistsError:
        pass
    try:
        return LockedFile(os.open(path, os.O_RDWR | os.O_CLOEXEC), False)
    except PermissionError:  # another user's: it can be locked, and what it holds is theirs to change
        return LockedFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC), False)


def lock(descriptor: int) -> bool | None:
    """Return whether the lock of an open file was free, and is this process's now; None where there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNKNOWN:
            raise
        return None
    return True


def why_locks_fail(folder: str, *, mounts: str = "/proc/self/mountinfo") -> str:
    """Return why locks in a folder do not keep all machines apart that may see it, in a few words; "" where they do.

    Elsewhere than on Linux, where the system lists its `mounts`, a folder is taken for a local disk's.
    """
    kind, options = _mount_of(folder, mounts)
    if kind not in SHARED and not kind.startswith("fuse."):
        return ""
    told = [option for option in options if option in HOST_ONLY]
    if told or kind not in PROBED:
        return f"{kind}{' with ' if told else ''}{''.join(told[:1])} keeps its file locks on one machine"
    return "" if can_lock(folder) else f"the file locks of this {kind} do not work"


def _mount_of(folder: str, mounts: str) -> tuple[str, list[str]]:
    """Return the kind and the options of the file system that a folder is on; "" where the system does not tell."""
    place, best, found = os.path.join(os.path.realpath(folder), ""), "", ("", [""])
    with contextlib.suppress(OSError), open(mounts, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            mount, _, system = line.partition(" - ")
            words = mount.split()
            point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), words[4])  # a blank, say
            if place.startswith(os.path.join(point, "")) and len(point) >= len(best):
                kind, _, options = (system.strip() + "  ").split(" ", 2)
                best, found = point, (kind, [*words[5].split(","), *options.strip().split(",")])
    return found


def can_lock(folder: str) -> bool:
    """Return whether a new file can be locked. A server that does not answer holds up another process, not this one."""
    path = os.path.join(folder, f"_tmp.{uuid.uuid4().hex}")
    with open(os.devnull, "w") as nowhere:
        child = subprocess.Popen([sys.executable, "-I", "-c", PROBE, path], stdout=nowhere, stderr=nowhere)
    try:
        return child.wait(PROBE_SECONDS) == 0
    except subprocess.TimeoutExpired:
        child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a process that a server holds up does not end
            child.wait(1)
        return False

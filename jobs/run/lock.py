"""The lock of an output folder: it keeps two runs apart."""

import contextlib
import json
import os
import socket
import time
from typing import Any

from molino.jobs.run.manifest import LOCK
from molino.transforms.errors import DataError
from molino.transforms.files import storage

JOB_FILE = "job_file"  # of a claim: the job that has the lock is described there, and launched by somebody else


class OutputExistsError(Exception):
    """The output is taken: by another run's result, by something that is not ours, or by a run at work."""


class Lock:
    """Keeps two runs out of one output: a file that says who is at work.

    It is created exclusively: on a local disk by a link, on S3 and Cloud Storage by a conditional write. A store that
    has no such thing, or passes over the condition, is read back after a pause; and whatever happens, a commit looks
    whether the lock is still its own. A lock whose process is gone is taken over when it was of this machine.
    """

    PAUSE = 2.0  # seconds in which a rival's claim becomes visible where the store's word is not enough

    def __init__(self, output: str, token: str):
        self.path, self.token = storage.join(output, LOCK), token
        self.local = storage.is_local(output)

    def __enter__(self) -> "Lock":
        claim = json.dumps(
            {"token": self.token, "host": socket.gethostname(), "pid": os.getpid(), "born": _born(os.getpid())}
        ).encode()
        for _ in range(3):
            if self._create(claim):
                return self
            self._clear_stale()
        raise OutputExistsError(self._message())

    def __exit__(self, *_: object) -> None:
        claim = holder(self.path)
        if claim.get("token") == self.token and JOB_FILE not in claim:
            storage.delete_file(self.path)

    def hand_over(self, job_file: str) -> None:
        """Leave the lock to the job that a file describes: its last step opens it."""
        storage.write_atomic(self.path, json.dumps({"token": self.token, JOB_FILE: job_file}).encode())

    def _create(self, claim: bytes) -> bool:
        if self.local:
            # written whole before it has its name: a reader never sees an empty claim
            draft = f"{self.path}.{self.token}"
            with storage.explained(self.path, "write"), storage.open_output(draft) as file:
                file.write(claim)
            try:
                os.link(draft, self.path)
            except (FileExistsError, FileNotFoundError):  # taken, and perhaps the taker cleaned the draft away
                return False
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(draft)
            return True
        if storage.create_exclusive(self.path, claim):
            time.sleep(self.PAUSE)
        # also where the answer to the first try was lost and the client's second found the object there
        return holder(self.path).get("token") == self.token

    def _clear_stale(self) -> None:
        claim = holder(self.path)
        pid = claim.get("pid")
        if claim.get("host") != socket.gethostname() or not isinstance(pid, int):
            return
        if _born(pid) == claim.get("born") and _alive(pid):
            return
        if not self.local:
            storage.delete_file(self.path)
            return
        # several runs may see the same stale claim: the rename lets one of them remove it
        aside = f"{self.path}.stale.{self.token}"
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return
        if holder(aside).get("token") != claim.get("token"):
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.link(aside, self.path)
        storage.delete_file(aside)

    def _message(self) -> str:
        claim = holder(self.path)
        if JOB_FILE in claim:
            return (
                f"{os.path.dirname(self.path)} is kept for the job of {claim[JOB_FILE]}; wait for it, or delete "
                f"{self.path} if it failed or will not be launched"
            )
        return (
            f"another run is at work in {os.path.dirname(self.path)} (process {claim.get('pid', '?')} on "
            f"{claim.get('host', '?')}); wait for it, or delete {self.path} if you know that it is gone"
        )


def holder(path: str) -> dict[str, Any]:
    """Return the claim in a lock file; empty when there is none."""
    try:
        claim = json.loads(storage.read_bytes(path)) if storage.exists(path) else {}
    except (DataError, ValueError):
        return {}
    return claim if isinstance(claim, dict) else {}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _born(pid: int) -> str:
    """Return the start time of a process where the system tells: a number can be given to another process later."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""

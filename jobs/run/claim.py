"""The claim in an output's `_lock`: which run is at work there, where, since when, and how far it is."""

import dataclasses
import functools
import json
import os
import pwd
import socket
import time
from typing import Any

LENGTH = 1024  # of a claim: it is replaced in place, and one of another length could show half of both


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """Who is at work in an output. The clock of its host is told to people, and never compared with another."""

    token: str = ""  # of the run; of one attempt alone
    # host, pid, born: the process; when it was born as the system counts, for a number can be given away
    host: str = ""
    pid: int = 0
    born: str = ""
    # boot, pids: of the system and of its PID namespace: only where both are ours does `pid` mean anything here
    boot: str = ""
    pids: str = ""
    user: str = ""  # who started it
    started: str = ""  # when, in UTC
    beat: int | None = None  # grows while the run is alive; None in a claim of version 0.1.0, which has none
    every: float = 5.0  # seconds between two beats
    # engine, master, job: the runner, where its service is, and the job there, where it is not this process
    engine: str = ""
    master: str = ""
    job: str = ""
    at: str = ""  # how far the run is, for people
    job_file: str = ""  # the job is described there, and launched by somebody else
    released: bool = False  # the run is done; the claim is about to be deleted

    @property
    def is_dead(self) -> bool:
        """Whether its process is known to have ended: seen by the system that would know it."""
        here = self.host == socket.gethostname()
        if self.beat is not None:
            here = bool(self.boot and self.pids) and (self.boot, self.pids) == (_boot(), _pids())
        return here and self.pid > 0 and not (_born(self.pid) == self.born and _is_there(self.pid))

    def who(self) -> str:
        """Return the run in words: its process, host and user, and since when it works."""
        user = f" of {self.user}" if self.user else ""
        since = f", since {self.started}" if self.started else ""
        return f"process {self.pid or '?'} on {self.host or '?'}{user}{since}"

    def to_bytes(self) -> bytes:
        """Return the claim as it stands in a file."""
        told = {name: value for name, value in dataclasses.asdict(self).items() if value not in ("", None)}
        while len(text := json.dumps(told)) >= LENGTH and told.get("at"):  # letters beyond ASCII take six bytes
            told["at"] = told["at"][:-1]
        return text.encode().ljust(LENGTH - 1) + b"\n"


KINDS: dict[str, tuple[type, ...]] = {"pid": (int,), "beat": (int,), "every": (int, float), "released": (bool,)}


def read_claim(data: bytes) -> Claim | None:
    """Return the claim that a lock holds; None where it holds none, or says nothing."""
    try:
        told = json.loads(data)
        known = {field.name for field in dataclasses.fields(Claim)} & told.keys()
        claim = Claim(**{name: told[name] for name in known if isinstance(told[name], KINDS.get(name, (str,)))})
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    return claim if claim.token else None


def new_claim(token: str, *, every: float) -> Claim:
    """Return the claim of a run of this process."""
    pid, started = os.getpid(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    here: Any = {"host": socket.gethostname(), "boot": _boot(), "pids": _pids(), "user": _user()}
    return Claim(token=token, pid=pid, born=_born(pid), started=started, beat=0, every=every, **here)


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a service's, which has no entry
        return f"uid {os.getuid()}"


@functools.cache
def _boot() -> str:
    return _read("/proc/sys/kernel/random/boot_id")


def _pids() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # no number of a process
        return False
    except PermissionError:
        pass
    return True


def _born(pid: int) -> str:
    """Return the start time of a process where the system tells, as it counts."""
    words: list[Any] = _read(f"/proc/{pid}/stat").rsplit(")", 1)[-1].split()
    return words[19] if len(words) > 19 else ""

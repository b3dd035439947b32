"""The lock of an output folder: a lease that tells whether the run that has it is alive.

It keeps runs from doing the same work twice. What keeps an output whole is the commit, which looks for itself whether
it may publish: a lease may be taken over from a run that is paused, and that goes on later.
"""

import contextlib
import dataclasses
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from molino.jobs.options import BUSY, EXISTS
from molino.jobs.run.claim import Claim, new_claim, read_claim
from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.files.locked_file import HeldError, locked, why_locks_fail
from molino.transforms.files.objects import UnsupportedError
from molino.transforms.manifest import LOCK

HOLD_SECONDS = 60.0  # to wait for who has the lock's file: a rival that looks at it has it for moments
Decide = Callable[[bytes], bytes]  # from what a lock holds to what it is to hold; empty: none


class OutputExistsError(Exception):
    """The output is another run's result, or something that is not ours."""

    exit_code = EXISTS


class TakenError(DataError):
    """The output is no longer this run's to change."""


class BusyError(Exception):
    """Another run is at work in the output, or has taken it over; the same command may succeed later."""

    exit_code = BUSY


class Lock:
    """A run's lease on an output, for as long as the block lasts.

    While it is held its claim changes every `BEAT` seconds. Who finds a claim watches it by its own clock: one that
    moves is respected, and one that has stood still for `BEATS` of them is taken over, whoever had it; at once where
    the system says that its process has ended. A claim is replaced only as it was seen: under a lock of the file on a
    local disk, by a conditional write in a store.

    `token` is the run's, by default a new one. `end_job` ends what a dead run has left at work elsewhere, before its
    lease is taken over, by its claim's engine, master and job; by default that is left alone: it can publish nothing.
    """

    BEAT, BEATS = 5.0, 6
    POLL = 0.5  # seconds between two looks at another's claim
    PAUSE = 2.0  # seconds in which a rival's claim becomes visible where a store has no conditional writes
    RELEASED = 5.0  # seconds that a run has to delete the claim that it gave up

    def __init__(self, output: str, token: str = "", *, end_job: Callable[..., None] = lambda *_: None):
        self.output, self.claim = output, new_claim(token or uuid.uuid4().hex, every=self.BEAT)
        self.end_job = end_job
        self.how_far: Callable[[], str] = str
        self.change = changer(output, pause=self.PAUSE)
        self._over = threading.Event()
        self._turn = threading.Lock()

    @property
    def token(self) -> str:
        """The token of the run that holds it."""
        return self.claim.token

    def __enter__(self) -> "Lock":
        try:
            self._take()
        except HeldError:
            raise BusyError(f"another run is publishing in {self.output} just now; try again later") from None
        threading.Thread(target=self._beat_on, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self.claim.job_file:
            return
        # one that stays is a claim that stands still
        with self._turn, contextlib.suppress(DataError, HeldError):
            release(self.change, self.claim.token)

    def note(self, **facts: Any) -> None:
        """Let the claim say more: engine, master, job, job_file. With a job file the claim stays for that job."""
        with self._turn:
            self.claim = dataclasses.replace(self.claim, **facts)
        self.beat(seconds=30)

    def lost_to(self) -> str:
        """Return in words who has the output now; "" while this run does."""
        claim = read_claim(read_lock(self.output))
        if claim and claim.token == self.claim.token:
            return ""
        return f"to another run ({claim.who()})" if claim else "for its lock was deleted"

    def _beat_on(self) -> None:
        while not self._over.wait(self.BEAT):
            # a full disk, a store that does not answer, a commit under way: none of them ends the run, or the beats
            with contextlib.suppress(Exception):
                self.beat()

    def beat(self, *, seconds: float = 0) -> None:
        with self._turn:
            if self._over.is_set():
                return
            self.claim = dataclasses.replace(self.claim, beat=(self.claim.beat or 0) + 1, at=self.how_far()[:120])
            ours = self.claim.to_bytes()
            self.change(lambda held: ours if is_of(held, self.claim.token) else held, seconds=seconds)

    def _take(self) -> None:
        ours = self.claim.to_bytes()
        standing, since, expired, told, strict = b"", 0.0, b"", False, False
        claim: Claim | None = None
        while True:
            free = (b"", expired)  # as of now, for the function below
            try:
                held = self.change(lambda held, free=free: ours if held in free else held, strict=strict)
            except UnsupportedError:
                raise BusyError(self._untaken(claim or Claim(), "this store has no conditional writes")) from None
            if held == ours:
                return
            claim, now = read_claim(held), time.monotonic()
            if claim is None:
                raise BusyError(f"{self.output} has a lock that cannot be read; molino unlock {self.output} removes it")
            if standing and held != standing and not claim.released:
                raise BusyError(busy(self.output, claim))
            if held != standing:
                standing, since = held, now
            lease = self.RELEASED if claim.released else claim.every * self.BEATS
            if claim.job_file or (claim.beat is None and not claim.is_dead):
                raise BusyError(busy(self.output, claim))
            if claim.is_dead or now - since >= lease:
                strict = not claim.is_dead
                # where locks reach one machine alone, another may take it over at the same moment
                if why := (why_locks_fail(self.output) if storage.is_local(self.output) else ""):
                    raise BusyError(self._untaken(claim, why))
                if claim.job:
                    self.end_job(claim.engine, claim.master, claim.job)
                expired = held
                continue
            if not told and not claim.released:
                told = True
                text = f"{self.output} is held by {claim.who()}; looking for up to {lease:.0f} s whether it is alive"
                print(f"molino: {text}", file=sys.stderr)
            time.sleep(self.POLL)

    def _untaken(self, claim: Claim, why: str) -> str:
        held = f"{self.output} is held by {claim.who()}, of which no heartbeat is seen; it is not taken over by itself"
        return f"{held}, for {why}; when you know that the run is gone: molino unlock {self.output}"


def changer(output: str, *, pause: float = Lock.PAUSE) -> Callable[..., bytes]:
    """Return what changes the claim of an output in one step, and returns what is there then.

    It takes a function from what the lock holds to what it is to hold; `strict`: only where nobody can have changed it
    meanwhile; `seconds`: how long to wait for who has the file on a local disk.
    """
    path = storage.join(output, LOCK)

    def change_file(decide: Decide, *, strict: bool = False, seconds: float = 2.0) -> bytes:
        with locked(path, seconds=seconds) as file:
            held = file.read()
            if not held and not file.is_new and why_locks_fail(output):
                held = b" "  # of a run on another machine that is about to write its claim
            claim = decide(held)
            if claim != held:
                with storage.explained(path, "write"):
                    file.write(claim)
        if not claim:
            with contextlib.suppress(OSError):  # the folder goes too where nothing else is in it
                os.rmdir(output)
        return claim

    def change_object(decide: Decide, *, strict: bool = False, seconds: float = 2.0) -> bytes:
        for _ in range(5):
            seen = storage.see(path)
            held = seen.data or b""
            claim = decide(held)
            if claim == held:
                return held
            # a store deletes without a condition: first the claim is replaced by one that nobody waits for
            last = claim or dataclasses.replace(read_claim(held) or Claim(), released=True).to_bytes()
            there = storage.swap(path, last, seen, strict=strict)
            if there and not there.version:
                time.sleep(pause)
                there = there if storage.see(path).data == last else None
            if there and not claim:
                storage.delete_file(path)
            if there:
                return claim
        raise DataError(f"{path} changes all the time; try again later")

    return change_file if storage.is_local(output) else change_object


def read_lock(output: str) -> bytes:
    """Return what the lock of an output holds, empty where there is none."""
    return storage.see(storage.join(output, LOCK)).data or b""


def is_of(lock: bytes, token: str) -> bool:
    """Return whether what a lock holds is the claim of a run."""
    claim = read_claim(lock)
    return claim is not None and claim.token == token


def release(change: Callable[..., bytes], token: str) -> None:
    """Give up a lock, by what `changer` returns, as far as it is still that run's."""
    change(lambda held: b"" if is_of(held, token) else held)


@contextlib.contextmanager
def holding(output: str, token: str) -> Iterator[None]:
    """Keep everybody else from an output where that can be; TakenError unless its lock is, and stays, this run's."""
    path = storage.join(output, LOCK)
    gone = TakenError(f"this run no longer holds the lock of {output}; nothing was published")
    if not storage.is_local(output):
        if not is_of(read_lock(output), token):
            raise gone
        yield
        return
    try:
        with locked(path, seconds=HOLD_SECONDS) as file:
            if not is_of(file.read(), token):
                raise gone
            yield
    except HeldError:
        raise TakenError(f"another process has {path} open for {HOLD_SECONDS:.0f} s; nothing was published") from None


def busy(output: str, claim: Claim) -> str:
    """Return what a person reads who may not have an output now."""
    if claim.job_file:
        wait = "wait for it, or, if it failed or will not be launched"
        return f"{output} is kept for the job of {claim.job_file}; {wait}: molino unlock {output}"
    remedy = f"molino status {output} tells how far it is, and molino unlock {output} frees what a dead run left"
    return f"another run is at work in {output} ({claim.who()}); wait for it; {remedy}"

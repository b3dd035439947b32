"""What stands in an output: its run, who is at work, how far, and what went wrong last."""

import contextlib
import json
import time
from collections.abc import Callable, Sequence

from molino.jobs.run.claim import read_claim
from molino.jobs.run.lock import BusyError, Lock, busy, changer, read_lock
from molino.jobs.run.output import LAST_ERROR, read_output
from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.files.locked_file import HeldError

POLL = 0.2  # seconds


def find_output(output: str, flags: Sequence[str]) -> str:
    """Return an output folder that is to be looked at, absolute where it is local; DataError where there is nothing."""
    storage.use_options(flags)
    folder = storage.folder(output)
    if not storage.list_tree(folder):
        raise DataError(f"there is nothing in {folder}; check the path")
    return folder


def unlock(output: str, *, force: bool, end_job: Callable[..., None]) -> list[str]:
    """Take the lock from whoever has it, and delete what killed runs left; return what was done, in words.

    Raises BusyError: its heartbeat moves and `force` is not given, or its process is in its commit, which nobody can
    stop.
    """
    present = read_output(output)
    if foreign := (present.foreign(set()) if present.manifest is None else []):
        raise DataError(f"{output} was not written by this program (it holds {foreign[0]}); check the path")
    held = read_lock(output)
    claim = read_claim(held)
    told = []
    if held:
        if claim and not force and not claim.job_file:
            if claim.beat is None and not claim.is_dead:
                raise BusyError(f"{busy(output, claim)}; it has no heartbeat; --force frees it anyway")
            if _is_alive(output, held, Lock.BEATS):
                raise BusyError(f"{busy(output, claim)}; its heartbeat moves; --force frees it anyway")
        if claim and claim.job:
            end_job(claim.engine, claim.master, claim.job)
        try:
            changer(output)(lambda now: b"" if force or now == held else now)
        except HeldError:
            raise BusyError(f"the process that holds {output} is in its commit; end it, then unlock") from None
        told.append(f"freed {output}, which was held by {claim.who()}" if claim else f"freed {output}")
    left = read_output(output).staged_bytes
    with Lock(output) as lock:
        read_output(output).clean(lock.token)
    if left:
        told.append(f"deleted {left:,} bytes that killed runs had left")
    return told or [f"{output} is not locked"]


def _is_alive(output: str, held: bytes, beats: float) -> bool:
    """Return whether a claim changes within so many of its heartbeats."""
    claim = read_claim(held)
    if claim is None or claim.is_dead or claim.beat is None:
        return False
    limit = time.monotonic() + claim.every * beats
    while time.monotonic() < limit:
        now = read_lock(output)
        if now != held:
            return bool(now)
        time.sleep(POLL)
    return False


def describe_state(output: str) -> list[tuple[str, str]]:
    """Yield what a person reads of an output: names and texts. A claim is watched for a heartbeat and a half."""
    lock, alive = _describe_lock(output)
    present = read_output(output)
    made = present.manifest
    cut = "its commit was cut short or is under way: its rows are whole, its views need not be"
    holds = f"a run of {made['job']}, begun {made['started']}, {made['run'][:16]}" if made else "no finished run"
    found = [("output", output), ("holds", f"{holds}; {cut}" if made and not present.is_finished else holds), *lock]
    if present.staged_bytes and not alive:
        left = f"{present.staged_bytes:,} bytes of runs that did not end"
        found.append(("left over", f"{left}; the next commit deletes them"))
    noted = storage.see(storage.join(output, LAST_ERROR)).data
    with contextlib.suppress(ValueError, AttributeError):  # none, or not as `note_error` writes it
        error = json.loads(noted or b"")
        found.append(("last error", f"{error.get('when', '?')} on {error.get('host', '?')}: {error.get('error', '?')}"))
    return found


def _describe_lock(output: str) -> tuple[list[tuple[str, str]], bool]:
    """Return what a person reads of who is at work in an output, and whether that run was seen to be alive."""
    while True:
        held = read_lock(output)
        claim = read_claim(held)
        # not watched where it has no heartbeat, as that of an early version
        watched = claim is not None and claim.beat is not None
        alive = watched and _is_alive(output, held, 1.5)
        if watched and not alive and storage.is_local(output):
            try:
                with contextlib.suppress(DataError):
                    changer(output)(lambda held: held, seconds=0)
            except HeldError:  # it has the lock open, as in its commit, where no heartbeat is written
                alive = True
        now = read_claim(read_lock(output)) if claim else None
        if claim is None or (now and now.token == claim.token):  # else its run has ended while it was watched
            break
    if claim is None:
        nobody = f"a lock that cannot be read; molino unlock {output} removes it" if held else "nobody"
        return [("at work", nobody)], False
    if claim.job_file:
        return [("kept for", f"the job that {claim.job_file} describes")], alive
    signs = "its heartbeat moves" if alive else "no heartbeat seen" if watched else "it has no heartbeat"
    found = [("at work", f"{claim.who()}; {signs}{'; its process has ended' if claim.is_dead else ''}")]
    found += [("workers", f"{claim.engine} job {claim.job} at {claim.master}")] if claim.job else []
    found += [("how far", claim.at or "not known yet")]
    found += [] if alive else [("remedy", f"run again, or molino unlock {output}")]
    return found, alive

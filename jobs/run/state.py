"""What stands in an output: its run, who is at work, how far, and what went wrong last."""

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from molino.jobs.run.claim import Claim, read_claim
from molino.jobs.run.lock import BusyError, Lock, busy, changer, read_lock
from molino.jobs.run.output import LAST_ERROR, read_output
from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.files.locked_file import HeldError

POLL = 0.2  # seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """What stands in an output.

    Attributes:
      manifest: of the last run that was published; None before the first.
      finished: whether its commit went through.
      claim: of the run at work, or of a dead one; None where there is none.
      locked: a lock is there, whether or not it can be read.
      alive: whether the claim was seen to move; False where it stood still or its process has ended; None where it was
        not watched, or has no heartbeat.
      staged_bytes: in the staging folders, of whatever run.
      last_error: when and why the last run failed, where none was published since.
    """

    manifest: dict[str, Any] | None
    finished: bool
    claim: Claim | None
    locked: bool
    alive: bool | None
    staged_bytes: int
    last_error: dict[str, str] | None


def find_output(output: str, flags: Sequence[str]) -> str:
    """Return an output folder that is to be looked at, as an absolute path where it is local.

    Args:
      flags: options of stores.

    Raises:
      OptionError: the options of a store cannot be used.
      DataError: there is nothing.
    """
    storage.use_options(flags)
    folder = storage.folder(output)
    if not storage.list_tree(folder):
        raise DataError(f"there is nothing in {folder}; check the path")
    return folder


def state_of(output: str) -> State:
    """Return what stands in an output. A claim is watched for a heartbeat and a half.

    Raises:
      DataError: it cannot be read.
    """
    while True:
        held = read_lock(output)
        claim = read_claim(held)
        alive = None
        if claim and claim.beat is not None:
            alive = _is_alive(output, held, 1.5) or _is_publishing(output)
        now = read_claim(read_lock(output)) if claim else None
        if claim is None or (now and now.token == claim.token):  # else its run has ended while it was watched
            break
    present = read_output(output)
    noted = storage.see(storage.join(output, LAST_ERROR)).data
    last_error = None
    with contextlib.suppress(ValueError):
        last_error = json.loads(noted) if noted else None
    return State(
        manifest=present.manifest,
        finished=present.is_finished,
        claim=claim,
        locked=bool(held),
        alive=alive,
        staged_bytes=present.staged_bytes,
        last_error=last_error if isinstance(last_error, dict) else None,
    )


def unlock(output: str, *, force: bool, end_job: Callable[..., None]) -> list[str]:
    """Take the lock from whoever has it, and delete what killed runs left; return what was done, in words.

    Raises:
      BusyError: its heartbeat moves and `force` is not given, or its process is in its commit, which nobody can stop.
      DataError: the folder is no output of this program.
    """
    present = read_output(output)
    foreign = present.foreign(set()) if present.manifest is None else []
    if foreign:
        raise DataError(f"{output} was not written by this program (it holds {foreign[0]}); check the path")
    held = read_lock(output)
    claim = read_claim(held)
    told = []
    if held:
        if claim and not force and not claim.job_file:
            if claim.beat is None and not claim.is_dead:
                raise BusyError(f"{busy(output, claim)}; it has no heartbeat to look at; --force frees it all the same")
            if _is_alive(output, held, Lock.BEATS):
                raise BusyError(f"{busy(output, claim)}; its heartbeat moves; --force frees it all the same")
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


def _is_publishing(output: str) -> bool:
    """Return whether a process has the lock of a local output open, as in its commit, where no heartbeat is written."""
    try:
        with contextlib.suppress(DataError):
            if storage.is_local(output):
                changer(output)(lambda held: held, seconds=0)
    except HeldError:
        return True
    return False


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


def describe_state(output: str, state: State) -> Sequence[tuple[str, str]]:
    """Return what a person reads of an output: names and texts."""
    found: list[tuple[str, str]] = [("output", output)]
    if state.manifest:
        made = state.manifest
        cut = (
            ""
            if state.finished
            else "; its commit was cut short or is under way: its rows are whole, its views need not be"
        )
        found.append(("holds", f"a run of {made['job']}, begun {made['started']}, {made['run'][:16]}{cut}"))
    else:
        found.append(("holds", "no finished run"))
    claim = state.claim
    if claim and claim.job_file:
        found.append(("kept for", f"the job that {claim.job_file} describes"))
    elif claim:
        signs = {True: "its heartbeat moves", False: "no heartbeat seen", None: "it has no heartbeat"}
        dead = "; its process has ended" if claim.is_dead else ""
        found.append(("at work", f"{claim.who()}; {signs[state.alive]}{dead}"))
        if claim.where():
            found.append(("workers", claim.where()))
        found.append(("how far", claim.at or "not known yet"))
        if not state.alive:
            found.append(("remedy", f"run again, or molino unlock {output}"))
    elif state.locked:
        found.append(("at work", f"a lock that says nothing; molino unlock {output} removes it"))
    else:
        found.append(("at work", "nobody"))
    if state.staged_bytes and not state.alive:
        found.append(
            ("left over", f"{state.staged_bytes:,} bytes of runs that did not end; the next commit deletes them")
        )
    if state.last_error:
        error = state.last_error
        found.append(("last error", f"{error.get('when', '?')} on {error.get('host', '?')}: {error.get('error', '?')}"))
    return found

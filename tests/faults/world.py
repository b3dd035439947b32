"""A small world in which attempts at runs take turns, step by step: pauses, deaths, faults of a store, and readers.

Every attempt is the program's own code in a thread. It stops before each look at a file or change of one, and goes on
when it is told to. Time is the world's: it passes with the steps, and in leaps while all are paused.
"""

import contextlib
import functools
import hashlib
import threading
import time
from pathlib import Path

from obstore.exceptions import BaseError
from obstore.store import MemoryStore

from molino.jobs.run import command, lock, recheck, state
from molino.jobs.run.claim import Claim
from molino.jobs.run.lock import BusyError, Lock
from molino.jobs.run.output import read_finished, read_output
from molino.transforms import manifest
from molino.transforms.errors import DataError
from molino.transforms.files import locked_file, object_stores, objects, storage
from tests.faults import protocol

STEP_SECONDS = 0.2
FAULTS = ("lost", "answer lost", "409", "412", "503")
# the operations before each of which an attempt may be paused
OPERATIONS = ("see", "swap", "move", "delete_file", "delete_tree", "exists", "list_tree", "write_bytes")
OPERATIONS += ("read_bytes", "hash_file")


class Killed(BaseException):
    """What ends an attempt as by kill -9: nothing that it would do afterwards happens."""


class Actor:
    """An attempt or a reader, in a thread that waits for its turns."""

    def __init__(self, world, work):
        self.world, self.work = world, work
        self.turn, self.stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.killed = self.over = False
        self.result = None
        self.lock = None
        self.next_beat = 0.0
        self.depth = 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        self.world.mine.actor = self
        self.turn.acquire()
        try:
            self.result = self.work()
        except (BusyError, DataError) as error:
            self.result = error
        except Killed:
            self.result = "killed"
        except BaseException as error:
            self.result = error
            self.world.broken.append(error)
        self.over = True
        self.stopped.release()

    def step(self):
        """Wait for the next turn; called by the attempt before each operation."""
        if self.killed:
            raise Killed
        self.stopped.release()
        self.turn.acquire()
        if self.killed:
            raise Killed
        if self.lock and self.world.now >= self.next_beat and not self.depth:
            self.next_beat = self.world.now + Lock.BEAT
            self.depth += 1  # a beat is one step
            try:
                with contextlib.suppress(Exception):
                    self.lock.beat()
            finally:
                self.depth -= 1

    def go(self):
        """Let it do one step; return whether there was one to do."""
        if self.over:
            return False
        self.world.now += STEP_SECONDS
        self.turn.release()
        assert self.stopped.acquire(timeout=120), "a step does not end"
        return True


class Beating(Lock):
    """A lock whose beats are steps of the world."""

    def _start(self):
        actor = self.world.mine.actor
        actor.lock, actor.next_beat = self, self.world.now + self.BEAT

    def __exit__(self, *how):
        actor = self.world.mine.actor
        actor.lock = None
        if not actor.killed:
            super().__exit__(*how)


class Bucket:
    """A bucket whose next conditional writes meet the world's faults, and whose next requests its troubles."""

    def __init__(self, world):
        self.world, self.store = world, MemoryStore()

    def put(self, name, data, **how):
        fault = self.world.faults.pop(0) if self.world.faults and how.get("mode") != "overwrite" else ""
        if fault == "lost":
            raise BaseError("error sending request")
        if fault.isdigit():
            raise BaseError(f"status code: {fault} Somehow: ")
        done = self.store.put(name, data, **how)
        if fault:
            raise BaseError("error sending request")
        return done

    def __getattr__(self, name):
        request = getattr(self.store, name)

        def ask(*arguments, **how):
            trouble = self.world.troubles.pop(0) if self.world.troubles else ""
            if trouble and trouble != "answer lost":
                raise BaseError("status code: 503 Somehow: ")
            done = request(*arguments, **how)
            if trouble:
                raise BaseError("error sending request")
            return done

        return ask


class World:
    """An output on a disk, on an NFS without locks, or in a store, and all who are at work in it."""

    def __init__(self, kind, folder, patch):
        self.kind, self.now, self.broken, self.actors = kind, 0.0, [], []
        self.faults, self.troubles = [], []
        self.output = f"{kind}://mill/out" if kind == "store" else str(Path(folder, "out"))
        self.mine = threading.local()
        self.history = [""]  # the sha256 of all manifests that were there, one after the other
        self.published = set()  # what they say
        self.dead = set()
        self._contents = {}
        self.finished = False
        self._patch(patch)

    def _patch(self, patch):
        if self.kind == "store":
            bucket = Bucket(self)
            patch.setitem(object_stores.STORES, "store", objects.Objects(lambda *_: bucket))
            patch.setattr(objects, "PAUSES", (0.0,) * 5)
        if self.kind == "nfs":
            patch.setattr(locked_file, "lock", lambda descriptor: True)
            for module in (lock, locked_file):
                patch.setattr(module, "why_locks_fail", lambda folder: "it has no locks")
        self.whole = {name: getattr(storage, name) for name in OPERATIONS}
        for name in OPERATIONS:
            patch.setattr(storage, name, functools.partial(self._stepped, self.whole[name]))
        take = locked_file.lock
        patch.setattr(locked_file, "lock", lambda descriptor: self._stepped(take, descriptor))
        clock = Clock(self)
        for module in (lock, locked_file, state):
            patch.setattr(module, "time", clock)
        patch.setattr(Beating, "world", self, raising=False)
        patch.setattr(Claim, "is_dead", property(lambda claim: claim.token in self.dead))
        patch.setattr(command.exits, "end_workers", lambda: None)
        patch.setattr(command.exits, "describe_error", str)
        patch.setattr(storage, "close_folder", lambda folder: None)
        patch.setattr(lock, "print", lambda *_, **__: None, raising=False)

    def _stepped(self, function, *arguments, **how):
        actor = getattr(self.mine, "actor", None)
        if actor is None:  # who looks at the world meets no trouble
            kept, self.troubles = self.troubles, []
            try:
                return function(*arguments, **how)
            finally:
                self.troubles = kept
        if actor.depth:
            return function(*arguments, **how)
        actor.step()
        actor.depth += 1
        try:
            return function(*arguments, **how)
        finally:
            actor.depth -= 1

    def begin(self, content, **how):
        """Start an attempt; it waits for its first turn."""

        def work():
            return protocol.attempt(self.output, content, lock=Beating, crash=lambda step: actor.step(), **how)

        actor = Actor(self, work)
        self.actors.append(actor)
        return actor

    def read(self):
        """Start a reader: it opens what a manifest lists, file after file."""

        def work():
            finished = self.finished
            made = read_finished(self.output)
            if made is None:
                assert not finished, "a reader found no run"
                return
            since = len(self.history)
            for file in manifest.data_files(made):
                path = storage.join(self.output, file["path"])
                found = storage.hash_file(path) if storage.exists(path) else None
                if found != (file["bytes"], file["sha256"]):
                    # the files of a run stay until the commit after the next
                    assert len(self.history) - since > 1, f"{path} went away under its reader"
                    return

        self.actors.append(Actor(self, work))

    def free(self):
        """Start `molino unlock --force`."""

        def work():
            with contextlib.suppress(BusyError):
                state.unlock(self.output, force=True, end_job=None)

        if self.kind != "nfs":  # where it is for who knows that the run is gone
            self.actors.append(Actor(self, work))

    def kill(self, actor):
        """End an attempt at once, and all that the system holds for it; some rivals get to know, others do not."""
        if actor.over:
            return
        actor.killed = True
        if actor.lock and len(self.dead) % 2 == 0:
            self.dead.add(actor.lock.claim.token)
        actor.turn.release()
        assert actor.stopped.acquire(timeout=120)
        actor.thread.join()

    def go(self, actor, steps):
        """Let an attempt do so many steps, and look at the output after each."""
        for _ in range(steps):
            if not actor.go():
                return
            self.look()

    def finish(self):
        """Let all who are left come to their end, by turns."""
        for _ in range(4000):
            left = [actor for actor in self.actors if not actor.over]
            if not left:
                return
            for actor in left:
                self.go(actor, 3)
        raise AssertionError("somebody never ends")

    def look(self):
        """Assert what must hold at every moment."""
        assert not self.broken, self.broken
        kept, self.troubles = self.troubles, []
        try:
            self._look()
        finally:
            self.troubles = kept

    def _look(self):
        data = self.whole["see"](storage.join(self.output, manifest.MANIFEST)).data
        made = manifest.parse_manifest(self.output, data)
        if made is None:
            assert len(self.history) == 1, "the manifest has gone"
            return
        there = manifest.digest_of(data)
        if there != self.history[-1]:
            assert there not in self.history, "an old manifest is back"
            before = made["parents"][0] if made["parents"] else ""
            assert before == self.history[-1], "an update was lost"
            self.history.append(there)
            self.published.add(made["options"]["content"])
        present = read_output(self.output)
        assert present.lacks(manifest.data_files(made)) == [], "a manifest without its files"
        said = made["options"]["content"]
        for number, file in enumerate(manifest.data_files(made)):
            path = storage.join(self.output, file["path"])
            if path not in self._contents:
                self._contents[path] = self.whole["hash_file"](path)[1]
            assert self._contents[path] == file["sha256"] == sha256_of(said, number), "a mixture"
        self.finished = self.finished or present.is_finished
        assert not self.finished or read_finished(self.output), "a reader finds no run"

    def close(self):
        """Come to an end: everybody does, and what an undisturbed run makes is whole, with nothing beside it."""
        self.finish()
        for actor in self.actors:
            if isinstance(actor.result, str) and actor.result != "killed":
                assert actor.result in self.published, "who said that it was done had published nothing"
        self.faults.clear()
        self.troubles.clear()
        if self.kind == "nfs":
            protocol.storage.delete_file(storage.join(self.output, manifest.LOCK))
        last = self.begin("last")
        while not last.over:
            self.go(last, 1)
        assert last.result == "last", last.result
        made, wrong = recheck.verify(self.output)
        assert wrong == []
        assert made["options"]["content"] == "last"
        there = {file.path[len(self.output) + 1 :] for file in storage.list_tree(self.output)}
        assert there == manifest.owned_paths(made)


@functools.cache
def sha256_of(content, number):
    """Return the sha256 of a shard."""
    return hashlib.sha256(protocol.shard_of(content, number)[0]).hexdigest()


class Clock:
    """The world's time, for the modules that watch and wait."""

    def __init__(self, world):
        self.world = world

    def monotonic(self):
        return self.world.now

    def sleep(self, seconds):
        actor = getattr(self.world.mine, "actor", None)
        if actor and not actor.depth:
            actor.step()
        self.world.now += seconds

    def __getattr__(self, name):
        return getattr(time, name)

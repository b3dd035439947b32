"""Two runs in one output: one works, the other stops; a lock whose run is gone holds nobody up for long."""

import contextlib
import dataclasses
import functools
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from molino.jobs.run import lock, recheck
from molino.jobs.run.claim import Claim, new_claim, read_claim
from molino.jobs.run.lock import BusyError, Lock
from molino.transforms.errors import DataError
from molino.transforms.files import locked_file, storage
from molino.transforms.manifest import LOCK
from tests.faults import protocol
from tests.faults.fault_harness import (
    ROOT,
    assert_complete,
    assert_failed,
    end,
    environment,
    names,
    start,
    state_of,
    wait_until,
)

RUNS = 4
# Every run waits in front of the lock until all have come there.
TOGETHER = f"""
import os, time
import molino.jobs.run.lock

def enter(lock):
    open(os.path.join(os.environ["MEETING"], str(os.getpid())), "w").close()
    while len(os.listdir(os.environ["MEETING"])) < {RUNS}:
        time.sleep(0.001)
    return whole(lock)

whole, molino.jobs.run.lock.Lock.__enter__ = molino.jobs.run.lock.Lock.__enter__, enter
"""
# A run that holds the lock until its standard input ends.
HOLD = """
import sys
from molino.jobs.run.lock import Lock

with Lock(sys.argv[1], "held"):
    sys.stdin.read()
"""


def old_claim(output, **other):
    """Write a lock as version 0.1.0 did for a run of this machine, but for what is given."""
    output.mkdir(exist_ok=True)
    held = {"token": "other", "host": socket.gethostname(), "pid": os.getpid(), "born": "0"} | other
    (output / LOCK).write_text(json.dumps(held))


def claim_of(output):
    return read_claim((output / LOCK).read_bytes())


@pytest.fixture
def hasty(monkeypatch):
    """Leases are short."""
    monkeypatch.setattr(Lock, "BEAT", 0.05)
    monkeypatch.setattr(Lock, "POLL", 0.02)


@pytest.mark.slow
def test_of_runs_that_start_together_one_works_and_the_others_stop(sample, undisturbed, tmp_path):
    """They may also find its finished output; never is there half of one and half of another."""
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    env = environment(tmp_path, TOGETHER, MEETING=str(meeting))
    output = tmp_path / "out"
    started = [start("names", "--input", sample, "--output", output, "--quiet", env=env) for _ in range(RUNS)]
    ended = [end(process, 250) for process in started]
    assert sorted({run.code for run in ended}) in ([0], [0, 75])
    worked = [run for run in ended if run.code == 0 and "nothing to do" not in run.out]
    assert len(worked) == 1
    for run in ended:
        if run.code == 75:
            assert_failed(run, 75, "another run is at work")
    assert_complete(output, undisturbed)


@pytest.mark.slow
def test_a_second_run_stops_while_the_first_works_and_not_after(finished_other, sample, undisturbed):
    words = [sys.executable, "-c", HOLD, str(finished_other)]
    first = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    wait_until(lambda: (finished_other / LOCK).exists(), first)
    before = state_of(finished_other) | {LOCK: None}
    assert_failed(names(sample, finished_other, "--overwrite"), 75, f"process {first.pid}")
    assert state_of(finished_other) | {LOCK: None} == before  # the lock is the heartbeat's
    first.communicate(b"")
    assert names(sample, finished_other, "--overwrite").code == 0
    assert_complete(finished_other, undisturbed)


@pytest.mark.slow
def test_a_killed_run_holds_nobody_up(finished_other, sample, undisturbed):
    words = [sys.executable, "-c", HOLD, str(finished_other)]
    first = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    wait_until(lambda: (finished_other / LOCK).exists(), first)
    first.kill()
    first.communicate()
    assert names(sample, finished_other, "--overwrite").code == 0
    assert_complete(finished_other, undisturbed)


def test_a_live_lock_of_the_old_kind_is_respected(tmp_path):
    born = new_claim("", every=1).born
    for other in ({"host": "elsewhere", "pid": 1}, {"born": born}):
        old_claim(tmp_path, **other)
        with pytest.raises(BusyError, match=r"another run is at work in .*molino unlock"), Lock(str(tmp_path), "mine"):
            pass
        assert claim_of(tmp_path).token == "other"


def test_a_process_number_that_was_given_away_holds_nobody_up(tmp_path):
    """The number is this process's, but it was not born when the lock's run was."""
    old_claim(tmp_path)
    with Lock(str(tmp_path), "mine"):
        assert claim_of(tmp_path).token == "mine"
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"pid": "x"}', "null", json.dumps({"host": socket.gethostname()})])
def test_a_lock_that_says_nothing_is_named_and_left(text, tmp_path):
    (tmp_path / LOCK).write_text(text)
    with pytest.raises(BusyError, match="molino unlock"), Lock(str(tmp_path), "mine"):
        pass
    assert (tmp_path / LOCK).read_text() == text


def test_a_lock_without_a_claim_is_free(tmp_path):
    """As a process leaves it that was killed before it had written its claim."""
    (tmp_path / LOCK).touch()
    with Lock(str(tmp_path), "mine"):
        assert claim_of(tmp_path).token == "mine"


def other_claim(output, **facts):
    """Write the claim of a run on another machine."""
    far = Claim(
        **{"token": "other", "host": "elsewhere", "pid": 7, "boot": "b", "pids": "p", "beat": 1, "every": 0.05} | facts
    )
    (output / LOCK).write_bytes(far.to_bytes())
    return far


def test_a_heartbeat_that_stands_still_is_taken_over(hasty, tmp_path, capsys):
    """The clock of the other machine plays no part, nor its process number, which is somebody's here."""
    other_claim(tmp_path, started="2999-01-01T00:00:00Z", pid=os.getpid())
    with Lock(str(tmp_path), "mine"):
        assert claim_of(tmp_path).token == "mine"
    assert "process" in capsys.readouterr().err


def test_a_heartbeat_that_moves_is_respected(hasty, tmp_path):
    with Lock(str(tmp_path), "first"), pytest.raises(BusyError, match="another run is at work"):
        Lock(str(tmp_path), "mine").__enter__()
    assert not (tmp_path / LOCK).exists()


def test_the_heartbeat_survives_what_fails(hasty, tmp_path, monkeypatch):
    """Full disks and stores that do not answer pass, and the run is alive all the time."""
    with Lock(str(tmp_path), "mine") as held:
        failing, whole = [], held.change

        def change(*arguments, **how):
            failing.append(len(failing))
            if len(failing) < 4:
                raise OSError(28, "No space left on device")
            return whole(*arguments, **how)

        held.change = change
        wait_until(lambda: claim_of(tmp_path).beat > 3)
        assert len(failing) > 3


def test_what_a_run_tells_waits_for_a_rival_that_looks_at_the_lock(tmp_path):
    with Lock(str(tmp_path), "mine") as held:
        with contextlib.ExitStack() as rival:
            rival.enter_context(locked_file.locked(str(tmp_path / LOCK), seconds=0))
            threading.Timer(0.3, rival.pop_all().close).start()
            held.note(job="molino-names-1")
        assert claim_of(tmp_path).job == "molino-names-1"


def test_a_run_that_lost_its_lock_does_not_take_it_back(hasty, tmp_path):
    with Lock(str(tmp_path), "mine") as held:
        rival = other_claim(tmp_path, beat=5, every=60.0)
        assert "process 7 on elsewhere" in held.lost_to()
        wait_until(lambda: held.claim.beat > 3)
    assert claim_of(tmp_path) == rival


def test_the_job_of_a_dead_run_is_ended_first(hasty, tmp_path):
    other_claim(tmp_path, engine="FlinkRunner", master="http://far:8081", job="molino-names-1")
    ended = []

    def end_job(engine, master, job):
        assert claim_of(tmp_path).token == "other"
        ended.append((engine, master, job))

    with Lock(str(tmp_path), "mine", end_job=end_job):
        assert ended == [("FlinkRunner", "http://far:8081", "molino-names-1")]


def test_where_locks_reach_one_machine_alone_nothing_is_taken_over(hasty, tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "why_locks_fail", lambda folder: "nfs with nolock keeps its file locks on one machine")
    other_claim(tmp_path)
    with pytest.raises(BusyError, match=r"nfs with nolock .* molino unlock"), Lock(str(tmp_path), "mine"):
        pass
    assert claim_of(tmp_path).token == "other"
    dead = dataclasses.replace(new_claim("other", every=1), born="0")
    (tmp_path / LOCK).write_bytes(dead.to_bytes())  # this machine knows it, and another may be unlocking it just now
    with pytest.raises(BusyError, match=r"nfs with nolock .* molino unlock"), Lock(str(tmp_path), "mine"):
        pass
    assert claim_of(tmp_path).token == "other"


def test_a_process_that_is_paused_in_its_commit_keeps_the_output(hasty, tmp_path):
    """It holds the lock of the file, and its heartbeat stands still: nothing is taken over."""
    other_claim(tmp_path)
    with locked_file.locked(str(tmp_path / LOCK), seconds=0):
        with pytest.raises(BusyError, match="is publishing in"), Lock(str(tmp_path), "mine"):
            pass
        assert claim_of(tmp_path).token == "other"
    with Lock(str(tmp_path), "mine"):
        assert claim_of(tmp_path).token == "mine"


def test_what_is_cleaned_is_never_what_another_run_publishes(hasty, tmp_path, monkeypatch):
    """Two attempts at one run give their files the same names: those of the first are garbage until the second comes.

    Whoever deletes them is paused here for longer than its lease.
    """
    output, rivals = str(tmp_path / "out"), []
    protocol.attempt(output, "old")

    def fail(step):
        if step == "moved":
            raise DataError("the disk is full")

    with pytest.raises(DataError, match="full"):
        protocol.attempt(output, "new", crash=fail)
    delete = storage.delete_file

    def delete_late(path, **how):
        if not rivals:
            rivals.append(path)
            with pytest.raises(BusyError, match="is publishing in"):
                protocol.attempt(output, "new")
        delete(path, **how)

    monkeypatch.setattr(Lock, "BEAT", 600.0)
    monkeypatch.setattr(storage, "delete_file", delete_late)
    assert protocol.attempt(output, "old") == "old"
    assert rivals
    made, wrong = recheck.verify(output)
    assert (made["options"]["content"], wrong) == ("old", [])


def test_who_has_lost_the_output_leaves_the_work_units_to_who_has_it(tmp_path):
    output = str(tmp_path / "out")
    unit = storage.join(protocol.make_run(output, "new").units, "half.parquet")

    def lose(step):
        storage.write_bytes(unit, b"half")
        other_claim(tmp_path / "out")
        raise DataError("late")

    with pytest.raises(BusyError, match="has lost"):
        protocol.attempt(output, "new", crash=lose)
    assert storage.exists(unit)


def test_many_claim_at_once_and_one_has_it(hasty, tmp_path):
    """Also over a claim that stands still, which all of them have watched."""
    other_claim(tmp_path)
    program = """
import sys, time
from molino.jobs.run.lock import BusyError, Lock
Lock.BEAT, Lock.POLL = 0.05, 0.01
try:
    with Lock(sys.argv[1], sys.argv[2]):
        print("taken", flush=True)
        sys.stdin.read()
except BusyError:
    print("busy", flush=True)
"""
    words = [sys.executable, "-c", program, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    begin = functools.partial(subprocess.Popen, cwd=ROOT, env=environment(), **pipes)
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(begin([*words, str(number)])) for number in range(6)]
        told = [process.stdout.readline() for process in started]
        assert sorted(told) == ["busy\n"] * 5 + ["taken\n"]
        for process in started:
            process.stdin.close()
    assert not (tmp_path / LOCK).exists()

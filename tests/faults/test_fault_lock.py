"""Two runs in one output: one works, the other stops; a lock whose run is gone holds nobody up."""

import json
import os
import socket
import subprocess
import sys

import pytest

from molino.jobs.run.lock import Lock, OutputExistsError, holder
from molino.jobs.run.manifest import LOCK
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


def claim(output, **other):
    """Write a lock as a run of this machine would, but for what is given."""
    output.mkdir(exist_ok=True)
    held = {"token": "other", "host": socket.gethostname(), "pid": os.getpid(), "born": "0"} | other
    (output / LOCK).write_text(json.dumps(held))


@pytest.mark.slow
def test_of_runs_that_start_together_one_works_and_the_others_stop(sample, undisturbed, tmp_path):
    """They may also find its finished output; never is there half of one and half of another."""
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    env = environment(tmp_path, TOGETHER, MEETING=str(meeting))
    output = tmp_path / "out"
    started = [start("names", "--input", sample, "--output", output, "--quiet", env=env) for _ in range(RUNS)]
    ended = [end(process, 250) for process in started]
    assert sorted({run.code for run in ended}) in ([0], [0, 3])
    worked = [run for run in ended if run.code == 0 and "nothing to do" not in run.out]
    assert len(worked) == 1
    for run in ended:
        if run.code == 3:
            assert_failed(run, 3, "another run is at work")
    assert_complete(output, undisturbed)


@pytest.mark.slow
def test_a_second_run_stops_while_the_first_works_and_not_after(finished_other, sample, undisturbed):
    words = [sys.executable, "-c", HOLD, str(finished_other)]
    first = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    wait_until(lambda: (finished_other / LOCK).exists(), first)
    before = state_of(finished_other)
    assert_failed(names(sample, finished_other, "--overwrite"), 3, f"process {first.pid}")
    assert state_of(finished_other) == before
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


def test_a_lock_of_another_machine_is_never_taken(tmp_path):
    claim(tmp_path, host="elsewhere", pid=1)
    with pytest.raises(OutputExistsError, match="on elsewhere"), Lock(str(tmp_path), "mine"):
        pass
    assert holder(str(tmp_path / LOCK))["token"] == "other"


def test_a_process_number_that_was_given_away_holds_nobody_up(tmp_path):
    """The number is this process's, but it was not born when the lock's run was."""
    claim(tmp_path)
    with Lock(str(tmp_path), "mine"):
        assert holder(str(tmp_path / LOCK))["token"] == "mine"
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', "null", json.dumps({"host": socket.gethostname()})])
def test_a_lock_that_says_nothing_is_named_and_left(text, tmp_path):
    (tmp_path / LOCK).write_text(text)
    with pytest.raises(OutputExistsError, match="delete"), Lock(str(tmp_path), "mine"):
        pass
    assert (tmp_path / LOCK).read_text() == text

"""Processes that are stopped at every step of a commit, in PID namespaces of their own, while others take the output.

The signal is SIGSTOP: the process holds what it holds, and goes on later as if nothing had been.
"""

import itertools
import os
import signal
import time

import pytest

from molino.jobs.run import recheck
from molino.jobs.run.output import read_output
from molino.transforms import manifest
from tests import programs
from tests.faults.fault_harness import end, environment, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]
STEPS = ("claimed", "verified", "moved", "manifest", "view", "success")


def start(output, content, at=""):
    """Start an attempt, in a PID namespace of its own where that can be."""
    words = ["tests.faults.attempt_apart", output, content, at]
    return programs.popen(words, env=environment(), start_new_session=True)


def stopped_below(process):
    """Return the number of the stopped process that a command started, 0 while there is none."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as file:
                words = file.read().rsplit(")", 1)[1].split()
            if words[0] == "T" and os.getsid(int(entry)) == process.pid:
                return int(entry)
        except OSError:
            continue
    return 0


def look(output):
    """Return what the output says, after looking that it is whole."""
    made, wrong = recheck.verify(str(output))
    assert [line for line in wrong if ".parquet" in line] == []
    assert read_output(str(output)).lacks(manifest.data_files(made)) == []
    return made["options"]["content"], wrong


@pytest.mark.parametrize("old", [False, True], ids=["first", "over"])
@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_is_stopped_in_its_run(step, old, tmp_path):
    """In its commit it keeps the output, and rivals are told to come again. Before it is taken over, and told so."""
    output = tmp_path / "out"
    if old:
        assert end(start(output, "old")).code == 0
    first = start(output, "first", step)
    wait_until(lambda: stopped_below(first), first)
    stopped = stopped_below(first)
    rival = end(start(output, "rival"), 60)
    if step == "claimed":
        assert rival.code == 0, rival.err
        assert look(output) == ("rival", [])
    else:
        assert rival.code == 75, rival.err
        assert "is publishing in" in rival.err
        if old or step not in ("verified", "moved"):
            assert look(output)[0] == ("old" if step in ("verified", "moved") else "first")
    os.kill(stopped, signal.SIGCONT)
    ended = end(first, 60)
    if step == "claimed":
        assert ended.code == 75, ended.err
        assert "this run has lost" in ended.err
        assert look(output) == ("rival", [])
    else:
        assert ended.code == 0, ended.err
        assert look(output) == ("first", [])
    assert end(start(output, "last")).code == 0
    assert look(output) == ("last", [])


@pytest.mark.parametrize(("step", "watched"), [*zip(STEPS, [True, False] * 3, strict=True)])
def test_a_process_that_is_killed_in_its_run(step, watched, tmp_path):
    """Its lock of the file goes with it, wherever it was; the next run waits for its heartbeat, and replaces it.

    Also one that has watched it since before it was killed.
    """
    output = tmp_path / "out"
    assert end(start(output, "old")).code == 0
    first = start(output, "first", step)
    wait_until(lambda: stopped_below(first), first)
    rival = start(output, "rival") if watched else None
    os.killpg(first.pid, signal.SIGKILL)
    end(first)
    assert look(output)[0] == ("old" if step in ("claimed", "verified", "moved") else "first") or rival
    if rival:
        assert end(rival, 60).code in (0, 75)
    assert end(start(output, "last")).code == 0
    assert look(output) == ("last", [])


@pytest.mark.parametrize("turn", [0, 3])
def test_runs_in_namespaces_of_their_own_by_turns(turn, tmp_path):
    """Twelve that start together, each stopped for a while somewhere: what is published is always whole."""
    output, steps = tmp_path / "out", itertools.cycle(STEPS[turn:] + STEPS[:turn])
    running = [start(output, f"run {number}", next(steps)) for number in range(12)]
    codes = []
    while running:
        for process in [*running]:
            stopped = stopped_below(process)
            if stopped:
                os.kill(stopped, signal.SIGCONT)
            if process.poll() is not None:
                codes.append(end(process).code)
                running.remove(process)
        if (output / manifest.MANIFEST).exists():
            look(output)
        time.sleep(0.3)
    assert set(codes) <= {0, 75}, codes
    assert 0 in codes
    assert end(start(output, "last")).code == 0
    assert look(output) == ("last", [])

"""Processes that are killed or told to stop in mid-run: nothing is published, and the next run is as if nothing was."""

import os
import signal
import subprocess

import pytest

from molino.jobs.run import recheck
from molino.jobs.run.output import read_manifest
from molino.transforms.manifest import LOCK, MANIFEST, STAGING
from tests.faults.fault_harness import (
    assert_complete,
    assert_failed,
    assert_gone,
    descendants,
    end,
    environment,
    is_untouched,
    names,
    start,
    state_of,
    wait_until,
)

pytestmark = pytest.mark.slow

# Workers that never come to an end, and write one unfinished file after the other.
ENDLESS = """
import time
from molino.transforms.parquet import shards

def write_again_and_again(*arguments, **options):
    for _ in range(60000):
        written = whole(*arguments, **options)
        time.sleep(0.0005)
    return written

whole, shards.write_shard = shards.write_shard, write_again_and_again
"""


@pytest.fixture
def endless(tmp_path):
    """The environment of a run that never ends by itself, and that no signal of the test's terminal reaches."""
    return environment(tmp_path, ENDLESS)


def start_endless(sample, output, env, *options) -> subprocess.Popen:
    """Start a run that never ends, and return it when its workers are writing their shards."""
    process = start("names", "--input", sample, "--output", output, "--workers", 2, *options, env=env)
    staging = output / STAGING
    wait_until(lambda: list(staging.rglob("*.parquet")), process)
    return process


@pytest.mark.parametrize("old", [False, True], ids=["first", "over"])
def test_the_driver_is_killed(old, sample, endless, undisturbed, undisturbed_other, request, tmp_path):
    output = request.getfixturevalue("finished_other") if old else tmp_path / "out"
    process = start_endless(sample, output, endless, "--overwrite")
    process.kill()
    assert end(process).code == -9
    assert (output / LOCK).exists()
    if old:
        manifest, wrong = recheck.verify(str(output))
        assert (wrong, manifest["digest"]) == ([], read_manifest(str(undisturbed_other))["digest"])
    else:
        assert not (output / MANIFEST).exists()
    assert names(sample, output, "--overwrite").code == 0
    assert_complete(output, undisturbed)


@pytest.mark.parametrize(
    ("number", "code", "mode"),
    [
        (signal.SIGTERM, 143, "threads"),
        (signal.SIGTERM, 143, "processes"),
        (signal.SIGINT, 130, "processes"),
        (signal.SIGHUP, 129, "threads"),
    ],
    ids=["TERM", "TERM processes", "INT processes", "HUP"],
)
def test_a_signal_stops_the_run_and_tidies_up(number, code, mode, sample, endless, finished_other, undisturbed):
    before = state_of(finished_other)
    process = start_endless(sample, finished_other, endless, "--overwrite", "--worker-mode", mode)
    workers = descendants(process.pid)
    assert len(workers) >= (2 if mode == "processes" else 0)
    os.kill(process.pid, number)
    assert_failed(end(process, 30), code, "stopped")
    assert_gone(workers)
    assert state_of(finished_other) == before
    assert names(sample, finished_other, "--overwrite").code == 0
    assert_complete(finished_other, undisturbed)


def test_ctrl_c_reaches_the_workers_too(sample, endless, tmp_path):
    """A terminal sends it to the whole group of processes. No temporary file is left, ours or Beam's."""
    output, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    process = start(
        *("names", "--input", sample, "--output", output, "--workers", 2, "--worker-mode", "processes"),
        env={**endless, "TMPDIR": str(temporary)},
        start_new_session=True,
    )
    wait_until(lambda: list(output.rglob("*.parquet")), process)
    workers = descendants(process.pid)
    assert list(temporary.iterdir())
    os.killpg(process.pid, signal.SIGINT)
    assert end(process, 30).code == 130
    assert_gone(workers)
    assert is_untouched(output)
    assert not list(temporary.iterdir())


def test_a_worker_process_that_dies_at_its_start_ends_the_run(sample, tmp_path):
    env = environment(tmp_path, "import os, sys\nif 'molino.jobs.runners.worker' in sys.orig_argv: os._exit(9)")
    ended = names(sample, tmp_path / "out", "--worker-mode", "processes", "--workers", 2, env=env)
    assert_failed(ended, 1, "a worker process ended suddenly")
    assert is_untouched(tmp_path / "out")


@pytest.mark.parametrize("choose", [min, max], ids=["first", "last"])
def test_a_worker_process_is_killed(choose, sample, endless, finished_other, undisturbed):
    """The run ends, though the other worker would be at work for ever."""
    before = state_of(finished_other)
    process = start_endless(sample, finished_other, endless, "--overwrite", "--worker-mode", "processes")
    workers = descendants(process.pid)
    os.kill(choose(workers), signal.SIGKILL)
    ended = end(process, 60)
    assert ended.code == 1
    assert "a worker process ended suddenly" in ended.err.strip().splitlines()[-1]
    assert_gone(workers)
    assert state_of(finished_other) == before
    assert names(sample, finished_other, "--overwrite", "--worker-mode", "processes", "--workers", 2).code == 0
    assert_complete(finished_other, undisturbed)

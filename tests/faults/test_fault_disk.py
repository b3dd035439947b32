"""A disk that fills up: one line says so, and the earlier output is as it was."""

import os
import shutil
import subprocess

import pytest

from tests.faults.fault_harness import assert_complete, assert_failed, names, state_of

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path):
    """Return a function that makes a disk of a size in KiB; only root can, on Linux."""
    made = []

    def make(kib):
        folder = tmp_path / f"disk-{kib}"
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
        if os.geteuid() or subprocess.run(words, capture_output=True).returncode:
            pytest.skip("this user cannot mount a small disk")
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(("kib", "mode"), [(16, "threads"), (200, "threads"), (200, "processes"), (400, "processes")])
def test_a_disk_that_fills_up_is_one_line(kib, mode, disk, sample):
    """However far the run comes: to its bucket files, to its shards, to its views."""
    folder = disk(kib)
    ended = names(sample, folder / "out", "--worker-mode", mode)
    assert_failed(ended, 1, "No space left on device; the disk is full; free some space")
    assert not list(folder.rglob("*.parquet"))


def test_the_earlier_output_survives_a_full_disk(disk, sample, undisturbed, undisturbed_other):
    used = sum(path.stat().st_size for path in undisturbed_other.rglob("*") if path.is_file())
    folder = disk(used // 1024 + 250)
    output = shutil.copytree(undisturbed_other, folder / "out")
    before = state_of(output)
    assert_failed(names(sample, output, "--overwrite"), 1, "the disk is full")
    assert state_of(output) == before
    subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
    assert names(sample, output, "--overwrite").code == 0
    assert_complete(output, undisturbed)

"""A commit that is cut short at any step is repeated, and leaves the earlier output or the new one, never a mixture."""

import functools
import shutil

import pytest

from molino.jobs.run import recheck
from molino.jobs.run.output import read_manifest
from molino.transforms.errors import DataError
from molino.transforms.manifest import LOCK, STAGING, listed_paths
from tests.faults.fault_harness import (
    MARK,
    assert_complete,
    assert_failed,
    environment,
    files_below,
    manifest_of,
    names,
    side_by_side,
)

STEPS = ("verified", "moved", "manifest", "view", "success", "deleted")
# of a first run and of one over an older output; in a first run there is nothing older to be deleted
CASES = [(step, how) for step in STEPS for how in ("first", "over") if (step, how) != ("deleted", "first")]
OPTIONS = {"first": [], "over": ["--overwrite", "--keep-previous", 0]}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def crashed(sample, undisturbed_other, tmp_path_factory):
    """For every step, a first run and one over an older output that were killed there."""
    folder = tmp_path_factory.mktemp("crashed")
    calls, outputs = [], {}
    for step, how in CASES:
        output = outputs[step, how] = folder / f"{step}-{how}"
        if how == "over":
            shutil.copytree(undisturbed_other, output)
        env = environment(MOLINO_CRASH=step)
        calls.append(functools.partial(names, sample, output, *OPTIONS[how], env=env))
    return dict(zip(outputs, zip(outputs.values(), side_by_side(calls), strict=True), strict=True))


@pytest.fixture(scope="module")
def repeated(sample, crashed, tmp_path_factory):
    """Copies of the outputs that the killed runs left, after the same command was given again."""
    folder = tmp_path_factory.mktemp("repeated")
    calls, copies = [], {}
    for (step, how), (output, _) in crashed.items():
        copy = copies[step, how] = folder / f"{step}-{how}"
        if output.exists():
            shutil.copytree(output, copy)
        calls.append(functools.partial(names, sample, copy, *OPTIONS[how]))
    return dict(zip(copies, zip(copies.values(), side_by_side(calls), strict=True), strict=True))


@pytest.mark.parametrize(("step", "how"), CASES)
def test_a_kill_in_the_commit_leaves_the_old_or_the_new(step, how, crashed, undisturbed, undisturbed_other):
    output, ended = crashed[step, how]
    assert ended.code == -9
    before_commit = step in ("verified", "moved")
    if before_commit and how == "first":
        with pytest.raises(DataError, match="no finished run"):
            recheck.verify(str(output))
        return
    manifest = read_manifest(str(output))
    assert manifest["digest"] == manifest_of(undisturbed_other if before_commit else undisturbed)["digest"]
    # a reader of the manifest finds every data file whole, whatever else is there
    _, wrong = recheck.verify(str(output))
    assert not [line for line in wrong if ".parquet" in line and "not part of the run" not in line]


@pytest.mark.parametrize(("step", "how"), CASES)
def test_the_same_command_again_completes_the_output(step, how, repeated, undisturbed):
    output, ended = repeated[step, how]
    assert ended.code == 0, ended.err
    assert_complete(output, undisturbed)


def test_another_command_after_a_kill_needs_overwrite_and_cleans_up(crashed, sample, undisturbed_other, tmp_path):
    output = shutil.copytree(crashed["manifest", "over"][0], tmp_path / "out")
    other = ["--min-count", 2, "--repair-names"]
    assert_failed(names(sample, output, *other), 3, output, "min_count", "--overwrite")
    assert names(sample, output, *other, "--overwrite").code == 0
    assert_complete(output, undisturbed_other)


def test_a_kill_leaves_nothing_outside_its_own_names(crashed, undisturbed, undisturbed_other):
    listed = listed_paths(manifest_of(undisturbed)) | listed_paths(manifest_of(undisturbed_other))
    known = {MARK.sub("", path) for path in listed}
    for output, _ in crashed.values():
        own = (STAGING + "/", LOCK)
        assert {MARK.sub("", p) for p in files_below(output) if not p.startswith(own)} <= known


def test_half_written_small_files_of_a_kill_are_cleaned(finished_other, sample, undisturbed):
    (finished_other / "_tmp.k1lled00").write_text("{")
    (finished_other / f"{LOCK}.0123").write_text("{")
    assert names(sample, finished_other, "--overwrite").code == 0
    assert_complete(finished_other, undisturbed)

"""Workers with other code than their command: the run ends in one line, and leaves the earlier output as it was."""

import json
import re
import shutil

import pytest

from tests.faults.fault_harness import (
    NOTE,
    ROOT,
    assert_failed,
    changed_copy,
    environment,
    files_below,
    names,
    state_of,
)

pytestmark = pytest.mark.slow
IN_WORKERS = """
import sys
if "molino.jobs.runners.worker" in sys.orig_argv:
"""
OTHER_NUMPY = """
    import importlib.metadata as metadata
    real = metadata.version
    metadata.version = lambda name: "0.1" if name == "numpy" else real(name)
"""


@pytest.fixture
def copy(tmp_path):
    """A copy of the package with other code by one line."""
    return changed_copy(tmp_path / "copy")


def fails(sample, output, env, *words):
    """Run the names job over an earlier output, by worker processes that a patch changes."""
    earlier = state_of(output)
    ended = names(sample, output, "--overwrite", "--min-count", 9, "--worker-mode", "processes", env=env)
    assert_failed(ended, 1, *words)
    assert len(ended.err.splitlines()) == 1
    assert state_of(output) == earlier
    assert files_below(output) - {NOTE} == set(earlier)
    return ended.err


def test_workers_with_one_line_changed(copy, sample, finished, tmp_path):
    env = environment(tmp_path, f"{IN_WORKERS}    sys.path.insert(0, {str(copy)!r})")
    line = fails(sample, finished, env, "rebuild the workers' image")
    assert re.search(r"worker \S+ has other code of molino \S+ than this command: \w{12} there, \w{12} here;", line)


def test_workers_without_the_module_that_compares(copy, sample, finished, tmp_path):
    (copy / "molino/jobs/runners/proof.py").unlink()
    env = environment(tmp_path, f"{IN_WORKERS}    sys.path.insert(0, {str(copy)!r})")
    fails(sample, finished, env, "other code of molino", "lack molino.jobs.runners.proof", "rebuild")


def test_workers_with_another_numpy(sample, finished, tmp_path):
    env = environment(tmp_path, IN_WORKERS + OTHER_NUMPY)
    fails(sample, finished, env, "has numpy 0.1, this command numpy ", "the workers are older")


def test_a_run_is_what_it_was_where_workers_have_the_same_code(sample, undisturbed, tmp_path):
    """A copy elsewhere is the same code, and what a proof adds is in no output."""
    place = shutil.copytree(ROOT / "molino", tmp_path / "copy/molino", ignore=shutil.ignore_patterns("__pycache__"))
    env = environment(tmp_path, f"{IN_WORKERS}    sys.path.insert(0, {str(place.parent)!r})")
    ended = names(sample, tmp_path / "out", "--worker-mode", "processes", env=env)
    assert ended.code == 0, ended.err
    manifests = [json.loads((place / "_manifest.json").read_text()) for place in (undisturbed, tmp_path / "out")]
    assert [manifests[0][key] for key in ("run", "digest", "code")] == [
        manifests[1][key] for key in ("run", "digest", "code")
    ]

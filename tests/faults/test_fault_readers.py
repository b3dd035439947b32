"""Readers keep what they read while scheduled runs replace it, and outputs of the first version are as good as any."""

import json
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from molino.jobs.run import recheck
from molino.jobs.run.output import read_manifest, read_output
from molino.training.runs import UnfinishedError, open_run
from molino.transforms.manifest import MANIFEST, SHARD, SUCCESS, data_files
from tests.faults import protocol
from tests.faults.fault_harness import MARK, ROOT, environment, sha256

OVERWRITES = 20
WRITER = """
import sys, time
from tests.faults import protocol
for turn in range(int(sys.argv[2])):
    time.sleep(0.3)  # what is read stays until the commit after the next
    protocol.attempt(sys.argv[1], f"run {turn}")
"""


@pytest.fixture
def output(tmp_path):
    return str(tmp_path / "out")


def rows(run):
    """Return what an opened run says, read file by file from the disk."""
    paths = [f"{run.root}/{file['path']}" for file in run.manifest["datasets"]["rows"]["files"]]
    return [pq.read_table(path)["run"][0].as_py().rpartition(" ")[0] for path in paths]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_reader_meets_no_error_while_20_runs_are_published(output):
    """It opens run after run, and reads each only when the next one has been published."""
    protocol.attempt(output, "first")
    words = [sys.executable, "-c", WRITER, output, str(OVERWRITES)]
    with subprocess.Popen(words, cwd=ROOT, env=environment()) as writer:
        seen, waited = [], 0
        while writer.poll() is None:
            run = open_run(output, {"rows": None})
            said = run.manifest["options"]["content"]
            if said not in seen:
                seen.append(said)
                while writer.poll() is None and read_manifest(output)["attempt"] == run.manifest["attempt"]:
                    time.sleep(0.005)
                waited += writer.poll() is None
            assert rows(run) == [said] * protocol.SHARDS
    assert writer.returncode == 0
    assert len(seen) > 3
    assert waited > 3
    assert recheck.verify(output)[1] == []


def test_the_runs_before_stay_as_long_as_is_asked(output):
    made = {}
    for turn, keep in enumerate((1, 1, 3, 3, 0)):
        protocol.attempt(output, f"run {turn}", keep_previous=keep)
        made[turn] = {file["path"] for file in data_files(read_manifest(output))}
        there = {path for path in read_output(output).files if SHARD.fullmatch(path)}
        kept = {0: [0], 1: [0, 1], 2: [0, 1, 2], 3: [0, 1, 2, 3], 4: [4]}[turn]
        assert there == set().union(*(made[each] for each in kept))
        assert recheck.verify(output)[1] == []


def test_the_same_bytes_have_the_same_names_in_a_new_folder(tmp_path):
    names = []
    for name in ("a", "b"):
        protocol.attempt(str(tmp_path / name), "same")
        names.append([file["path"] for file in data_files(read_manifest(str(tmp_path / name)))])
    assert names[0] == names[1]
    for path in names[0]:
        assert sha256(tmp_path / "a" / path)[:12] in path


def test_an_output_of_the_first_version_opens_verifies_and_is_replaced(tmp_path, output):
    """Its names have the digits of its run, and its manifest knows nothing of those before."""
    protocol.attempt(output, "old")
    path = tmp_path / "out" / MANIFEST
    old = json.loads(path.read_text())
    for key in ("previous", "garbage", "parents", "attempt"):
        del old[key]
    for file in data_files(old):
        name = MARK.sub(f"-{old['run'][:8]}.parquet", file["path"])
        (tmp_path / "out" / file["path"]).rename(tmp_path / "out" / name)
        file["path"] = name
    path.write_text(json.dumps(old))
    with pytest.raises(UnfinishedError):
        open_run(output, {"rows": None})
    (tmp_path / "out" / SUCCESS).write_text(sha256(path) + "\n")
    assert recheck.verify(output)[1] == []
    run = open_run(output, {"rows": None})
    assert protocol.attempt(output, "old") == "old"  # it is there
    assert sha256(path) == run.sha256
    protocol.attempt(output, "new")
    assert rows(run) == ["old"] * protocol.SHARDS
    assert rows(open_run(output, {"rows": None})) == ["new"] * protocol.SHARDS
    assert recheck.verify(output)[1] == []
    protocol.attempt(output, "newer")
    left = read_output(output).files
    assert not [name for name in left if f"-{old['run'][:8]}.parquet" in name]

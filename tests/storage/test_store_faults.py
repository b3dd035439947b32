"""The names job on S3 and Cloud Storage, disturbed: nobody sees half a run, and a repeated one is as if undisturbed."""

import json
import os
import signal

import pytest

from molino.jobs import names
from molino.jobs.run.output import read_manifest
from molino.transforms.manifest import owned_paths
from molino.transforms.names.sample import sample_names
from tests.faults.fault_harness import wait_until
from tests.faults.test_fault_stopped import STEPS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]
OPTIONS = ["--runner", "embedded", "--workers", "1", "--quiet"]
OLD = ["--min-count", "2"]  # another run
# dies as by kill -9 while it writes its third file: two are staged, one upload is not complete
KILLED_WRITING = """
import os, sys
from molino.jobs import names
from molino.transforms.parquet import shards
files, write = [], shards.HashingFile.write
def die(file, data):
    if file not in files:
        files.append(file)
    if len(files) == 3:
        os.kill(os.getpid(), 9)
    return write(file, data)
shards.HashingFile.write = die
sys.exit(names.JOB.main(sys.argv[1:]))
"""
# waits before it publishes until a file is there
WAITS = """
import os, sys, time
from molino.jobs.run import commit
from molino.jobs import names
publish = commit.publish
def late(*arguments):
    print("staged", flush=True)
    while not os.path.exists(os.environ["GO"]):
        time.sleep(0.05)
    return publish(*arguments)
commit.publish = late
sys.exit(names.JOB.main(sys.argv[1:]))
"""
# a commit whose every step takes a while; runs change by turns
SLOW = """
import sys, time
from molino.jobs.run import commit
from molino.jobs import names
commit.crash_point = lambda step: time.sleep(0.1)
options = sys.argv[1:]
for turn in range(4):
    assert names.JOB.main([*options, "--overwrite", "--min-count", str(1 + turn % 2)]) == 0
"""
# what a reader sees while it polls: a whole run, or, at first, that none is finished
POLLS = """
import hashlib, json, os, sys
import pyarrow.parquet as pq
from molino.training.runs import MissingFileError, RunError, UnfinishedError, open_run
seen, states = {}, set()
while not os.path.exists(os.environ["STOP"]):
    try:
        run = open_run(sys.argv[1], {"people": None, "hombres": None})
        rows = [people.open(0).read().to_pylist() for people in run.datasets.values()]
        seen.setdefault(run.sha256, set()).add(hashlib.sha256(repr(rows).encode()).hexdigest())
    except RunError as error:
        states.add(f"{'late ' if seen else ''}{type(error).__name__}: {error}")
print(json.dumps([{run: sorted(found) for run, found in seen.items()}, sorted(states)]))
"""
LOCKS = """
import sys, threading
from molino.jobs.run.lock import BusyError, Lock
from molino.transforms.files import storage
storage.use_options([])
told, start = [], threading.Barrier(6)
def take(number):
    lock = Lock(sys.argv[1], str(number))
    start.wait()
    try:
        with lock:
            told.append("taken")
            done.wait(60)
    except BusyError as error:
        told.append(str(error))
        if len([line for line in told if line != "taken"]) == 5:
            done.set()
done = threading.Event()
threads = [threading.Thread(target=take, args=(number,)) for number in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(*told, sep="\\n")
"""

OBJECTS = """
import sys
from molino.transforms.files import storage
storage.use_options([])
folder = sys.argv[1]
storage.write_bytes(f"{folder}/empty", b"")
assert storage.read_bytes(f"{folder}/empty") == b""
storage.write_atomic(f"{folder}/a b#1", b"one")
storage.write_atomic(f"{folder}/a b#1", b"two")
for _ in range(2):
    storage.move(f"{folder}/a b#1", f"{folder}/c/d", size=3)
    storage.delete_file(f"{folder}/empty")
assert storage.read_bytes(f"{folder}/c/d") == b"two"
assert [(file.path, file.bytes) for file in storage.list_tree(folder)] == [(f"{folder}/c/d", 3)]
for number in range(int(sys.argv[2])):
    storage.write_bytes(f"{folder}/{number}", b"x")
storage.delete_tree(folder)
assert storage.list_tree(folder) == []
"""

OF_STORES = """
import sys
from molino.transforms.files import storage
from tests.faults.attempt_apart import attempt
storage.use_options([])
sys.exit(attempt(*sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def payroll(tmp_path_factory):
    folder = tmp_path_factory.mktemp("payroll")
    sample_names(str(folder / "sep.txt"), rows=2000, hostile=True)
    return folder


@pytest.fixture(scope="module")
def store(empty_store, payroll):
    empty_store.fill(payroll)
    return empty_store


@pytest.fixture(scope="module")
def digests(payroll, tmp_path_factory):
    """Return the digests of a run on this disk that nothing disturbs, with the options and with the old ones."""
    found = []
    for options in ([], OLD):
        output = str(tmp_path_factory.mktemp("local") / "out")
        assert names.JOB.main(["--input", str(payroll / "sep.txt"), "--output", output, *OPTIONS, *options]) == 0
        found.append(read_manifest(output)["digest"])
    return found


def of_store(store, steps):
    """Return the first of two steps for S3, the second for Cloud Storage."""
    return steps[store.scheme == "gs"]


def words(store, name, *options):
    return ["--input", store.url("in/sep.txt"), "--output", store.url(name), *OPTIONS, *options]


@pytest.mark.parametrize("steps", [("writing", "writing"), ("verified", "manifest")], ids=" or ".join)
def test_a_killed_run_is_not_seen_and_is_repeated(steps, store, digests):
    step = of_store(store, steps)
    before = step == "verified"  # over an earlier run
    if before:
        assert store.molino("names", *words(store, step, *OLD))[0] == 0
    run = words(store, step, "--overwrite")
    if step == "writing":
        code, _, _ = store.run(KILLED_WRITING, *run)
    else:
        code, _, _ = store.molino("names", *run, MOLINO_CRASH=step)
    assert code == -9
    left = store.objects(step)
    assert "_lock" in left
    assert any(path.startswith("_staging/") for path in left)
    present = store.manifest(step)
    code, _, wrong = store.molino("verify", store.url(step))
    if step == "writing":
        assert present is None
        assert "holds no finished run" in wrong
    elif step == "verified":
        assert present["digest"] == digests[1]
        assert code == 0, wrong
    else:
        # the manifest is the new run's and all its files are there, but nobody is told that it is finished
        assert present["digest"] == digests[0]
        assert "a commit was cut short" in wrong
        assert {file["path"] for data in present["datasets"].values() for file in data["files"]} <= left
    code, _, wrong = store.molino("names", *run)
    assert code == 0, wrong
    again = store.manifest(step)
    assert again["digest"] == digests[0]
    assert store.objects(step) == owned_paths(again)
    assert store.molino("verify", store.url(step))[0] == 0


def test_objects_are_written_moved_and_deleted_whole(store):
    # one request deletes 1,000 objects of S3
    code, _, wrong = store.run(OBJECTS, store.url("objects"), 1001 if store.scheme == "s3" else 3)
    assert code == 0, wrong


def test_of_two_runs_one_wins_and_the_other_is_told(store, digests, tmp_path):
    first = store.start(WAITS, *words(store, "two"), GO=str(tmp_path / "go"))
    first.wait_for("staged")
    code, _, wrong = store.molino("names", *words(store, "two", *OLD, "--overwrite"))
    assert code == 75
    assert f"another run is at work in {store.url('two')}" in wrong
    assert store.manifest("two") is None
    (tmp_path / "go").touch()
    code, _, wrong = first.end()
    assert code == 0, wrong
    manifest = store.manifest("two")
    assert manifest["digest"] == digests[0]
    assert store.objects("two") == owned_paths(manifest)


def test_a_lock_has_one_holder(store):
    code, out, wrong = store.run(LOCKS, store.url("locks"))
    assert code == 0, wrong
    told = out.splitlines()
    assert sorted(line.startswith("another run is at work in ") for line in told) == [False] + [True] * 5
    assert told.count("taken") == 1
    assert store.objects("locks") == set()


def test_a_lock_of_another_host_is_told(store):
    claim = json.dumps({"token": "rival", "host": "elsewhere", "pid": 1, "born": ""})
    program = """
import sys
from molino.transforms.files import storage
storage.use_options([])
none = storage.see(sys.argv[1])
first = storage.swap(sys.argv[1], sys.argv[2].encode(), none)
print(first == storage.see(sys.argv[1]), storage.swap(sys.argv[1], b"late", none))
second = storage.swap(sys.argv[1], sys.argv[2].encode() + b" ", first)
print(second == storage.see(sys.argv[1]), storage.swap(sys.argv[1], b"late", first))
"""
    assert store.run(program, store.url("held/_lock"), claim)[1].split() == ["True", "None", "True", "None"]
    code, _, wrong = store.molino("names", *words(store, "held"))
    assert code == 75
    assert f"another run is at work in {store.url('held')} (process 1 on elsewhere)" in wrong


@pytest.mark.parametrize("steps", [*zip(STEPS[::2], STEPS[1::2], strict=True)], ids=" or ".join)
def test_a_run_that_is_stopped_is_taken_over_and_publishes_nothing_later(steps, store, tmp_path):
    """No lock of a store can be held for good. An output stays whole, for its manifest is written conditionally.

    A run that had published before it was stopped has done its work; the rest of it is left.
    """
    step = of_store(store, steps)
    name = f"stopped-{step}"
    assert store.run(OF_STORES, store.url(name), "old", "")[0] == 0
    first = store.start(OF_STORES, store.url(name), "first", step)
    wait_until(lambda: is_stopped(first.process))
    code, out, wrong = store.run(OF_STORES, store.url(name), "rival", "")
    assert (code, out) == (0, "rival\n"), wrong
    os.kill(first.process, signal.SIGCONT)
    code, out, wrong = first.end()
    if step in ("claimed", "verified", "moved"):
        assert code == 75, wrong
        assert "this run has lost" in wrong
    else:
        assert code in (0, 75), wrong
    code, _, wrong = store.molino("verify", store.url(name))
    assert code == 0, wrong
    made = store.manifest(name)
    assert made["options"] == {"content": "rival"}
    assert owned_paths(made) <= store.objects(name)
    assert store.run(OF_STORES, store.url(name), "last", "")[0] == 0
    assert store.objects(name) == owned_paths(store.manifest(name))


def is_stopped(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "T"


def test_a_reader_sees_whole_runs_while_they_replace_each_other(store, tmp_path):
    stop = tmp_path / "stop"
    reader = store.start(POLLS, store.url("turns"), STOP=str(stop))
    try:
        code, _, wrong = store.run(SLOW, *words(store, "turns"))
    finally:
        stop.touch()
    assert code == 0, wrong
    code, out, wrong = reader.end()
    assert code == 0, wrong
    seen, states = json.loads(out.splitlines()[-1])
    # four manifests, for each names the time of its run; the rows of each are always the same
    assert 2 <= len(seen) <= 4
    assert all(len(found) == 1 for found in seen.values()), seen
    # before the first run is done; after it a reader meets nothing but whole runs
    allowed = ("UnfinishedError: ", "RunError: there is no folder ")
    assert all(state.startswith(allowed) for state in states), states

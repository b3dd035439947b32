"""The run protocol on a store without folders and renames: the output is whole or not there, as on a disk."""

import json

import pytest

from molino.jobs import names
from molino.jobs.run import commit, lock
from molino.jobs.run.output import read_manifest
from molino.jobs.run.recheck import verify
from molino.jobs.runners import exits
from molino.transforms.files import storage
from molino.transforms.manifest import owned_paths
from molino.transforms.names.sample import sample_names
from tests.storage.memory_store import OBJECTS

OUTPUT = "mem://bucket/names"
pytestmark = pytest.mark.slow

STEPS = ("verified", "moved", "manifest", "view", "success", "deleted")


class Stopped(BaseException):
    """What ends a run half-way."""


@pytest.fixture(scope="module")
def payroll(tmp_path_factory):
    path = tmp_path_factory.mktemp("payroll") / "sep.txt"
    sample_names(str(path), rows=2000, hostile=True)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def store(payroll, monkeypatch):
    OBJECTS.clear()
    with storage.open_output("mem://bucket/sep.txt") as file:
        file.write(payroll)
    monkeypatch.setattr(lock.Lock, "PAUSE", 0.01)

    def leave(code):
        raise SystemExit(code)  # the real one ends the process

    monkeypatch.setattr(exits, "leave", leave)
    yield
    OBJECTS.clear()


def run(*options):
    words = ["--input", "mem://bucket/sep.txt", "--output", OUTPUT, "--quiet", "--workers", "1", *options]
    return names.JOB.main(words)


def below(folder):
    return {path[len(folder) + 1 :] for path in OBJECTS if path.startswith(folder + "/")}


def digest():
    manifest, wrong = verify(OUTPUT)
    assert wrong == []
    assert below(OUTPUT) == owned_paths(manifest)
    return manifest["digest"]


def test_a_run_is_whole_done_once_and_replaced_on_demand(capsys):
    assert run() == 0
    first = digest()
    before = dict(OBJECTS)
    assert run() == 0
    assert "nothing to do" in capsys.readouterr().out
    assert before == OBJECTS
    assert run("--min-count", "2") == 3
    assert before == OBJECTS
    assert run("--min-count", "2", "--overwrite") == 0
    assert digest() != first


def test_the_digest_is_that_of_a_disk(payroll, tmp_path):
    (tmp_path / "sep.txt").write_bytes(payroll)
    words = ["--input", tmp_path / "sep.txt", "--output", tmp_path / "out", "--quiet"]
    assert names.JOB.main(list(map(str, words))) == 0
    assert run() == 0
    assert digest() == read_manifest(str(tmp_path / "out"))["digest"]


@pytest.mark.parametrize("old", [False, True], ids=["first", "over"])
@pytest.mark.parametrize("step", STEPS)
def test_a_commit_that_ends_half_way_is_the_old_or_the_new(step, old, monkeypatch):
    if step == "deleted" and not old:
        pytest.skip("a first run has nothing to delete")
    if old:
        assert run("--min-count", "2") == 0
        before = read_manifest(OUTPUT)

    def stop(reached):
        if reached == step:
            raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(commit, "crash_point", stop)
        if step in ("verified", "moved"):
            with pytest.raises((Stopped, SystemExit)):
                run("--overwrite", "--keep-previous", "0")
        else:  # the command sees that the manifest is its own, and does the rest
            patched.setattr(exits, "end_workers", lambda: patched.setattr(commit, "crash_point", lambda step: None))
            assert run("--overwrite", "--keep-previous", "0") == 0
            digest()
    present = read_manifest(OUTPUT)
    if step in ("verified", "moved"):
        assert present == (before if old else None)
    # what the manifest lists is there, whole, at every moment
    for file in [file for dataset in (present or {"datasets": {}})["datasets"].values() for file in dataset["files"]]:
        assert len(OBJECTS[f"{OUTPUT}/{file['path']}"][0]) == file["bytes"]
    assert run("--overwrite", "--keep-previous", "0") == 0
    again = digest()
    for path in [path for path in OBJECTS if path.startswith(OUTPUT)]:
        del OBJECTS[path]
    assert run() == 0
    assert digest() == again


def test_two_runs_are_kept_apart(capsys):
    claim = {"token": "rival", "host": "elsewhere", "pid": 1, "born": ""}
    storage.write_atomic(f"{OUTPUT}/_lock", json.dumps(claim).encode())
    with pytest.raises(SystemExit) as stopped:
        run()
    assert stopped.value.code == 75
    assert "another run is at work" in capsys.readouterr().err
    assert below(OUTPUT) == {"_lock"}


def test_a_lock_that_was_taken_over_stops_the_commit(monkeypatch, capsys):
    """A rival that wrote its claim in the same moment wins, and nothing of this run is published."""

    def claim(reached):
        raise AssertionError(f"the commit went on to {reached}")

    whole = commit.publish

    def publish(run, files, counters, crash):
        storage.write_atomic(f"{OUTPUT}/_lock", json.dumps({"token": "rival"}).encode())
        return whole(run, files, counters, claim)

    monkeypatch.setattr(commit, "publish", publish)
    with pytest.raises(SystemExit) as stopped:
        run()
    assert stopped.value.code == 75
    assert f"this run has lost {OUTPUT}, to another run" in capsys.readouterr().err
    assert read_manifest(OUTPUT) is None


def test_an_input_that_is_not_there(capsys):
    with pytest.raises(SystemExit) as stopped:
        names.JOB.main(["--input", "mem://bucket/none.txt", "--output", OUTPUT, "--quiet"])
    assert stopped.value.code == 1
    assert "there is no file mem://bucket/none.txt" in capsys.readouterr().err

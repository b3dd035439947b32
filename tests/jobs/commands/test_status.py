"""`molino status`: what an output holds, who is at work there, and what went wrong last; it changes nothing."""

import os
import time

import pytest

from molino.jobs.run import state
from molino.jobs.run.claim import new_claim
from molino.jobs.run.lock import Lock
from molino.transforms.files.locked_file import locked
from molino.transforms.manifest import LOCK
from tests.faults.fault_harness import files_below, sha256
from tests.jobs.commands.outputs import dead, fail, far, finish, old, stage, told, write


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def status(output, capsys, monkeypatch):
    """Return what `molino status` says of the output, by name."""
    monkeypatch.setattr(state, "POLL", 0.01)

    def status(*, stands=True):
        before = {path: sha256(output / path) for path in files_below(output)}
        code, out, err = told(capsys, "status", output)
        assert (code, err) == (0, "")
        if stands:
            assert {path: sha256(output / path) for path in files_below(output)} == before
        lines = [line.strip().split("  ", 1) for line in out.splitlines()]
        return dict(lines)

    return status


@pytest.mark.parametrize("made", [True, False])
def test_where_nothing_is_one_line_says_so(made, output, capsys):
    if made:
        output.mkdir()
    assert told(capsys, "status", output) == (1, "", f"molino: there is nothing in {output}; check the path\n")


def test_a_finished_run(output, status):
    finish(output)
    said = status()
    assert set(said) == {"output", "holds", "at work"}
    assert said["output"] == str(output)
    assert said["holds"].startswith("a run of protocol, begun 2")
    assert "cut short" not in said["holds"]
    assert said["at work"] == "nobody"


def test_a_commit_that_was_cut_short(output, status):
    finish(output)
    (output / "_SUCCESS").unlink()
    assert "cut short" in status()["holds"]


@pytest.mark.alone
def test_a_dead_run_is_seen_at_once_and_has_a_remedy(output, status):
    write(output, dead())
    stage(output, 1234)
    begin = time.monotonic()
    said = status()
    assert time.monotonic() - begin < 5  # and not a heartbeat and a half
    assert said["holds"] == "no finished run"
    assert f"process {os.getpid()} on" in said["at work"]
    assert said["at work"].endswith("its process has ended")
    assert said["how far"] == "50% of 3.0 GB"
    assert said["remedy"] == f"run again, or molino unlock {output}"
    assert said["left over"].startswith("1,234 bytes")


def test_a_long_commit_is_no_dead_run(output, status):
    """Its heartbeat stands still, for the process has the lock's file open."""
    write(output, far(every=0.05))
    with locked(str(output / LOCK), seconds=0):
        said = status()
    assert "remedy" not in said
    assert "no heartbeat seen" not in said["at work"]


def test_a_run_at_work_is_seen_to_be_alive(output, status, monkeypatch):
    monkeypatch.setattr(Lock, "BEAT", 0.2)
    finish(output)
    with Lock(str(output), "alive") as lock:
        lock.how_far = lambda: "36% 28 of 78 tasks"
        lock.note(engine="FlinkRunner", master="http://flink.example:8081", job="molino-names-1")
        stage(output)
        said = status(stands=False)
    assert said["at work"].endswith("its heartbeat moves")
    assert said["how far"] == "36% 28 of 78 tasks"
    assert said["workers"] == "FlinkRunner job molino-names-1 at http://flink.example:8081"
    assert {"remedy", "left over"} & set(said) == set()


def test_a_run_that_ends_while_it_is_watched_is_nobody(output, status, monkeypatch):
    finish(output)
    write(output, far(every=2.0))
    whole, looks = state.read_lock, []

    def held(folder):
        looks.append(folder)
        if len(looks) == 3:
            (output / LOCK).unlink()
        return whole(folder)

    monkeypatch.setattr(state, "read_lock", held)
    said = status(stands=False)
    assert len(looks) > 3
    assert said["at work"] == "nobody"
    assert {"remedy", "how far"} & set(said) == set()


def test_a_heartbeat_that_stands_still(output, status):
    write(output, far(started="2999-01-01T00:00:00Z"))  # its clock is not compared with ours
    said = status()
    assert said["at work"] == "process 7 on elsewhere, since 2999-01-01T00:00:00Z; no heartbeat seen"
    assert "molino unlock" in said["remedy"]


@pytest.mark.parametrize(
    ("facts", "ending"),
    [({}, "it has no heartbeat; its process has ended"), ({"host": "elsewhere"}, "it has no heartbeat"),
     ({"born": new_claim("", every=1).born}, "it has no heartbeat")],
)  # fmt: skip
def test_a_claim_of_version_0_1_0(facts, ending, output, status):
    write(output, old(**facts))
    assert status()["at work"].endswith(ending)


def test_a_lock_that_cannot_be_read(output, status):
    write(output, b"{")
    assert status()["at work"] == f"a lock that cannot be read; molino unlock {output} removes it"


def test_an_output_that_is_kept_for_a_job(output, status):
    write(output, far(job_file="gs://b/templates/names"))
    said = status()
    assert said["kept for"] == "the job that gs://b/templates/names describes"
    assert "at work" not in said


def test_why_the_last_run_failed_until_one_is_published(output, status):
    finish(output)
    fail(output)
    said = status()
    assert said["last error"].endswith(": the disk broke at verified")
    assert "left over" not in said  # the note is all that is there
    finish(output, "b")
    assert "last error" not in status()


def test_a_folder_of_something_else_and_a_manifest_of_something_else(tmp_path, capsys):
    (tmp_path / "_manifest.json").write_text("{}")
    code, out, err = told(capsys, "status", tmp_path)
    assert (code, out) == (1, "")
    assert "is not a manifest of this program" in err

"""`molino unlock`: what a dead run left is freed and deleted; a live one keeps its output, but for --force."""

import pytest
from obstore.store import MemoryStore

from molino.jobs.run import recheck, state
from molino.jobs.run.claim import new_claim
from molino.jobs.run.lock import BusyError, Lock
from molino.jobs.run.output import read_output
from molino.jobs.runners import service
from molino.transforms.files import object_stores, objects, storage
from molino.transforms.files.locked_file import locked
from molino.transforms.manifest import LOCK
from tests.faults.fault_harness import files_below
from tests.faults.protocol import attempt
from tests.jobs.commands.outputs import claim_of, dead, fail, far, finish, old, stage, told, write


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def unlock(output, capsys, monkeypatch):
    """Return what frees the output: exit code, standard output, standard error."""
    monkeypatch.setattr(state, "POLL", 0.01)
    monkeypatch.setattr(Lock, "BEAT", 0.2)
    return lambda *options: told(capsys, "unlock", output, *options)


def test_where_nothing_is_one_line_says_so(output, unlock):
    assert unlock() == (1, "", f"molino: there is nothing in {output}; check the path\n")
    assert not output.exists()


def test_an_output_that_is_not_locked_stays_as_it_is(output, unlock):
    finish(output)
    before = files_below(output)
    assert unlock() == (0, f"{output} is not locked\n", "")
    assert files_below(output) == before


@pytest.mark.parametrize("claim", [dead(), far(), old()], ids=["dead", "stands still", "0.1.0"])
def test_what_a_dead_run_left_goes_and_the_earlier_run_stays(claim, output, unlock):
    finish(output)
    before = files_below(output)
    write(output, claim)
    stage(output, 1234)
    code, out, err = unlock()
    assert (code, err) == (0, "")
    assert f"freed {output}, which was held by process" in out
    assert "deleted 1,234 bytes that killed runs had left" in out
    assert files_below(output) == before
    assert recheck.verify(str(output))[1] == []


def test_an_output_that_never_had_a_run_is_gone_with_its_lock(output, unlock):
    write(output, dead())
    stage(output)
    assert unlock()[0] == 0
    assert not output.exists()


def test_a_live_run_is_refused_and_by_force_it_loses_its_output(output, unlock):
    finish(output)
    before = files_below(output)
    with Lock(str(output), "alive") as lock:
        stage(output)
        code, out, err = unlock()
        assert (code, out) == (75, "")
        assert "its heartbeat moves; --force frees it anyway" in err
        assert (output / "_staging").exists()
        assert lock.lost_to() == ""
        code, out, err = unlock("--force")
        assert (code, err) == (0, "")
        assert f"freed {output}" in out
        assert lock.lost_to() == "for its lock was deleted"
    assert files_below(output) == before
    assert recheck.verify(str(output))[1] == []


def test_a_run_that_was_freed_by_force_publishes_nothing(output, unlock):
    finish(output)
    before = (output / "_manifest.json").read_bytes()

    class Freed(Lock):
        def __enter__(self):
            super().__enter__()
            assert unlock("--force")[0] == 0
            return self

    with pytest.raises(BusyError, match="this run has lost"):
        attempt(str(output), "b", lock=Freed)
    assert (output / "_manifest.json").read_bytes() == before
    assert recheck.verify(str(output))[1] == []


@pytest.mark.parametrize("facts", [{"host": "elsewhere"}, {"born": new_claim("", every=1).born}], ids=["far", "alive"])
def test_of_a_claim_of_version_0_1_0_that_may_be_alive_a_person_decides(facts, output, unlock):
    write(output, old(**facts))
    code, _, err = unlock()
    assert code == 75
    assert "no heartbeat; --force frees it anyway" in err
    assert claim_of(output).token == "old"
    assert unlock("--force")[0] == 0
    assert not output.exists()


@pytest.mark.parametrize("data", [b"{", b"null", b"\0" * 1024])
def test_a_lock_that_cannot_be_read_is_removed(data, output, unlock):
    finish(output)
    write(output, data)
    assert unlock() == (0, f"freed {output}\n", "")
    assert not (output / LOCK).exists()


def test_a_commit_goes_through_whoever_wants_the_output(output, unlock):
    finish(output)
    refused = []

    def rival(step):
        if step == "verified":
            refused.append(unlock("--force"))

    attempt(str(output), "b", crash=rival)
    [(code, _, err)] = refused
    assert code == 75
    assert "is in its commit" in err
    manifest, wrong = recheck.verify(str(output))
    assert (manifest["options"], wrong) == ({"content": "b"}, [])


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--force"]], ids=["asked", "by force"])
def test_a_process_in_its_commit_cannot_be_stopped(options, output, unlock):
    write(output, far())
    with locked(str(output / LOCK), seconds=0):
        code, out, err = unlock(*options)
    assert (code, out) == (75, "")
    assert "is in its commit; end it, then unlock" in err
    assert claim_of(output).token == "far"


def test_the_job_of_a_dead_run_is_ended(output, unlock, monkeypatch):
    ended = []

    def end_job(engine, master, job, *, flags):
        assert claim_of(output).token == "far"
        ended.append((engine, master, job, flags))

    monkeypatch.setattr(service, "end_job", end_job)
    write(output, far(engine="FlinkRunner", master="http://far:8081", job="molino-names-1"))
    assert unlock()[0] == 0
    assert ended == [("FlinkRunner", "http://far:8081", "molino-names-1", [])]


def test_an_output_that_is_kept_for_a_job_is_freed_at_once(output, unlock):
    write(output, far(job_file="gs://b/templates/names", every=1000.0))
    assert unlock()[0] == 0
    assert not output.exists()


def test_the_note_of_a_failed_run_is_nothing_that_killed_runs_left(output, unlock):
    finish(output)
    fail(output)
    assert unlock() == (0, f"{output} is not locked\n", "")


def test_a_folder_of_something_else_is_left_alone(output, unlock):
    stage(output)
    (output / "thesis.tex").touch()
    before = files_below(output)
    code, out, err = unlock("--force")
    assert (code, out) == (1, "")
    assert "was not written by this program (it holds thesis.tex)" in err
    assert files_below(output) == before


def test_in_a_store(capsys, monkeypatch):
    """What a dead run left there goes, and a run that is alive keeps its output, but for --force."""
    monkeypatch.setattr(state, "POLL", 0.01)
    monkeypatch.setattr(Lock, "BEAT", 0.2)
    bucket = MemoryStore()
    monkeypatch.setitem(object_stores.STORES, "mem", objects.Objects(lambda *_: bucket))
    output = "mem://mill/out"
    assert told(capsys, "unlock", output)[0] == 1
    attempt(output, "a")
    before = sorted(read_output(str(output)).files)
    storage.write_bytes(f"{output}/_lock", far().to_bytes())
    storage.write_bytes(f"{output}/_staging/0123456789abcdef/0.parquet", b"x" * 1234)
    said = told(capsys, "status", output)[1]
    assert "no heartbeat seen" in said
    assert "1,234 bytes" in said
    code, out, _ = told(capsys, "unlock", output)
    assert (code, "deleted 1,234 bytes" in out) == (0, True)
    assert sorted(read_output(str(output)).files) == before
    with Lock(output, "alive") as lock:
        assert "its heartbeat moves" in told(capsys, "status", output)[1]
        assert told(capsys, "unlock", output)[0] == 75
        assert lock.lost_to() == ""
        assert told(capsys, "unlock", output, "--force")[0] == 0
        assert lock.lost_to() == "for its lock was deleted"
    assert sorted(read_output(str(output)).files) == before
    assert recheck.verify(output)[1] == []

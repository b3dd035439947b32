"""Kills on a Flink cluster: the job recovers and holds what an undisturbed run holds, or fails and leaves what was."""

import json
import os
import re
import signal
import time

import pytest

from molino.jobs.run import recheck
from molino.transforms.manifest import owned_paths
from tests.every_job import JOBS, digests, molino, prepare, run_embedded
from tests.faults.fault_harness import changed_copy, files_below, is_untouched, state_of, wait_until
from tests.flink_cluster import SCRIPTS

pytestmark = [pytest.mark.flink, pytest.mark.slow, pytest.mark.timeout(1800)]


def start_and_wait(flink, job, folder, *options):
    """Submit a job, wait until some of its tasks are done and Python is at work, and return command and Flink's id."""
    before = {each["jid"] for each in flink.jobs()}
    command = flink.start_job(job, *JOBS[job][1], "--output", "flink", "--quiet", *options, cwd=folder)

    def at_work():
        ours = [each for each in flink.jobs() if each["jid"] not in before]
        return ours and ours[0]["state"] == "RUNNING" and ours[0]["tasks"]["finished"] > 2 and flink.workers()

    wait_until(at_work, command, seconds=900)
    (ours,) = (each for each in flink.jobs() if each["jid"] not in before)
    return command, ours["jid"]


def end(command):
    """Wait for the end of a command; return its exit code and what it said on standard error."""
    _, said = command.communicate(timeout=1500)
    return command.returncode, said.decode()


def last_word(flink, number, state):
    """Return what Flink tells of a job that has ended in a state; it may tell what was three seconds ago."""
    wait_until(lambda: flink.ask(f"/jobs/{number}")["state"] == state, seconds=10)
    return flink.ask(f"/jobs/{number}")


def kill_taskmanager(flink):
    os.kill(flink.pid("taskmanager-1"), signal.SIGKILL)
    time.sleep(1)
    flink.script("taskmanager", 1)


def kill_workers(flink):
    """Kill every Python worker of the cluster: one that waits for its next task would hardly be missed."""
    for worker in flink.workers():
        os.kill(worker, signal.SIGKILL)


@pytest.mark.parametrize(
    ("job", "kill"),
    [("names", kill_taskmanager), ("titles", kill_taskmanager), ("names", kill_workers)],
    ids=["names-taskmanager", "titles-taskmanager", "names-workers"],
)
def test_a_job_recovers_from_a_kill(job, kill, flink, tmp_path):
    expected = run_embedded(job, tmp_path)
    command, number = start_and_wait(flink, job, tmp_path)
    kill(flink)
    code, said = end(command)
    assert code == 0, said + flink.log()
    assert last_word(flink, number, "FINISHED")["timestamps"]["RESTARTING"] > 0  # the kill was felt
    assert digests(tmp_path / "flink") == expected
    manifest, wrong = recheck.verify(str(tmp_path / "flink"))
    assert wrong == []
    assert files_below(tmp_path / "flink") == owned_paths(manifest)


def test_a_job_whose_jobmanager_is_gone_fails_and_leaves_the_earlier_output(flink, tmp_path):
    """A batch job is not kept by a JobManager without a store of its own: the job ends, and can be run again."""
    expected = run_embedded("names", tmp_path)
    molino("names", *JOBS["names"][1], "--min-count", "7", "--output", "flink", "--quiet", cwd=tmp_path)
    earlier = state_of(tmp_path / "flink")
    command, _ = start_and_wait(flink, "names", tmp_path, "--overwrite")
    os.kill(flink.pid("jobmanager"), signal.SIGKILL)
    time.sleep(1)
    flink.script("jobmanager")
    code, said = end(command)
    assert code == 1, said
    assert "Traceback" not in said
    (line,) = (line for line in said.splitlines() if line.startswith("molino: "))
    assert "the output is as its last complete run left it" in line
    assert state_of(tmp_path / "flink") == earlier
    code, said = flink.run_job("names", *JOBS["names"][1], "--output", "flink", "--overwrite", "--quiet", cwd=tmp_path)
    assert code == 0, said + flink.log()
    assert digests(tmp_path / "flink") == expected


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_stopped_command_ends_its_job(number, code, flink, tmp_path):
    prepare("names", tmp_path)
    command, job = start_and_wait(flink, "names", tmp_path)
    command.send_signal(number)
    ended, said = end(command)
    assert ended == code
    assert "molino: stopped" in said
    last_word(flink, job, "CANCELED")
    assert is_untouched(tmp_path / "flink")


def test_the_job_of_a_killed_command_is_ended_by_the_next(flink, tmp_path):
    """It would keep the slots, and the next command would wait for them."""
    expected = run_embedded("names", tmp_path)
    command, job = start_and_wait(flink, "names", tmp_path)
    command.kill()
    end(command)
    code, said = flink.run_job("names", *JOBS["names"][1], "--output", "flink", "--quiet", cwd=tmp_path)
    assert code == 0, said + flink.log()
    assert "ending the FlinkRunner job molino-names-" in said
    last_word(flink, job, "CANCELED")
    assert digests(tmp_path / "flink") == expected
    manifest, wrong = recheck.verify(str(tmp_path / "flink"))
    assert wrong == []
    assert files_below(tmp_path / "flink") == owned_paths(manifest)


def test_a_job_that_fails_by_its_data_says_what_the_embedded_runner_says(flink, tmp_path):
    prepare("names", tmp_path)
    strict = ("--invalid-curp", "reject", "--max-reject-ratio", "0")
    given = ("names", *JOBS["names"][1], *strict, "--output", "flink", "--quiet")
    code, said = flink.run_job(*given, cwd=tmp_path)
    assert code == 1
    (line,) = said.splitlines()
    assert "records were rejected" in line
    assert "nothing was published" in line
    assert is_untouched(tmp_path / "flink")


def worker_with(place, folder):
    """Return the option for workers that find their modules in a place, and not where the command does."""
    text = (SCRIPTS / "worker").read_text()
    for old, new in (('"$(dirname "${BASH_SOURCE[0]}")/settings"', f"{SCRIPTS}/settings"), ("=$ROOT", f"={place}")):
        assert old in text
        text = text.replace(old, new)
    (folder / "worker").write_text(text)
    (folder / "worker").chmod(0o755)
    return "--environment_config", json.dumps({"command": f"{folder}/worker"})


@pytest.mark.parametrize("older", [False, True], ids=["a-line", "a-module"])
def test_workers_with_other_code_end_the_job(older, flink, tmp_path):
    """With other code in a line, or without the module that compares it."""
    prepare("names", tmp_path)
    molino("names", *JOBS["names"][1], "--min-count", "7", "--output", "flink", "--quiet", cwd=tmp_path)
    earlier = state_of(tmp_path / "flink")
    copy = changed_copy(tmp_path / "copy")
    if older:
        (copy / "molino/jobs/runners/proof.py").unlink()
    given = (*JOBS["names"][1], "--output", "flink", "--overwrite", "--quiet", *worker_with(copy, tmp_path))
    line, number = fails_at_once(flink, given, tmp_path)
    if older:
        assert "they lack molino.jobs.runners.proof" in line
    else:
        assert re.search(r"worker \S+ has other code of molino \S+ than this command: \w{12} there, \w{12} here;", line)
    assert "rebuild" in line
    assert state_of(tmp_path / "flink") == earlier
    last_word(flink, number, "CANCELED")


def test_workers_without_the_package_end_the_job(flink, tmp_path):
    prepare("names", tmp_path)
    (tmp_path / "nothing").mkdir()
    given = (*JOBS["names"][1], "--output", "flink", "--quiet", *worker_with(tmp_path / "nothing", tmp_path))
    line, number = fails_at_once(flink, given, tmp_path)
    assert "no module molino" in line
    assert "--setup_file" in line
    assert is_untouched(tmp_path / "flink")
    last_word(flink, number, "CANCELED")


def fails_at_once(flink, given, folder):
    """Run the names job, which must fail before Flink tries it again; return its line, and Flink's id of the job."""
    begun = time.monotonic()
    code, said = flink.run_job("names", *given, cwd=folder)
    seconds = time.monotonic() - begun
    assert code == 1, said + flink.log()
    (line,) = said.splitlines()
    assert seconds < 60, line
    print(f"{seconds:.1f} s: {line}")
    return line, flink.jobs()[0]["jid"]

"""What a schedule starts: one run at a time, a log, and a failure that is noticed; units that systemd takes."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from molino.jobs.options import BUSY, DATA, EXISTS, USAGE
from molino.jobs.run.lock import Lock

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "deploy/cron/run-molino"
pytestmark = pytest.mark.skipif(shutil.which("flock") is None, reason="there is no flock: util-linux is not installed")


@pytest.fixture
def start(tmp_path):
    """Start run-molino with a program that does what a line of shell says."""

    def start(line, *arguments, name="job"):
        program = tmp_path / f"program{len(list(tmp_path.iterdir()))}"
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
        places = {"MOLINO": program, "MOLINO_LOGS": tmp_path / "logs", "MOLINO_LOCKS": tmp_path / "locks"}
        return subprocess.Popen(
            [RUN, name, *arguments],
            env={**os.environ, **{key: str(value) for key, value in places.items()}},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def test_a_run_that_is_well_says_nothing_and_is_logged(start, tmp_path):
    run = start('echo "made $*"; echo aside >&2', "names", "--input", "a b")
    assert (*run.communicate(), run.returncode) == ("", "", 0)
    log = (tmp_path / "logs/job.log").read_text()
    assert re.fullmatch(
        r"\S+T\S+ molino names --input a b\nmade names --input a b --quiet\naside\n\S+ exit code 0\n", log
    )


@pytest.mark.parametrize("code", [1, 2, 3, 143])
def test_a_failure_has_its_code_and_the_end_of_its_log(code, start):
    start("echo earlier trouble; exit 1", "names").communicate()
    run = start(f"seq 40; echo molino: no disk >&2; exit {code}", "names")
    out, err = run.communicate()
    assert (out, run.returncode) == ("", code)
    assert f"molino job failed with exit code {code}" in err
    assert "molino: no disk" in err
    assert "earlier trouble" not in err
    assert len(err.splitlines()) <= 22


def test_a_run_that_another_holds_up_is_busy_and_did_not_fail(start, tmp_path):
    start("echo 'molino: earlier trouble'; exit 1", "names").communicate()
    line = "molino: another run is at work in /data/names (process 7 on far); wait for it"
    run = start(f"echo 'molino: /data/names is held'; echo '{line}' >&2; echo more; exit 75", "names")
    told = f"molino job is busy: {line.removeprefix('molino: ')}\n"
    assert (*run.communicate(), run.returncode) == ("", told, 75)
    assert (tmp_path / "logs/job.log").read_text().endswith(" exit code 75\n")


def test_a_signal_is_passed_on_and_the_end_is_waited_for(start, tmp_path):
    run = start(
        f"trap 'sleep 1; touch {tmp_path}/ended; exit 143' TERM; touch {tmp_path}/at-work; sleep 30 & wait", "names"
    )
    while not (tmp_path / "at-work").exists():
        time.sleep(0.01)
    run.terminate()
    _, err = run.communicate(timeout=20)
    assert (tmp_path / "ended").exists()
    assert run.returncode == 143
    assert "failed with exit code 143" in err


def test_a_log_that_cannot_be_written_is_told(start, tmp_path):
    (tmp_path / "logs/job.log").mkdir(parents=True)
    run = start(f"touch {tmp_path}/ran", "names")
    assert "job.log" in run.communicate()[1]
    assert run.returncode == 1
    assert not (tmp_path / "ran").exists()


def test_two_runs_of_one_name_do_not_overlap_and_two_names_may(start, tmp_path):
    first = start(f"touch {tmp_path}/at-work; exec sleep 30", "names")
    try:
        while not (tmp_path / "at-work").exists():
            time.sleep(0.01)
        second = start(f"touch {tmp_path}/second", "names")
        assert "still at work" in second.communicate()[1]
        assert second.returncode == 75
        assert not (tmp_path / "second").exists()
        other = start("true", "names", name="other")
        assert (other.communicate()[1], other.returncode) == ("", 0)
    finally:
        subprocess.run(["pkill", "-P", str(first.pid)], check=False)
        first.communicate()
    after = start("true", "names")
    assert (after.communicate()[1], after.returncode) == ("", 0)


def test_too_few_arguments_are_told_what_to_give(start):
    run = start("true")
    assert "run-molino NAME JOB" in run.communicate()[1]
    assert run.returncode == 2


def test_the_real_command_runs_and_its_refusal_is_noticed(tmp_path):
    places = {"MOLINO": f"{tmp_path}/molino", "MOLINO_LOGS": str(tmp_path), "MOLINO_LOCKS": str(tmp_path)}
    program = tmp_path / "molino"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m molino "$@"\n')
    program.chmod(0o755)
    arguments = [RUN, "names", "names", "--input", tmp_path / "nothing", "--output", tmp_path / "out"]
    environment = {**os.environ, **places, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no file" in done.stderr


@pytest.mark.slow
def test_the_real_command_is_busy_where_another_run_is_at_work(tmp_path):
    (tmp_path / "sep.txt").write_text("CURP|PRIMERAPELLIDO|SEGUNDOAPELLIDO|NOMBRESTRABAJADOR\nX|A|B|C\n")
    places = {"MOLINO": f"{tmp_path}/molino", "MOLINO_LOGS": str(tmp_path), "MOLINO_LOCKS": str(tmp_path)}
    program = tmp_path / "molino"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m molino "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, **places, "PYTHONPATH": str(ROOT)}
    arguments = [RUN, "names", "names", "--input", tmp_path / "sep.txt", "--output", tmp_path / "out"]
    with Lock(str(tmp_path / "out"), "other"):
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 75
    assert re.fullmatch(
        rf"molino names is busy: another run is at work in \S+ \(process {os.getpid()} .*\n", done.stderr
    )


def test_lines_of_the_crontab_name_jobs_and_options_that_there_are():
    lines = (ROOT / "deploy/cron/molino.crontab").read_text().splitlines()
    entries = [line.split(None, 6) for line in lines if re.match(r"[\d*]", line)]
    assert len(entries) == 3
    for *when, user, command in entries:
        assert len(when) == 5
        assert user == "molino"
        program, name, job, *options = command.split()
        assert (program, name) == ("run-molino", job)
        told = subprocess.run(
            [sys.executable, "-m", "molino", job, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for option in (word for word in options if word.startswith("--")):
            assert option in told


def test_systemd_tries_again_what_may_do_later_and_nothing_else():
    text = (ROOT / "deploy/systemd/molino-names.service").read_text()
    given_up = set(map(int, re.search(r"^RestartPreventExitStatus=(.*)$", text, re.MULTILINE)[1].split()))
    assert "\nRestart=on-failure\n" in text
    assert {USAGE, EXISTS} == given_up
    assert not {DATA, BUSY} & given_up


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_takes_the_units(tmp_path):
    for unit in (ROOT / "deploy/systemd").iterdir():
        text = (
            unit.read_text()
            .replace("/opt/molino/.venv/bin/molino", "/bin/true")
            .replace("/usr/bin/logger", "/bin/true")
        )
        (tmp_path / unit.name.replace("@.", "@x.")).write_text(text)
    units = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "molino" in line]
    assert (done.returncode, told) == (0, [])

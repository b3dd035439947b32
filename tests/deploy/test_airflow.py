"""The DAG on a real Airflow, in an environment of its own, with the real jobs and the training after them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import programs
from tests.own_environment import python_with

ROOT = Path(__file__).resolve().parents[2]
DAGS = ROOT / "deploy/airflow"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def airflow(request, tmp_path_factory):
    """Return what runs Airflow's command line in an environment of its own, and its folder."""
    home = tmp_path_factory.mktemp("airflow")
    program_of_airflow = python_with(request.config.cache, "airflow", DAGS / "requirements.txt").with_name("airflow")
    program = home / "molino"
    program.write_text(f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m molino "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "MOLINO": str(program),
    }

    def run(*arguments):
        command = [program_of_airflow, *arguments]
        done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    code, said = run("db", "migrate")
    assert code == 0, said[-3000:]
    return run, home


@pytest.fixture(scope="module")
def given(airflow):
    """Return the DAG's parameters, on samples."""
    _, home = airflow
    for kind, size, output in (
        ("names", "--rows=3000", "n.txt"),
        ("titles", "--rows=3000", "t.csv"),
        ("whales", "--images=4", "sea"),
    ):
        programs.run(["molino", "sample", kind, size, "--output", home / output])
    places = {"names": "n.txt", "titles": "t.csv", "photographs": "sea/images", "output": "out"}
    return {name: str(home / place) for name, place in places.items()} | {"dim": 8}


def test_the_dag_is_read_without_errors(airflow):
    run, _ = airflow
    code, said = run("dags", "list-import-errors")
    assert code == 0
    assert "No data found" in said


def test_the_whole_dag_runs_and_runs_again_without_doing_anything(airflow, given):
    run, home = airflow
    code, said = run("dags", "test", "molino", "--conf", json.dumps(given))
    assert code == 0, said[-3000:]
    assert "state=success" in said, said[-3000:]
    runs = [home / "out" / job for job in ("names", "whales", "split", "titles", "model", "classifier")]
    assert all((output / "_SUCCESS").is_file() for output in runs)
    assert (home / "out/model/saved_model.pb").is_file()
    assert json.loads((home / "out/classifier/metrics.json").read_text())
    before = [(output / "_manifest.json").read_bytes() for output in runs]
    code, said = run("dags", "test", "molino", "--conf", json.dumps(given))
    assert "state=success" in said, said[-3000:]
    assert said.count("nothing to do") == len(runs)
    assert [(output / "_manifest.json").read_bytes() for output in runs] == before


def test_a_wrong_parameter_fails_at_once_and_is_no_command_of_the_shell(airflow, given):
    run, home = airflow
    hurt = home / "hurt"
    bad = given | {"names": f"/nowhere; touch {hurt}", "output": str(home / "other")}
    _, said = run("tasks", "test", "molino", "names", "--task-params", json.dumps(bad))
    assert "no file" in said
    assert "exit code" in said
    assert not hurt.exists()

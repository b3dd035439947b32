"""Worker processes: they find the modules that their command finds, and none that only lie in the current folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COUNTING = """
def double(number):
    import random
    return 2 * number, random.__file__
"""
SCRIPT = """
import apache_beam as beam
from {package}counting import double
from molino.jobs.runners.engine import Engine
from molino.jobs.runners.pipeline import run_pipeline

def show(pair):
    print(*pair, sep="|", file=open("told.txt", "w"))

def build(pipeline):
    pipeline | beam.Create([21]) | beam.Map(double) | beam.Map(show)

if __name__ == "__main__":
    run_pipeline(build, Engine(worker_mode="processes"), submitted=lambda **_: None, sources=(None, []))
"""
TRAP = "import os; os._exit(77)\n"


@pytest.mark.slow
@pytest.mark.parametrize("way", ["script", "package", "folder"])
def test_a_worker_finds_the_modules_beside_the_command(way, tmp_path):
    place = tmp_path / ("here" if way == "script" else "here/town_jobs")
    place.mkdir(parents=True)
    (place / "counting.py").write_text(COUNTING)
    (place / "towns.py").write_text(SCRIPT.format(package="" if way == "script" else "town_jobs."))
    if way == "package":
        (place / "__init__.py").write_text("")
    # a script's own folder is its own, the current one is not; with -m Python makes it so
    folder = tmp_path / "work" if way == "script" else tmp_path / "here"
    folder.mkdir(exist_ok=True)
    if way == "script":
        (folder / "random.py").write_text(TRAP)
    words = [str(place / "towns.py")] if way == "script" else ["-m", "town_jobs.towns"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    number, module = (folder / "told.txt").read_text().strip().split("|")
    assert number == "42"
    assert Path(module).parent == Path(os.__file__).parent


def test_a_module_that_no_worker_has_is_one_line(tmp_path):
    from molino.jobs.runners.failures import explain_failure

    told = explain_failure(RuntimeError("Traceback ...\nModuleNotFoundError: No module named 'counting'\n"))
    assert told.startswith("there is no module counting, here or on a worker")
    told = explain_failure(ModuleNotFoundError("No module named 'numba'", name="numba"))
    assert told.startswith("the package numba is not installed here: pip install -r requirements/")

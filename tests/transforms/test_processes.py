"""A process of its own: its result, its errors, its death."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from molino.transforms import processes
from molino.transforms.errors import DataError
from molino.transforms.models.tensorflow_process import ask_tensorflow
from molino.transforms.processes import Died, call_apart, child_environment

pytestmark = pytest.mark.slow  # each starts a process


def work(what, report):
    report("one")
    report("two")
    if what == "abort":
        os.abort()
    if what == "hang":
        time.sleep(1000)
    if what == "data":
        raise DataError("file.jpg changed")
    if what == "error":
        raise ZeroDivisionError
    return what.upper()


def test_a_result_is_returned():
    assert call_apart(work, {"what": "fine"}, seconds=30) == "FINE"


@pytest.mark.parametrize(("what", "seconds", "how"), [("abort", 30, "ended with -6"), ("hang", 0.5, "within 0.5")])
def test_a_death_is_an_answer(what, seconds, how):
    died = call_apart(work, {"what": what}, seconds=seconds)
    assert isinstance(died, Died)
    assert died.last == "two"
    assert how in died.cause


def test_errors_are_raised_here():
    with pytest.raises(DataError, match=r"^file.jpg changed$"):
        call_apart(work, {"what": "data"}, seconds=30)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        call_apart(work, {"what": "error"}, seconds=30)


TRAP = "import os; os._exit(77)\n"


def name_of_random(report):
    import random

    return random.__file__


@pytest.fixture
def trapped(tmp_path, monkeypatch):
    """The current folder has modules of the names of the standard library's and of ours."""
    monkeypatch.setattr(processes, "subprocess", subprocess)  # an interpreter that finds nothing imported
    for name in ("random", "json", "transforms", "molino"):
        (tmp_path / f"{name}.py").write_text(TRAP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONSAFEPATH", "")  # as if it were not set
    monkeypatch.setattr(sys, "path", ["", *sys.path])  # as `python -c` and notebooks have it


def test_a_spawned_process_does_not_look_into_the_current_folder(trapped, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[1:])  # which multiprocessing hands on
    assert call_apart(name_of_random, {}, seconds=30) == os.path.join(os.path.dirname(os.__file__), "random.py")


def test_a_module_that_is_run_does_not_look_into_the_current_folder(trapped):
    program = "import json, random, molino; print(random.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **child_environment()}, capture_output=True, text=True
    )
    assert done.stdout.strip() == os.path.join(os.path.dirname(os.__file__), "random.py"), done.stderr
    # the module's own, and not what lies here, which would end with 77
    assert (
        ask_tensorflow("molino.transforms.processes:child_environment", [{}], doing="was tried")[0]["PYTHONSAFEPATH"]
        == "1"
    )


def test_a_worker_is_told_not_to(trapped):
    from molino.jobs.runners import pipeline

    command = pipeline.worker_environment("processes", 2).command_string
    if isinstance(command, bytes):
        command = command.decode()
    assert "PYTHONSAFEPATH=1" in command
    assert f"={os.getcwd()}:" not in command


def test_the_probe_of_a_lock_does_not_look_into_the_current_folder(trapped, tmp_path):
    from molino.transforms.files import locked_file

    assert locked_file.can_lock(str(tmp_path))


def test_no_other_child_is_started():
    """Each way to start a process is one that a test above is of, or starts no Python."""
    root = Path(__file__).resolve().parents[2]
    found = set()
    for room in ("jobs", "transforms", "training", "molino"):
        for path in (root / room).glob("**/*.py"):
            text = path.read_text()
            if path.is_relative_to(root / "molino" / "jobs") or "sys.executable" not in text:
                continue
            found.add(str(path.relative_to(root)))
    known = {"jobs/runners/pipeline.py", "transforms/files/locked_file.py", "transforms/processes.py"}
    assert found - known == set()

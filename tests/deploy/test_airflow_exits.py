"""What the DAG's task makes of molino's exit codes, with the names of Airflow alone; the real one: test_airflow.py."""

import importlib.util
import sys
import types
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from molino.jobs.options import BUSY, DATA, DONE, EXISTS, USAGE

FILE = Path(__file__).resolve().parents[2] / "deploy/airflow/molino.py"


class AirflowFailException(Exception):  # noqa: N818
    """Airflow tries no task again that raises it."""


@pytest.fixture
def task(monkeypatch):
    """Return the function of the task."""

    def keep(function):
        function.override = lambda **_: MagicMock()
        return function

    keep.sensor = lambda **_: keep
    sdk, exceptions = types.ModuleType("airflow.sdk"), types.ModuleType("airflow.sdk.exceptions")
    sdk.DAG, sdk.Param, sdk.PokeReturnValue, sdk.task = MagicMock(), MagicMock(), MagicMock(), keep
    exceptions.AirflowFailException = AirflowFailException
    for name, module in {"airflow": types.ModuleType("airflow"), "airflow.sdk": sdk}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "airflow.sdk.exceptions", exceptions)
    spec = importlib.util.spec_from_file_location("the_dag", FILE)
    dag = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(dag)
    return dag.molino


def ends_with(task, line):
    task("-c", line, program="/bin/sh")


def test_what_is_done_is_done_and_its_words_are_the_log(task, capsys):
    ends_with(task, f"echo made; exit {DONE}")
    assert capsys.readouterr().out == "made\n"


@pytest.mark.parametrize("code", [DATA, BUSY])
def test_what_may_do_later_is_tried_again(code, task):
    with pytest.raises(RuntimeError, match=rf"exit code {code}; this is tried again"):
        ends_with(task, f"exit {code}")


@pytest.mark.parametrize("code", [USAGE, EXISTS, 129, 143])
def test_what_no_retry_mends_fails_at_once(code, task):
    with pytest.raises(AirflowFailException, match=f"exit code {code}"):
        ends_with(task, f"exit {code}")


def test_a_killed_program_fails_at_once(task):
    with pytest.raises(AirflowFailException, match="exit code -9"):
        ends_with(task, "kill -9 $$")

"""The constants of `molino plan`: what runs are made of is found again, and a real run is measured."""

import pytest

from benchmarks import constants, harness
from benchmarks.constants import Ran, constants_of, fit
from benchmarks.constants_inputs import INPUTS
from tests.every_job import MEASURED

SPEC = {
    "microseconds": {"rows": None, "numbers": None, "pieces": 100.0},
    "written": {"rows": None},
    "memory": {"models": 1.0},
    "worker": {"fixed": None, "chunk": None},
}


def made_up(rows, numbers, workers):
    """Return a run whose parts are known."""
    return Ran(
        amounts={"rows": rows, "numbers": numbers, "pieces": 1e4, "chunk": 4 * rows, "models": 1e8},
        workers=workers,
        cpu=2 + rows * 4e-6 + numbers * 1e-8 + 1,
        peak=round(3e8 + 1e8 + workers * (5e7 + 5 * 4 * rows)),
        written=5000 + 30 * rows,
    )


def test_what_runs_are_made_of_is_found():
    ran = [made_up(*of, n) for of in ((10**6, 0), (4 * 10**6, 0), (4 * 10**6, 10**9)) for n in (1, 2)]
    found = constants_of(SPEC, ran)
    assert found["microseconds"] == pytest.approx({"fixed": 2e6, "rows": 4, "numbers": 0.01, "pieces": 100})
    assert found["written"] == pytest.approx({"fixed": 5000, "rows": 30}, rel=0.01)
    assert found["memory"] == pytest.approx({"fixed": 3e8, "models": 1})
    assert found["worker"] == pytest.approx({"fixed": 5e7, "chunk": 5})


def test_nothing_costs_less_than_nothing():
    assert fit([[1, 1], [1, 2], [1, 3]], [9, 8, 7]) == [pytest.approx(8, rel=0.1), 0]
    assert fit([[1, 0], [1, 0]], [4, 4]) == [pytest.approx(4), 0]


def test_every_job_is_measured():
    assert set(constants.SPECS) == set(INPUTS) == MEASURED


@pytest.mark.slow
def test_a_run_is_measured_once(tmp_path, monkeypatch, capsys):
    from molino.transforms.names.sample import sample_names

    monkeypatch.setattr(harness, "fill_memory", lambda _: None)
    monkeypatch.setattr(constants, "WORKERS", (1,))
    sample_names(str(tmp_path / "sep.txt"), rows=3000)
    lines = [("--input", str(tmp_path / "sep.txt"))]
    [ran] = constants.run_all("names", tmp_path, lines)
    assert ran.amounts["rows"] == pytest.approx(3000, rel=0.1)
    assert min(ran.cpu, ran.peak / 1e8, ran.written / 1e5) > 0.5
    assert "CPU s" in capsys.readouterr().out
    assert constants.run_all("names", tmp_path, lines) == [ran]
    assert capsys.readouterr().out == ""

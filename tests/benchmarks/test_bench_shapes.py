"""The benchmark of the shapes job: the same sweep for all, and differences are told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import shapes
from benchmarks.harness import Measure, Result
from benchmarks.shapes import compare, make_sweep, rate_table, read_accuracies, render
from molino.jobs.shapes import JOB

ROOT = Path(__file__).resolve().parents[2]


def _result(*seconds):
    return Result(runs=[Measure(wall=wall, cpu=wall, peak=10**8) for wall in seconds])


def test_accuracies_that_differ_are_told():
    assert compare([0.5, 0.6], [0.5, 0.6]) == []
    assert compare([0.5, 0.6], [0.503, 0.6]) == ["accuracy of 1 of 2 networks, by up to 0.003"]
    assert compare([0.5, 0.6], [0.5]) == ["1 networks where there are 2"]


def test_rates_are_by_the_plain_peer():
    results = {"molino": _result(6.0, 5.0), "keras": _result(60.0), "gone": Result(failed="failed")}
    assert rate_table(10, results)[2:] == ["| molino | 120.0 | 12.0 |", "| keras | 10.0 | 1.0 |"]
    assert rate_table(10, {"molino": _result(5.0)})[2:] == ["| molino | 120.0 | – |"]
    told = render(10, ["ring"], results, ["a machine"], shapes.PROGRAMS)
    assert "### 10 networks of the default sweep (ring; one seed)" in told
    assert "| gone | 0 |" in told


@pytest.mark.slow
def test_the_peer_trains_the_job_s_networks(tmp_path):
    pytest.importorskip("tensorflow")
    sweep = tmp_path / "sweep.yaml"
    assert make_sweep(sweep, ["circle"], 100) == 7
    blocks = json.loads(sweep.read_text())
    sweep.write_text(json.dumps([{**block, "hidden": block["hidden"][:3]} for block in blocks]))
    (tmp_path / "peer").mkdir()
    command = ["benchmarks/pin.py", "1", "benchmarks/peers/shapes_keras.py", str(sweep), str(tmp_path / "peer")]
    subprocess.run([sys.executable, *command, "20000", "1"], cwd=ROOT, check=True)
    options = ["--rows", "20000", "--sweep", str(sweep), "--no-plots", "--quiet", "--workers", "1"]
    assert JOB.main(["--output", str(tmp_path / "job"), *options]) == 0
    found = [read_accuracies(tmp_path / name) for name in ("job", "peer")]
    assert len(found[0]) == 5
    assert compare(*found) == []

"""The benchmark of the pca job: ways run in processes of their own, what fails is told, and the section has it all."""

import pytest

from benchmarks import harness, pca
from benchmarks.harness import Measure
from benchmarks.pca import Rate, measure_all, rate_table, render_rates, render_runs


def test_the_table_is_relative_to_numpy():
    rates = {"numpy": Rate(per_second=2000), "molino": Rate(per_second=1900.4), "tft": Rate(failed="no tensorflow")}
    assert [line.rpartition(" | ")[0].partition(" | ")[2] or line for line in rate_table(rates)[2:]] == [
        "2,000",
        "1,900",
        "no tensorflow",
    ]
    assert rate_table(rates)[3].endswith("| 0.95 |")


def test_the_sections_are_apart():
    assert render_rates({"numpy": Rate(per_second=1)}, ["a machine"]).startswith("## pca: the second moment\n\na mac")
    text = render_runs({1000: Measure(wall=2.0, cpu=3.0, peak=5 * 10**6)}, ["a machine"])
    assert text.startswith("## pca: the whole job\n\na machine\n")
    assert "| 1,000 | 2.0 | 500 | 3.0 | 5 |" in text


@pytest.mark.slow
@pytest.mark.parametrize("way", ["molino", "molino_float64", "numpy", "numpy_float32", "tft"])
def test_a_way_runs(way):
    [rate] = measure_all(40_000, [way]).values()
    # on a busy machine so few rows may take no longer than half of them
    assert rate.per_second > 0 if not rate.failed else rate.failed == pca.TOO_FEW


def test_a_way_that_fails_is_told(monkeypatch):
    monkeypatch.setitem(pca.WAYS, "numpy", pca.WAYS["incremental"])
    rate = measure_all(1000, ["numpy"], peers="/bin/false")["numpy"]
    assert rate.failed == "no message"


@pytest.mark.slow
def test_the_job_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "fill_memory", lambda filler: None)  # it takes a minute where much is free
    pca.write_input(tmp_path / "v.parquet", 3000)
    before = (tmp_path / "v.parquet").stat().st_mtime_ns
    pca.write_input(tmp_path / "v.parquet", 3000)
    assert (tmp_path / "v.parquet").stat().st_mtime_ns == before
    assert pca.run_job(tmp_path / "v.parquet", tmp_path).wall > 0
    assert not (tmp_path / "out").exists()

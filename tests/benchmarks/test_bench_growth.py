"""The sizes of growth are made, done and told, in small."""

import pytest

from benchmarks import growth
from benchmarks.harness import Measure

pytestmark = pytest.mark.slow


def test_every_job_grows(tmp_path, monkeypatch):
    monkeypatch.setenv("MOLINO_BENCH_FILL", "no")
    monkeypatch.setattr(growth, "SIZES", {"names": (100, 200, 400), "whales": (1, 2, 3), "pca": (100, 200, 400)})
    results = tmp_path / "results.md"
    growth.main(["--jobs", "names", "whales", "pca", "--data", str(tmp_path), "--results", str(results)])
    text = results.read_text()
    assert text.count("| names |") == text.count("| whales |") == text.count("| pca |") == 3
    assert list(tmp_path.iterdir()) == [results]


def test_growth_is_of_what_comes_on_top():
    runs = [(10, Measure(wall=2.0, cpu=2.0, peak=100)), (110, Measure(wall=3.0, cpu=3.0, peak=100))]
    twice = (1110, Measure(wall=23.0, cpu=23.0, peak=150))
    last = growth.render({"names": [*runs, twice]}, ["a machine"]).splitlines()[-1]
    assert last.split(" | ")[-2:] == ["2.00", "1.50 |"]

"""The benchmark of reading: every way gives the same rows, and one that does not is found out."""

import json

import pytest

from benchmarks import reader
from benchmarks.harness import Measure, Result
from benchmarks.peers import reader_loops


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return reader.make_input(tmp_path_factory.mktemp("bench"), rows=9000, dim=4)


def sums(way, folder, output, epochs="2"):
    output.mkdir()
    reader_loops.main(way, str(folder), str(output), epochs)
    return json.loads((output / "sums.json").read_text())


@pytest.mark.parametrize("way", ["half", "arrow", "pylist", "tfdata", "torch"])
def test_every_way_gives_the_same_rows(tmp_path, monkeypatch, run_folder, way):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if way in reader.NEEDS:
        pytest.importorskip(*reader.NEEDS[way])
    expected = sums("molino", run_folder, tmp_path / "one")
    assert expected["rows"] == 18_000
    assert reader.compare_sums(expected, sums(way, run_folder, tmp_path / "other")) == []


def test_a_way_that_loses_rows_is_found_out(tmp_path, monkeypatch, run_folder):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    expected = sums("molino", run_folder, tmp_path / "one")
    monkeypatch.setattr(reader_loops, "BATCH", 4096)
    monkeypatch.setitem(reader_loops.WAYS, "lossy", lambda folder, epoch: list(reader_loops.arrow(folder, epoch))[1:])
    differs = reader.compare_sums(expected, sums("lossy", run_folder, tmp_path / "other"))
    assert [told.split(":")[0] for told in differs] == ["rows", "labels", "squares", "first"]


def test_the_results_tell_rows_a_second_and_what_was_skipped():
    results = {
        "molino": Result(runs=[Measure(wall=2.0, cpu=3.0, peak=10**8)]),
        "arrow": Result(runs=[Measure(wall=4.0, cpu=5.0, peak=10**9)], differs=["rows: 1, not 2"]),
    }
    section = reader.render(1000, 128, 4, results, {"torch": "torch is not installed"}, ["facts"])
    assert "| molino | 1 | 2.00 | 2.00 | 0.50 | 2,000 | 3.00 | 100 | the reference |" in section
    assert "rows: 1, not 2" in section
    assert "- torch: skipped, torch is not installed" in section

"""Work units in a pipeline: done once, over all attempts at a run."""

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from molino.transforms.parquet.do_once import DoOnce
from molino.transforms.parquet.units import Done, do_once, kept_paths
from tests.transforms.parquet.test_units import work


def test_in_a_pipeline(tmp_path):
    def counted(resumed):
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            done = (
                pipeline
                | beam.Create([("1", 1), ("2", 2)])
                | DoOnce(work=work, folder=str(tmp_path / "units"), arguments={"log": str(tmp_path / "log")})
            )
            assert_that(done.files | beam.Map(lambda file: file.name), equal_to(["a.txt", "b.txt"] * 2), label="files")
            totals = [{"numbers": n, "units": 1, "units.resumed": resumed} for n in (1, 2)]
            assert_that(done.counters, equal_to(totals), label="counters")

    counted(0)
    counted(1)
    assert sorted((tmp_path / "log").read_text().split()) == ["1", "2"]


def test_a_death_is_told_from_an_exception(tmp_path):
    folder, told = tmp_path / "units", []

    def fail(died):
        assert (folder / "7.begun").exists()
        raise KeyError

    def work(died):
        told.append(died)
        return Done(files=(), counters={}, amounts={})

    with pytest.raises(KeyError):
        do_once("7", str(folder), fail)
    folder.mkdir(exist_ok=True)
    (folder / "8.begun").write_bytes(b"")
    assert kept_paths(str(folder)) == set()
    do_once("7", str(folder), work)
    do_once("8", str(folder), work)
    assert told == [False, True]
    assert {path.name for path in folder.iterdir()} == {"7.json", "8.json"}

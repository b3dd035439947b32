"""The page on scale: its tables are what the constants give, and what it says of them holds."""

import importlib.util
import pathlib
import re

import pytest

from molino.jobs.commands.plan import JOBS
from molino.jobs.forecast.estimate import forecast, read_constants

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def make_scale():
    spec = importlib.util.spec_from_file_location("make_scale", ROOT / "docs/make_scale.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sized(make_scale):
    return make_scale.make_sizes()


def test_the_tables_are_those_of_the_constants(make_scale):
    page = make_scale.PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- table: (\w+) -->", page)) == set(make_scale.TABLES)
    assert page == make_scale.render(page), "docs/scale.md is not of these constants: make docs"


def test_every_job_is_in_it(sized):
    assert set(sized) == set(JOBS)


@pytest.mark.parametrize("job", ["names", "titles", "predict", "pca"])
def test_memory_does_not_grow_with_the_rows(job, sized):
    few, many = (forecast(job, sized[job](rows), workers=2).worker_bytes for rows in (10**8, 10**10))
    assert many == pytest.approx(few, rel=0.05)


def test_measured_memory_does_not_grow_with_the_rows():
    """Of the names job, between a size at which shards are full and ten times that."""
    runs = [run for run in read_constants()["jobs"]["names"]["runs"] if not run["options"]]
    full, ten = runs[-2:]
    assert ten["rows"] == 10 * full["rows"]
    for few, many in zip(full["peaks"], ten["peaks"], strict=True):
        assert many < 1.25 * few


def test_pieces_grow_with_the_square_and_larger_spans_help(sized):
    def overhead(rows, span_bytes):
        return forecast("names", sized["names"](rows, span_bytes=span_bytes), workers=2).overhead_bytes

    assert overhead(10**9, 16 << 20) == pytest.approx(100 * overhead(10**8, 16 << 20), rel=0.1)
    assert overhead(10**9, 128 << 20) == pytest.approx(overhead(10**9, 16 << 20) / 8, rel=0.2)

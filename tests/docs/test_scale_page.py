"""The page on scale: its table is what the constants give, and what it says of them holds."""

import importlib.util
import pathlib

import pytest

from molino.jobs.forecast.estimate import forecast
from tests.every_job import MEASURED

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def make_scale():
    spec = importlib.util.spec_from_file_location("make_scale", ROOT / "docs/make_scale.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sized = module.make_sizes()
    module.make_sizes = lambda: sized
    return module


@pytest.mark.slow
def test_the_table_is_that_of_the_constants(make_scale):
    page = make_scale.PAGE.read_text(encoding="utf-8")
    assert set(make_scale.make_sizes()) == MEASURED
    assert page == make_scale.render(page), "docs/scale.md is not of these constants: make docs"


@pytest.mark.parametrize("job", ["names", "titles", "predict", "pca"])
def test_memory_does_not_grow_with_the_rows(job, make_scale):
    size = make_scale.make_sizes()[job]
    few, many = (forecast(job, size(rows), workers=2).worker_bytes for rows in (10**8, 10**10))
    assert many == pytest.approx(few, rel=0.05)


def test_pieces_grow_with_the_square_and_larger_spans_help(make_scale):
    size = make_scale.make_sizes()["names"]
    assert size(10**9).overhead_bytes == pytest.approx(100 * size(10**8).overhead_bytes, rel=0.1)
    assert size(10**9, span_bytes=128 << 20).overhead_bytes == pytest.approx(size(10**9).overhead_bytes / 8, rel=0.2)

"""The pictures of reports: nothing of the machine changes them, and their axes can be read."""

import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest

from molino.transforms.report.charts import (
    CURVE_POINTS,
    Series,
    bar_plot,
    bin_edges,
    histogram,
    jpeg,
    line_plot,
    plot,
    rank_series,
    raster,
)
from molino.transforms.report.page import Plot


def series_of(label: str) -> Series:
    return Series(label=label, x=[1, 2, 3], y=[3, 2, 1])


def _lines(series=(), **changes) -> Plot:
    return line_plot(series, **{"x_label": "x", "y_label": "y", "caption": "c", "alt": "a", **changes})


def texts_of(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_settings_of_matplotlib_neither_change_a_picture_nor_are_changed():
    expected = _lines([series_of("a")]).svg
    with matplotlib.rc_context({"lines.marker": "o", "svg.hashsalt": None, "font.size": 30}):
        assert _lines([series_of("a")]).svg == expected
        assert matplotlib.rcParams["font.size"] == 30
        assert matplotlib.rcParams["svg.hashsalt"] is None


def test_settings_are_put_back_when_drawing_fails():
    before = dict(matplotlib.rcParams)
    with pytest.raises(ZeroDivisionError):
        plot(lambda axes: 1 / 0, caption="c", alt="a")
    assert dict(matplotlib.rcParams) == before
    assert _lines([series_of("a")]).svg


def test_labels_are_text_and_never_mathematics():
    assert "$x^2$" in texts_of(_lines([series_of("$x^2$"), series_of("b")]).svg)


def test_years_are_written_as_years():
    svg = _lines([Series(label="births", x=range(1930, 2001), y=range(71))], years=True).svg
    assert {"1930", "1950", "2000"} <= set(texts_of(svg))
    assert "1980" in texts_of(_lines([Series(label="births", x=[1980], y=[1])], years=True).svg)


def test_counts_have_no_fractions_on_their_axis():
    svg = bar_plot(["a"], {"n": [1]}, x_label="x", y_label="y", caption="c", alt="a").svg
    assert not any("." in text for text in texts_of(svg))
    assert any("." in text for text in texts_of(_lines([Series(label="r", x=[1, 2], y=[0.1, 0.9])]).svg))


@pytest.mark.parametrize("y", [[7, 3, 2], [9, 8, 7], [100_000, 500, 1], [1], [5, 5]])
def test_a_logarithmic_axis_always_has_numbers(y):
    svg = _lines([Series(label="n", x=list(range(1, len(y) + 1)), y=y)], log=True, x_label="", y_label="").svg
    assert len(texts_of(svg)) >= 3


def test_rasters_have_the_size_and_lie_on_their_background():
    def draw(axes):
        axes.plot([0, 1], [0, 1], color="#ff0000")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)

    first = raster(draw, inches=2, dots=50)
    assert (first.shape, first.dtype) == ((100, 100, 3), np.uint8)
    assert np.array_equal(first, raster(draw, inches=2, dots=50))
    blue = np.zeros((100, 100, 3), np.uint8) + np.uint8([0, 0, 200])
    over = raster(draw, inches=2, dots=50, background=blue, title="t")
    assert (over[60:, :5] == [0, 0, 200]).all()
    assert (over[..., 0] > 150).any()
    small = jpeg(first, side=20)
    assert small[:2] == b"\xff\xd8"
    assert len(small) < len(jpeg(first))


@pytest.mark.parametrize("size", [1, 2, CURVE_POINTS, 100_000])
def test_a_rank_curve_keeps_both_ends_and_true_values(size):
    values = np.arange(size, 0, -1)
    series = rank_series("n", np.random.default_rng(0).permutation(values))
    assert (series.x[0], series.x[-1]) == (1, size)
    assert series.y == values[np.array(series.x) - 1].tolist()
    assert len(series.x) <= CURVE_POINTS


SKEWED = {
    "one value": [0.25] * 9,
    "shares of a percent": [0.2, 0.4, 0.5, 1.3, 2.9],
    "decades": [0.01, 0.3, 5.0, 80.0, 3000.0],
    "zeros and decades": [0.0] + [0.01 * 1.1**n for n in range(200)],
    "a stray": [float(n) for n in range(500)] + [1e9],
    "negative": [-3.5, -1.25, 0.0, 4.75],
    "whole": [30, 41, 33, 90],
    "tiny": [1e-150, 3e-150, 9e-150],
    "huge": [-1e150, 1e150],
}


@pytest.mark.parametrize("name", SKEWED)
def test_bins_fit_any_values(name):
    values = np.array(SKEWED[name])
    ones = np.ones(len(values), np.int64)
    edges = bin_edges(values, ones)
    assert (np.diff(edges) > 0).all()
    assert len(edges) <= 2 * 15 + 2
    heights = np.histogram(values.clip(edges[0], edges[-1]), edges)[0]
    assert heights.sum() == len(values)
    assert heights.max() <= max(1, 0.7 * len(values)) or name == "one value"
    # the order of values, and how they are counted, change nothing
    shuffled = np.random.default_rng(1).permutation(len(values))
    assert bin_edges(values[shuffled], ones).tolist() == edges.tolist()
    distinct, counts = np.unique(values, return_counts=True)
    assert bin_edges(distinct, counts).tolist() == edges.tolist()


def test_a_histogram_tells_what_lies_outside_its_bins():
    values = np.array(SKEWED["a stray"])
    shown = histogram(values, x_label="x", y_label="n", caption="All.", alt="a")
    assert shown.caption.startswith("All. The last bar has all from ")
    assert histogram(np.array([np.nan]), x_label="x", y_label="n", caption="c", alt="a").svg == ""

"""The pictures of reports: nothing of the machine changes them, and their axes can be read."""

import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest

from molino.transforms.report.charts import Series, bar_plot, jpeg, line_plot, plot, raster
from molino.transforms.report.page import Plot


def _series(label: str) -> Series:
    return Series(label=label, x=[1, 2, 3], y=[3, 2, 1])


def _lines(series=(), **changes) -> Plot:
    return line_plot(series, **{"x_label": "x", "y_label": "y", "caption": "c", "alt": "a", **changes})


def _texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_settings_of_matplotlib_neither_change_a_picture_nor_are_changed():
    expected = _lines([_series("a")]).svg
    with matplotlib.rc_context({"lines.marker": "o", "svg.hashsalt": None, "font.size": 30}):
        assert _lines([_series("a")]).svg == expected
        assert matplotlib.rcParams["font.size"] == 30
        assert matplotlib.rcParams["svg.hashsalt"] is None


def test_settings_are_put_back_when_drawing_fails():
    before = dict(matplotlib.rcParams)
    with pytest.raises(ZeroDivisionError):
        plot(lambda axes: 1 / 0, caption="c", alt="a")
    assert dict(matplotlib.rcParams) == before
    assert _lines([_series("a")]).svg


def test_labels_are_text_and_never_mathematics():
    assert "$x^2$" in _texts(_lines([_series("$x^2$"), _series("b")]).svg)


def test_years_are_written_as_years():
    svg = _lines([Series(label="births", x=range(1930, 2001), y=range(71))], years=True).svg
    assert {"1930", "1950", "2000"} <= set(_texts(svg))
    assert "1980" in _texts(_lines([Series(label="births", x=[1980], y=[1])], years=True).svg)


def test_counts_have_no_fractions_on_their_axis():
    svg = bar_plot(["a"], {"n": [1]}, x_label="x", y_label="y", caption="c", alt="a").svg
    assert not any("." in text for text in _texts(svg))
    assert any("." in text for text in _texts(_lines([Series(label="r", x=[1, 2], y=[0.1, 0.9])]).svg))


@pytest.mark.parametrize("y", [[7, 3, 2], [9, 8, 7], [100_000, 500, 1], [1], [5, 5]])
def test_a_logarithmic_axis_always_has_numbers(y):
    svg = _lines([Series(label="n", x=list(range(1, len(y) + 1)), y=y)], log=True, x_label="", y_label="").svg
    assert len(_texts(svg)) >= 3


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

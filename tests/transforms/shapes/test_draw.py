"""The picture of a network: which colour stands where."""

import numpy as np

from molino.transforms.shapes.draw import draw_background, draw_network
from molino.transforms.shapes.points import GENERATED, Points, draw_split, parse_problem
from molino.transforms.shapes.run_network import PLOT_AREA

POINTS = Points(kind=GENERATED, rows=4000, seed=1)
LINEAR = parse_problem("linear")


def area(picture):
    top, bottom, left, right = PLOT_AREA
    return picture[top:bottom, left:right].astype(float)


def shade(picture, rows, columns):
    """Return the mean colour of a part of the axes, given as shares from the top and from the left."""
    height, width, _ = picture.shape
    part = picture[int(rows[0] * height) : int(rows[1] * height), int(columns[0] * width) : int(columns[1] * width)]
    return part.mean(axis=(0, 1))


def test_training_points_are_dark_in_the_shape_and_light_beside_it():
    picture = area(draw_background(POINTS, LINEAR))
    above, below = shade(picture, (0.05, 0.3), (0.05, 0.3)), shade(picture, (0.7, 0.95), (0.7, 0.95))
    assert (above < below - 20).any()
    # #4682b4 and #add8e6, on white
    assert np.argsort(above).tolist() == np.argsort(below).tolist() == [0, 1, 2]
    assert draw_background(POINTS, LINEAR).shape == (720, 720, 3)


def test_test_points_are_red_where_the_network_is_wrong():
    x, y = draw_split(POINTS, "test")
    background = area(draw_background(POINTS, LINEAR))
    picture = area(draw_network(POINTS, LINEAR, x < 0, "title"))  # wrong on the right side
    redder = (picture[..., 0] - picture[..., 2]) - (background[..., 0] - background[..., 2])
    half = redder.shape[1] // 2
    assert redder[:, half + 12 :].max() > 40
    assert redder[:, : half - 12].max() < redder[:, half + 12 :].max() / 2
    column = round((x[0] + 1) / 2 * redder.shape[1])
    row = round((1 - y[0]) / 2 * redder.shape[0])
    around = np.abs(picture - background)[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4]
    assert around.max() > 20


def test_the_axes_and_the_title_stay():
    background, picture = draw_background(POINTS, LINEAR), draw_network(POINTS, LINEAR, np.ones(200, bool), "a title")
    top, bottom, left, right = PLOT_AREA
    assert np.array_equal(picture[bottom + 3 :], background[bottom + 3 :])
    assert np.array_equal(picture[:, : left - 3], background[:, : left - 3])
    assert (picture[: top - 3] < 100).any()
    assert (background[: top - 3, left + 20 : right - 40] == 255).all()
    # the frame is where the report cuts
    assert (background[top + 5 : bottom - 5, left - 2 : left + 2].min(axis=(1, 2)) < 100).all()


def test_the_same_calls_draw_the_same():
    right = np.arange(200) % 3 > 0
    first = draw_network(POINTS, LINEAR, right, "t")
    draw_background.cache_clear()
    assert np.array_equal(draw_network(POINTS, LINEAR, right, "t"), first)

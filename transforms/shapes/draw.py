"""The picture of what a network makes of a shape: training points in two blues, test points gray where right, red
where wrong."""

import functools
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from molino.transforms.report.charts import raster
from molino.transforms.shapes.points import Points, Problem, draw_split, label_points

TRAINING = ("#add8e6", "#4682b4")  # false, true
TEST = ("#ff0000", "#888888")  # wrong, right
TRAINING_ALPHA, TEST_ALPHA = 0.5, 0.3
TRAINING_MARK, TEST_MARK = 2.8, 4.5  # diameters, in points, of 200,000 and 10,000 points
LARGEST = 3  # times as wide a mark may be, where there are fewer points
INCHES, DOTS = 10, 72
MOST_TRAINING = 200_000  # of the training points, the first
MOST_TEST = 10_000

_BACKGROUND = threading.Lock()  # a worker waits for the picture that another one draws, and does not draw it too


@functools.lru_cache(maxsize=12)
def draw_background(points: Points, problem: Problem) -> np.ndarray:
    """Return the picture of a problem's training points, (720, 720, 3) uint8; kept. Not to be changed."""
    x, y = (values[:MOST_TRAINING] for values in draw_split(points, "train"))
    label = label_points(problem, x, y)
    size = _mark(TRAINING_MARK, MOST_TRAINING, len(x))
    return raster(lambda axes: _scatter(axes, x, y, label, TRAINING, TRAINING_ALPHA, size), inches=INCHES, dots=DOTS)


def draw_network(points: Points, problem: Problem, right: np.ndarray, title: str) -> np.ndarray:
    """Return the picture of a network that is `right` about some of the test points, (720, 720, 3) uint8."""
    x, y = (values[:MOST_TEST] for values in draw_split(points, "test"))
    size = _mark(TEST_MARK, MOST_TEST, len(x))
    with _BACKGROUND:
        background = draw_background(points, problem)
    return raster(
        lambda axes: _scatter(axes, x, y, right[:MOST_TEST], TEST, TEST_ALPHA, size),
        inches=INCHES,
        dots=DOTS,
        background=background,
        title=title,
    )


def _mark(size: float, usual: int, points: int) -> float:
    """Return the diameter of a mark, larger where there are fewer points, so that the square is covered as usual."""
    return size * min(LARGEST, (usual / points) ** 0.5)


def _scatter(
    axes: Any, x: np.ndarray, y: np.ndarray, kind: np.ndarray, colors: Sequence[str], alpha: float, size: float
) -> None:
    for value, color in enumerate(colors):  # a call a colour: the mark is drawn once and copied
        of = kind == bool(value)
        axes.plot(x[of], y[of], linestyle="", marker="o", markersize=size, markeredgewidth=0, color=color, alpha=alpha)
    axes.set_xlim(-1, 1)
    axes.set_ylim(-1, 1)

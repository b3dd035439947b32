"""Marking blocks, against OpenCV's own colours, histograms and correlation."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.peers import whales_original
from molino.transforms.whales.mark_blocks import count_blocks, divide, find_unlike, halve, mark_blocks, number_bins


def oracle(image, bins=16, threshold=0.25, smallest=10):
    marks = np.zeros(image.shape[:2], np.uint8)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    whales_original.mark(hsv, marks, whales_original.histogram(hsv, bins), bins, threshold, smallest)
    return marks > 0


def pixels(rows, columns, cells):
    return np.repeat(np.repeat(cells > 0, np.diff(rows), axis=0), np.diff(columns), axis=1)


def marks(image, bins=16, threshold=0.25, smallest=10):
    return pixels(*mark_blocks(image, bins=bins, threshold=threshold, smallest=smallest))


def sea(height, width, seed=0, spread=8):
    """Return noise of one colour with some rectangles of others, and some glare."""
    rng = np.random.default_rng(seed)
    image = rng.normal([90, 70, 40], spread, (height, width, 3))
    for _ in range(4):
        y, x = rng.integers(0, height), rng.integers(0, width)
        part = image[y : y + rng.integers(1, height + 1), x : x + rng.integers(1, width + 1)]
        part[:] = rng.normal(rng.integers(0, 256, 3), rng.integers(1, 30), part.shape)
    image[rng.random((height, width)) < 0.02] = 255
    return np.clip(image, 0, 255).astype(np.uint8)


def test_the_bin_of_every_colour_is_that_of_opencv():
    colours = np.empty((256, 256, 3), np.uint8)
    colours[..., 0], colours[..., 1] = np.mgrid[:256, :256]
    numbers = np.empty(1 << 16, np.uint32)
    for red in range(256):
        colours[..., 2] = red
        hsv = cv2.cvtColor(colours, cv2.COLOR_BGR2HSV).reshape(-1, 3)
        for bins in (16, 37) if red % 16 == 0 else (16,):
            place = np.floor(hsv * (bins / 255)).astype(int)
            expected = np.where((place == bins).any(axis=1), bins**3, place @ [bins * bins, bins, 1])
            number_bins(colours, bins, numbers)
            np.testing.assert_array_equal(numbers, expected)


@given(st.integers(1, 5000), st.integers(0, 9))
def test_parts_are_those_of_halving_again_and_again(length, times):
    edges = halve(length, times)
    assert (edges[0], edges[-1], len(edges)) == (0, length, 2**times + 1)
    assert np.ptp(np.diff(edges)) <= 1
    if times:
        assert (edges[::2] == halve(length, times - 1)).all()
        assert (edges[1::2] == edges[:-1:2] + (edges[2::2] - edges[:-1:2]) // 2).all()


@pytest.mark.parametrize(
    "shape", [(1, 1), (9, 9), (10, 10), (19, 40), (20, 20), (1, 300), (300, 1), (10, 500), (500, 11)]
)
@pytest.mark.parametrize("kind", ["sea", "noise", "one colour", "white"])
def test_any_shape(shape, kind):
    rng = np.random.default_rng(0)
    image = {
        "sea": sea(*shape),
        "noise": rng.integers(0, 256, (*shape, 3)).astype(np.uint8),
        "one colour": np.full((*shape, 3), (90, 70, 40), np.uint8),
        "white": np.full((*shape, 3), 255, np.uint8),
    }[kind]
    np.testing.assert_array_equal(marks(image), oracle(image))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 330), st.integers(1, 330), st.integers(0, 10**6), st.sampled_from([1, 4, 20, 90]))
def test_any_image(height, width, seed, spread):
    image = sea(height, width, seed, spread)
    np.testing.assert_array_equal(marks(image), oracle(image))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 150),
    st.integers(1, 150),
    st.integers(0, 10**6),
    st.sampled_from([16, 16, 16, 1, 2, 3, 7, 15, 17, 33, 64]),
    st.sampled_from([0.25, 0.1, 0.5, 0.9, -0.1, 0.0]),
    st.sampled_from([10, 2, 3, 5, 17, 40, 1000]),
)
def test_any_parameters(height, width, seed, bins, threshold, smallest):
    image = sea(height, width, seed)
    expected = oracle(image, bins, threshold, smallest)
    np.testing.assert_array_equal(marks(image, bins, threshold, smallest), expected)


@pytest.mark.parametrize("shape", [(410, 609), (305, 300), (144, 2111), (399, 640)])
def test_any_depth(shape):
    image = sea(*shape)
    expected = oracle(image)
    assert expected.any()
    np.testing.assert_array_equal(marks(image), expected)


def test_lists_are_the_histograms_of_all_blocks():
    image = sea(90, 130)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    rows, columns = divide(90, 130, 10)
    held = count_blocks(image, rows, columns, 16)
    for side in (16, 8, 4, 2, 1):
        assert held.side == side
        step = 16 // side
        for block in range(side**2):
            (top, bottom), (left, right) = (
                edges[[place * step, (place + 1) * step]]
                for edges, place in ((rows, block // side), (columns, block % side))
            )
            mine = np.zeros(16**3)
            some = slice(held.starts[block], held.starts[block + 1])
            mine[held.numbers[some]] = held.pixels[some]
            assert len({*held.numbers[some].tolist()}) == some.stop - some.start
            part = np.ascontiguousarray(hsv[top:bottom, left:right])
            theirs = cv2.calcHist([part], [0, 1, 2], None, [16] * 3, [0, 255] * 3)
            np.testing.assert_array_equal(mine, theirs.reshape(-1))
        _, held = find_unlike(held, np.ones(16**3), 16, 0.25) if side > 1 else (None, held)


def test_a_view_is_marked_like_a_copy():
    image = sea(320, 480)[3:303, 5:455, ::-1]
    assert not image.flags.c_contiguous
    np.testing.assert_array_equal(marks(image), oracle(np.ascontiguousarray(image)))


def test_blocks_of_a_reduced_image_are_those_of_the_whole():
    image = cv2.resize(sea(301, 455), (1820, 1204), interpolation=cv2.INTER_NEAREST)
    rows, columns, cells = mark_blocks(image[::4, ::4], bins=16, threshold=0.25, smallest=20, shape=(1204, 1820))
    expected = mark_blocks(image, bins=16, threshold=0.25, smallest=20)
    np.testing.assert_array_equal(rows, expected[0])
    np.testing.assert_array_equal(columns, expected[1])
    assert (cells == expected[2]).mean() > 0.97

"""Crops, runs of masks, thumbnails: shapes, places, and nothing from outside."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molino.transforms.whales.crop import BOX_COLOUR, THUMBNAIL, crop, crop_square, draw_thumbnail, mask_runs
from molino.transforms.whales.find_region import Mask, Region


def numbered(height, width):
    """An image in which every pixel is another colour."""
    numbers = np.arange(1, height * width + 1)
    return np.stack([numbers & 255, numbers >> 8 & 255, numbers >> 16], axis=-1).reshape(height, width, 3).astype("u1")


def test_a_crop_is_the_pixels_of_the_box():
    image = numbered(9, 12)
    assert np.array_equal(crop(image, (3, 2, 5, 4)), image[2:6, 3:8])


@given(st.data())
def test_a_square_holds_the_box_and_stays_inside_where_it_can(data):
    height, width = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    w, h = data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y))
    image, side = numbered(height, width), max(w, h)
    square = crop_square(image, (x, y, w, h), side)  # at its own size: no pixel is mixed
    assert square.shape == (side, side, 3)
    assert square.dtype == np.uint8
    pixels = {tuple(pixel) for pixel in square[:, :, ::-1].reshape(-1, 3).tolist()}
    assert {tuple(pixel) for pixel in crop(image, (x, y, w, h)).reshape(-1, 3).tolist()} <= pixels
    if side <= min(height, width):
        assert (0, 0, 0) not in pixels
    assert crop_square(image, (x, y, w, h), 7).shape == (7, 7, 3)


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_runs_are_the_mask(height, width, data):
    cells = data.draw(st.lists(st.sampled_from([0, 255]), min_size=height * width, max_size=height * width))
    mask = np.array(cells, np.uint8).reshape(height, width)
    runs = mask_runs(mask)
    assert runs.dtype == np.int32
    assert (runs[1:] > 0).all()
    values = np.arange(len(runs)) % 2 * 255
    assert np.array_equal(np.repeat(values, runs).reshape(height, width), mask)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 5), (40, 2000), (2000, 40), (600, 900)])
@pytest.mark.parametrize("reduced", [1, 4])
def test_thumbnails_are_small_and_show_the_box(height, width, reduced):
    rows, columns = (np.unique([0, side // 3, side]) for side in (height, width))
    mask = Mask(rows=rows, columns=columns, cells=np.full((len(rows) - 1, len(columns) - 1), 255, np.uint8))
    box = (0, 0, width, height)
    region = Region(box=box, regions=1, white_pixels=height * width, score=1.0, marked=mask, mask=mask)
    pixels = np.zeros((-(-height // reduced), -(-width // reduced), 3), np.uint8)
    drawn = cv2.imdecode(np.frombuffer(draw_thumbnail(pixels, region, (height, width)), np.uint8), cv2.IMREAD_COLOR)
    longest = max(pixels.shape[:2])
    assert (
        max(drawn.shape[:2]) == longest if longest <= THUMBNAIL else THUMBNAIL // 2 <= max(drawn.shape[:2]) <= THUMBNAIL
    )
    assert np.abs(drawn[0, 0].astype(int) - BOX_COLOUR).max() < 60


def test_a_thumbnail_without_a_box_is_the_image():
    image = np.full((30, 40, 3), 90, np.uint8)
    mask = Mask(rows=np.array([0, 30]), columns=np.array([0, 40]), cells=np.zeros((1, 1), np.uint8))
    region = Region(box=None, regions=0, white_pixels=0, score=0.0, marked=mask, mask=mask)
    drawn = cv2.imdecode(np.frombuffer(draw_thumbnail(image, region, (30, 40)), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(drawn.astype(int) - 90).max() < 4

"""The region that is found, against the published program in plain OpenCV."""

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.peers import whales_original
from molino.transforms.images.decode import read_header
from molino.transforms.whales.find_region import (
    Mask,
    OriginalOptions,
    clear_small_marks,
    draw_published,
    find_region_original,
    reduction,
)
from molino.transforms.whales.find_salient_region import find_salient_region
from tests.transforms.images.sound import decode
from tests.transforms.whales.test_mark_blocks import sea

SHARED = Path(__file__).resolve().parents[4] / "shared"
PHOTOGRAPHS = SHARED / "data/whales"
needs_photographs = pytest.mark.skipif(not PHOTOGRAPHS.exists(), reason="no ../shared/data/whales")


def check(image, options=OriginalOptions()):  # noqa: B008
    parameters = {name: getattr(options, name) for name in ("bins", "threshold", "smallest", "kernel")}
    marked, cleared, contours, largest = whales_original.find_region(image, **parameters)
    found = find_region_original(image, options)
    np.testing.assert_array_equal(found.marked.pixels(), marked)
    np.testing.assert_array_equal(found.mask.pixels(), cleared)
    assert found.white_pixels == (marked > 0).sum() == found.marked.area()
    assert found.mask.area() == (cleared > 0).sum()
    assert found.regions == len(contours)
    assert found.box == (None if largest is None else cv2.boundingRect(largest))
    if found.box is None:
        assert found.score == 0
    else:
        x, y, width, height = found.box
        assert found.score == (cleared[y : y + height, x : x + width] > 0).sum() / (cleared > 0).sum()
    return found


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (9, 9), (10, 10), (20, 20), (39, 41), (40, 40), (1, 500), (500, 1), (4000, 11), (11, 4000), (605, 907)],
)
@pytest.mark.parametrize("kind", ["sea", "noise", "one colour", "white"])
def test_any_shape(shape, kind):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    image = {
        "sea": sea(*shape),
        "noise": noise,
        "one colour": np.full_like(noise, 77),
        "white": np.full_like(noise, 255),
    }
    check(image[kind])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 10**6))
def test_any_image(height, width, seed):
    check(sea(height, width, seed))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.integers(0, 10**6),
    st.sampled_from([16, 5, 32]),
    st.sampled_from([0.25, 0.6, 0.0]),
    st.sampled_from([10, 4, 25]),
    st.sampled_from([40, 1, 2, 9, 39, 300]),
)
def test_any_options(height, width, seed, bins, threshold, smallest, kernel):
    check(sea(height, width, seed), OriginalOptions(bins=bins, threshold=threshold, smallest=smallest, kernel=kernel))


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12), st.integers(1, 60), st.floats(0.3, 1))
@settings(deadline=None)
def test_clearing_on_the_grid_is_clearing_of_pixels(seed, down, across, kernel, density):
    rng = np.random.default_rng(seed)
    rows, columns = (np.concatenate([[0], np.cumsum(rng.integers(1, 30, n))]) for n in (down, across))
    cells = np.where(rng.random((down, across)) < density, 255, 0).astype(np.uint8)
    mask = Mask(rows=rows, columns=columns, cells=cells)
    square = np.ones((kernel, kernel), np.uint8)
    cleared = clear_small_marks(mask, kernel)
    np.testing.assert_array_equal(cleared.pixels(), cv2.dilate(cv2.erode(mask.pixels(), square), square))


def test_of_equal_boxes_the_published_program_takes_the_first():
    image = np.full((640, 640, 3), (90, 70, 40), np.uint8)
    for y, x in ((80, 400), (80, 80), (400, 240)):
        image[y : y + 80, x : x + 80] = (10, 10, 200)
    found = check(image)
    assert found.regions == 3
    assert 0.3 < found.score < 0.4


@pytest.mark.parametrize(
    "wrong",
    [{"bins": 0}, {"bins": 65}, {"threshold": 1.0}, {"threshold": float("nan")}, {"smallest": 1}, {"kernel": 0}],
)
def test_options_out_of_range(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        OriginalOptions(**wrong)


def test_the_published_files(tmp_path):
    image = sea(640, 960, 3)
    found = check(image)
    _, cleared, contours, largest = whales_original.find_region(image)
    whales_original.write_images("a.jpg", image.copy(), cleared, contours, largest, tmp_path)
    before = image.copy()
    files = draw_published(image, found)
    assert (image == before).all()
    assert sorted(files) == ["areas", "extract", "mask", "mask-areas"]
    for name, data in files.items():
        assert data == (tmp_path / f"a.jpg.{name}.jpg").read_bytes(), name
    nothing = np.full((100, 100, 3), 77, np.uint8)
    assert draw_published(nothing, find_region_original(nothing)) == {}


# --- fast


def overlap(one, other):
    if one is None or other is None:
        return float(one == other)
    width, height = (min(one[i] + one[i + 2], other[i] + other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    both = max(width, 0) * max(height, 0)
    return both / (one[2] * one[3] + other[2] * other[3] - both)


def find_fast(data):
    header = read_header(data)
    scale, options = reduction(header, OriginalOptions())
    return find_region_original(decode(data, scale=scale), options, shape=header.shape)


def _jpeg(image):
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


@pytest.mark.parametrize(("height", "width"), [(700, 1100), (1100, 1500), (1700, 2300)])
def test_fast_finds_about_the_same(height, width):
    image = np.random.default_rng(0).normal([90, 70, 40], 6, (height, width, 3))
    image[height // 3 : height // 2, width // 3 : width // 2] += (20, 40, 60)
    data = _jpeg(np.clip(image, 0, 255).astype(np.uint8))
    expected = find_region_original(decode(data))
    found = find_fast(data)
    assert overlap(found.box, expected.box) > (0.999 if height * width < 800_000 else 0.9)
    assert found.mask.pixels().shape == (height, width)


def test_fast_counts_in_pixels_of_the_turned_image():
    image = np.full((1204, 1601, 3), (90, 70, 40), np.uint8)
    image[100:300, 1200:1500] = (30, 40, 160)
    data = _jpeg(image)
    segment = b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
    data = data[:2] + segment + data[2:]
    header = read_header(data)
    assert header.shape == (1601, 1204)
    found, expected = find_fast(data), find_region_original(decode(data))
    assert found.mask.pixels().shape == (1601, 1204)
    assert overlap(found.box, expected.box) > 0.8


# --- photographs


@needs_photographs
def test_the_published_photograph():
    image = decode((PHOTOGRAPHS / "w_7489.jpg").read_bytes())
    found = find_region_original(image)
    assert found.box == (757, 1185, 924, 248)
    for name, data in draw_published(image, found).items():
        assert data == (PHOTOGRAPHS / f"published/w_7489.jpg.{name}.jpg").read_bytes(), name


@needs_photographs
@pytest.mark.slow
def test_all_photographs():
    overlaps = []
    for name, expected in json.loads((PHOTOGRAPHS / "original_boxes.json").read_text()).items():
        data = (PHOTOGRAPHS / name).read_bytes()
        found = find_region_original(decode(data))
        assert list(found.box) == expected["box"], name
        assert (found.white_pixels, found.regions) == (expected["white_pixels"], expected["contours"]), name
        overlaps.append(overlap(find_fast(data).box, found.box))
    assert np.mean(overlaps) >= 0.95
    assert min(overlaps) >= 0.75


@pytest.mark.skipif(not (SHARED / "tools/whale_original.py").exists(), reason="no ../shared/tools/whale_original.py")
@pytest.mark.parametrize("shape", [(1, 1), (10, 10), (333, 250), (40, 700)])
def test_the_plain_program_is_the_published_one(shape):
    spec = importlib.util.spec_from_file_location("whale_original", SHARED / "tools/whale_original.py")
    published = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(published)
    for seed in range(3):
        image = sea(*shape, seed)
        raw = published.raw_mask(image.copy())
        cleared, _, contours, _, box = published.post(raw)
        marked, own, own_contours, largest = whales_original.find_region(image)
        np.testing.assert_array_equal(marked, raw[..., 0])
        np.testing.assert_array_equal(own, cleared)
        assert len(own_contours) == len(contours)
        assert box == (None if largest is None else cv2.boundingRect(largest))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((40, 60), np.uint8),
        np.zeros((40, 60, 4), np.uint8),
        np.zeros((40, 60, 3)),
        np.zeros((0, 60, 3), np.uint8),
        None,
    ],
    ids=["gray", "alpha", "no rows", "floats", "no file"],
)
def test_what_is_no_image_of_three_channels_is_refused(image):
    for find in (find_region_original, find_salient_region):
        with pytest.raises(ValueError, match=r"an image is \(height, width, 3\) uint8, blue first"):
            find(image)

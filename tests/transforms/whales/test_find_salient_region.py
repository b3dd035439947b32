"""The method `saliency`: what it finds in drawn scenes, plain oracles of its steps, its floor on real photographs."""

import dataclasses
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.transforms.whales import find_salient_region as module
from molino.transforms.whales.find_salient_region import (
    HALF,
    PRESENT,
    Body,
    SalientOptions,
    choose_scale,
    find_body,
    find_salient_region,
    mahalanobis,
    measure_presence,
    measure_saliency,
    place_box,
    weigh_body,
)
from tests.transforms.images.sound import decode

ROOT = Path(__file__).resolve().parents[3]
PHOTOGRAPHS = ROOT.parent / "shared/data/whales"
WATER, ANIMAL = np.array([110.0, 90.0, 50.0]), np.array([50.0, 52.0, 56.0])  # BGR
HEIGHT, WIDTH = 256, 384


def draw(
    *, angle=30.0, place=(0.5, 0.5), gradient=30.0, glare=0.0, foam=0.0, animal=True, seed=0, size=(HEIGHT, WIDTH)
):
    """Return a scene, (height, width, 3) uint8, and the rectangle around the head: left, top, right, bottom.

    A spindle a third of the width long, whose tail tapers; the head is its foremost sixth, at `angle` degrees clockwise
    from the right.
    """
    height, width = size
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] + 0.5
    waves = cv2.GaussianBlur(rng.standard_normal((height, width)), (0, 0), 2) * 30
    image = WATER + (waves + gradient * (x / width - 0.5) + gradient * (y / height - 0.5))[..., None]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    dx, dy = x - place[0] * width, y - place[1] * height
    along, beside = (dx * cos + dy * sin) / (width / 6), (dy * cos - dx * sin) / (width / 6)
    inside = np.clip(along, -1, 1)
    breadth = np.where(inside > 0.3, 0.25 * np.sqrt(1 - ((np.maximum(inside, 0.3) - 0.3) / 0.7) ** 2), 0)
    breadth = np.where(inside <= 0.3, 0.25 * ((inside + 1) / 1.3) ** 1.5, breadth)
    body = (np.abs(beside) < breadth) & (np.abs(along) < 1)
    if animal:
        image[body] = ANIMAL + rng.standard_normal((int(body.sum()), 1)) * 4
    white = glare * (waves > np.quantile(waves, 0.97)) + foam * (animal & ~body & (np.hypot(along + 0.6, beside) < 0.4))
    image += np.clip(white, 0, 1)[..., None] * (250 - image)
    rows, columns = np.nonzero(body & (along > 0.67))
    head = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return np.clip(np.round(image), 0, 255).astype(np.uint8), head, body


def holds(box, rectangle):
    x, y, width, height = box
    left, top, right, bottom = rectangle
    return x <= left and y <= top and x + width >= right and y + height >= bottom


# --- what it finds


@pytest.mark.parametrize("angle", range(0, 360, 45))
@pytest.mark.parametrize(
    "more",
    [{}, {"glare": 0.9}, {"foam": 1.0}, {"gradient": 45.0}, {"glare": 0.7, "foam": 0.8, "gradient": 45.0}],
    ids=str,
)
def test_the_box_holds_the_head(angle, more):
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # the head is near the middle, as in photographs of heads
    image, head, body = draw(angle=angle, place=(0.5 - 0.08 * cos, 0.5 - 0.08 * sin), **more)
    found = find_salient_region(image)
    assert holds(found.box, head)
    mask = found.mask.pixels() > 0
    assert (mask & body).sum() / (mask | body).sum() > 0.7
    assert found.score > 0.6


@pytest.mark.parametrize("angle", range(0, 360, 60))
def test_the_tapering_tail_alone_tells_the_head(angle):
    # the middle of the image is behind the animal
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    image, head, _ = draw(angle=angle, place=(0.5 + 0.03 * cos, 0.5 + 0.03 * sin))
    assert holds(find_salient_region(image).box, head)


def test_foam_and_glare_are_water():
    image, _, body = draw(foam=1.0, glare=1.0)
    saliency = measure_saliency(image)
    assert np.median(saliency[body]) > 8
    away = ~cv2.dilate(body.astype(np.uint8), np.ones((25, 25))).astype(bool)
    white = (image.min(axis=2) > 240) & away
    assert white.sum() > 200
    assert np.quantile(saliency[white], 0.9) < 3


def test_mere_water_has_a_low_score():
    scores = [find_salient_region(draw(animal=False, glare=0.9, seed=seed)[0]).score for seed in range(5)]
    assert max(scores) < 0.4


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_one_colour_has_no_box(value):
    found = find_salient_region(np.full((200, 300, 3), value, np.uint8))
    assert (found.box, found.regions, found.white_pixels, found.score) == (None, 0, 0, 0.0)
    assert found.mask.pixels().shape == (200, 300)
    assert not found.mask.pixels().any()


def test_shades_of_gray_have_no_box():
    gray = cv2.cvtColor(draw()[0], cv2.COLOR_BGR2GRAY)
    assert find_salient_region(cv2.merge([gray] * 3)).box is None


@pytest.mark.parametrize(
    "shape", [(1, 1), (9, 9), (10, 10), (15, 400), (11, 4000), (4000, 11), (16, 16), (17, 31), (64, 64), (40, 2000)]
)
@pytest.mark.parametrize("kind", ["noise", "ramp", "halves"])
def test_any_size_and_kind(shape, kind):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    if kind == "ramp":
        image[:] = (np.arange(shape[1]) % 256)[:, None] * np.array([1.0, 0.5, 0.25])
    if kind == "halves":
        image[:], image[:, : shape[1] // 2] = (200, 40, 10), (10, 40, 200)
    found = find_salient_region(image)
    if found.box:
        x, y, width, height = found.box
        assert 0 <= x < x + width <= shape[1]
        assert 0 <= y < y + height <= shape[0]
    assert min(shape) >= 16 or found.box is None
    assert found.mask.pixels().shape == shape
    assert 0 <= found.score <= 1


# --- what stays the same


def test_the_same_image_gives_the_same():
    image = draw(glare=0.8, seed=3)[0]
    before = image.copy()
    first, second = find_salient_region(image), find_salient_region(np.asfortranarray(image)[:, :])
    assert first.box == second.box
    assert (first.score, first.regions, first.white_pixels) == (second.score, second.regions, second.white_pixels)
    assert first.mask.cells.tobytes() == second.mask.cells.tobytes()
    assert (image == before).all()


@pytest.mark.parametrize("turn", ["left-right", "top-bottom", "transposed"])
@pytest.mark.parametrize("seed", range(3))
def test_a_turned_image_has_the_turned_box(turn, seed):
    image = draw(glare=0.5, foam=0.7, seed=seed, angle=50 * seed)[0]
    x, y, width, height = find_salient_region(image).box
    if turn == "left-right":
        image, expected = image[:, ::-1], (WIDTH - x - width, y, width, height)
    elif turn == "top-bottom":
        image, expected = image[::-1], (x, HEIGHT - y - height, width, height)
    else:
        image, expected = image.transpose(1, 0, 2), (y, x, height, width)
    found = find_salient_region(np.ascontiguousarray(image)).box
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 2


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_a_reduced_image_has_the_box_of_the_whole(scale):
    image = draw(size=(HEIGHT * 4, WIDTH * 4), seed=2)[0]
    shape = image.shape[0] - 1, image.shape[1] - 1  # not divisible by the scale
    image = image[: shape[0], : shape[1]]
    small = cv2.resize(image, (-(-shape[1] // scale), -(-shape[0] // scale)), interpolation=cv2.INTER_AREA)
    whole, reduced = find_salient_region(image), find_salient_region(small, shape=shape)
    # below 384 pixels the working copy is another one
    allowed = 16 if scale <= 4 else 64
    assert max(abs(a - b) for a, b in zip(whole.box, reduced.box, strict=True)) <= allowed
    assert reduced.mask.pixels().shape == reduced.marked.pixels().shape == shape
    assert reduced.white_pixels == (reduced.marked.pixels() > 0).sum()


def test_white_pixels_are_the_marked_ones():
    found = find_salient_region(draw(glare=0.8)[0])
    assert found.white_pixels == (found.marked.pixels() > 0).sum()
    assert found.regions >= 1


@pytest.mark.parametrize("share", [0.01, 0.05, 0.08, 0.15, 0.3, 0.6, 0.99, 1.0])
@pytest.mark.parametrize("place", [(0.5, 0.5), (0.2, 0.2), (0.85, 0.5)])
def test_the_share_is_what_is_asked(share, place):
    image = draw(place=place)[0]
    x, y, width, height = find_salient_region(image, SalientOptions(share=share)).box
    assert width * height / (HEIGHT * WIDTH) == pytest.approx(share, abs=0.005)
    assert x >= 0
    assert y >= 0
    assert x + width <= WIDTH
    assert y + height <= HEIGHT


@settings(deadline=None)
@given(
    shape=st.tuples(st.integers(16, 400), st.integers(16, 400)),
    place=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    angle=st.floats(-math.pi, math.pi),
    spread=st.floats(0, 0.4),
    skewness=st.floats(-3, 3),
    shares=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
)
def test_the_box_lies_in_the_image_and_grows_with_the_share(shape, place, angle, spread, skewness, shares):
    body = Body(
        centroid=place,
        axis=(math.cos(angle), math.sin(angle)),
        spread=spread,
        skewness=skewness,
        mask=np.ones(shape, np.bool_),
        marked=np.ones(shape, np.bool_),
        regions=1,
        score=1.0,
    )
    inner, outer = (place_box(body, SalientOptions(share=share)) for share in sorted(shares))
    for box, share in ((inner, min(shares)), (outer, max(shares))):
        left, top, right, bottom = box
        assert -1e-9 <= left < right <= 1 + 1e-9
        assert -1e-9 <= top < bottom <= 1 + 1e-9
        assert (right - left) * (bottom - top) == pytest.approx(share)
    assert all(outer[i] <= inner[i] + 1e-9 and outer[i + 2] >= inner[i + 2] - 1e-9 for i in (0, 1))
    # which way the axis points means nothing
    turned = dataclasses.replace(body, axis=(-body.axis[0], -body.axis[1]), skewness=-skewness)
    assert place_box(turned, SalientOptions(share=shares[0])) == pytest.approx(
        place_box(body, SalientOptions(share=shares[0]))
    )


# --- plain oracles


def plain_saliency(image):
    """The distances, by least squares on whole arrays, in double precision."""
    height, width = image.shape[:2]
    coarse_size = round(width / 4), round(height / 4)
    water = np.median(cv2.resize(image, coarse_size, interpolation=cv2.INTER_AREA).reshape(-1, 3), axis=0)
    line = (255 - water) / np.linalg.norm(255 - water)
    across = module.across_white(water)
    np.testing.assert_allclose(across @ across.T, np.eye(2), atol=1e-6)
    np.testing.assert_allclose(across @ line, 0, atol=1e-6)
    colours = cv2.GaussianBlur(image.astype(np.float64) @ across.T, (0, 0), 0.004 * max(height, width))
    coarse = cv2.resize(colours, coarse_size, interpolation=cv2.INTER_AREA)

    def terms(array):
        y, x = np.meshgrid(*((2 * np.arange(n) + 1) / n - 1 for n in array.shape[:2]), indexing="ij")
        return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)

    def distances(array, surface, covariance):
        rest = array - terms(array) @ surface
        return np.sqrt(np.einsum("ijk,kl,ijl->ij", rest, np.linalg.inv(covariance), rest))

    def nearest(far):
        return far <= np.sort(far, axis=None)[math.ceil(0.8 * far.size) - 1]

    deviations = np.abs(coarse - np.median(coarse, axis=(0, 1)))
    kept = nearest((deviations / (np.median(deviations, axis=(0, 1)) + 1)).max(axis=2))
    # of a normal distribution's inner 0.8 in two dimensions, by its chi-squared integrals
    inner = (1 - 0.2 * (1 - math.log(0.2))) / 0.8
    for _ in range(4):
        surface = np.linalg.lstsq(terms(coarse)[kept], coarse[kept], rcond=None)[0]
        rest = (coarse - terms(coarse) @ surface)[kept]
        covariance = rest.T @ rest / len(rest) / inner + np.eye(2)
        kept = nearest(distances(coarse, surface, covariance))
    return distances(colours, surface, covariance)


@pytest.mark.parametrize("more", [{}, {"glare": 0.8, "foam": 1.0, "gradient": 45.0}], ids=str)
def test_saliency_is_what_a_plain_fit_gives(more):
    image = draw(seed=1, **more)[0]
    np.testing.assert_allclose(measure_saliency(image), plain_saliency(image), rtol=0.01, atol=0.01)


@pytest.mark.parametrize(("rows", "times"), [(0, 1.0), (15, 1.35)])
def test_the_water_is_known_though_some_of_it_is_none(rows, times):
    rng = np.random.default_rng(0)
    covariance = np.array([[25, 12], [12, 36]])
    colours = rng.multivariate_normal([7, -3], covariance, (100, 100)).astype(np.float32)
    colours[:rows] += 500
    surface, precision = module.fit_water(colours)
    np.testing.assert_allclose(surface[0], [7, -3], atol=0.5)
    np.testing.assert_allclose(surface[1:], 0, atol=1.5)
    # with the outliers, the inner 0.8 of all are the inner 0.94 of the water
    np.testing.assert_allclose(np.linalg.inv(precision), times * covariance + np.eye(2), rtol=0.15)


def test_the_body_is_what_plain_moments_give():
    image = draw(angle=200, foam=0.6)[0]
    saliency = measure_saliency(image)
    body = find_body(saliency, SalientOptions())
    y, x = np.nonzero(body.mask)
    weight = np.minimum(saliency[body.mask], 20).astype(np.float64) ** 2
    places = np.stack([x + 0.5 - WIDTH / 2, y + 0.5 - HEIGHT / 2]) / WIDTH
    centroid = np.average(places, axis=1, weights=weight)
    values, vectors = np.linalg.eigh(np.cov(places, aweights=weight, ddof=0))
    assert body.centroid == pytest.approx(centroid, abs=1e-6)
    assert body.spread == pytest.approx(math.sqrt(values[1]), rel=1e-4)
    assert abs(np.dot(body.axis, vectors[:, 1])) == pytest.approx(1, abs=1e-6)
    along = np.array(body.axis) @ (places - centroid[:, None])
    assert body.skewness == pytest.approx(np.average(along**3, weights=weight) / values[1] ** 1.5, abs=1e-3)
    assert body.skewness * np.dot(body.axis, (math.cos(math.radians(200)), math.sin(math.radians(200)))) < 0
    marked = saliency > SalientOptions().threshold
    total = np.minimum(saliency, 20)[marked].sum()
    assert body.score == pytest.approx(np.minimum(saliency, 20)[marked & body.mask].sum() / total, rel=1e-4)


# --- options


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("share", 0.0),
        ("share", 1.5),
        ("share", math.nan),
        ("size", 63),
        ("threshold", 0.0),
        ("relative", -1.0),
        ("centre", math.inf),
        ("elongation", math.nan),
        ("head", -0.1),
        ("toward_centre", math.nan),
        ("away_from_tail", math.inf),
    ],
)
def test_a_wrong_option_is_told(name, value):
    with pytest.raises(ValueError, match=name):
        SalientOptions(**{name: value})


@pytest.mark.parametrize("side", [1, 383, 384, 767, 768, 1535, 1536, 3071, 3072, 5184])
def test_the_scale_leaves_enough_pixels(side):
    scale = choose_scale((10, side))
    assert scale == 1 or side / scale >= 384
    assert scale == 8 or side / (2 * scale) < 384


# --- real photographs


def test_the_floor_on_real_photographs():
    """Floors are a little below what photographs that took no part in the choice of options give."""
    if not (PHOTOGRAPHS / "heads.json").exists():
        pytest.skip(f"no photographs in {PHOTOGRAPHS}")
    heads, boxes = (json.loads((PHOTOGRAPHS / name).read_text()) for name in ("heads.json", "original_boxes.json"))
    floors = {0.08: 0.5, 0.10: 0.6, 0.15: 0.84, 0.20: 0.92, 0.30: 0.96}
    held, inside = dict.fromkeys(floors, 0), 0
    for name, (head,) in heads.items():
        shape = boxes[name]["height"], boxes[name]["width"]
        image = decode((PHOTOGRAPHS / name).read_bytes(), scale=choose_scale(shape))
        x, y, width, height = (head[side] for side in ("x", "y", "width", "height"))
        for share in floors:
            box = find_salient_region(image, SalientOptions(share=share), shape=shape).box
            held[share] += holds(box, (x, y, min(x + width, shape[1]), min(y + height, shape[0])))
            middle = x + width / 2, y + height / 2
            inside += share == 0.15 and holds(box, (*middle, *middle))
    assert {share: held[share] / len(heads) for share in floors if held[share] / len(heads) < floors[share]} == {}
    assert inside / len(heads) >= 0.96


# --- presence


@pytest.mark.parametrize("place", [(0.5, 0.5), (0.25, 0.3), (0.8, 0.75)])
@pytest.mark.parametrize("glare", [0.0, 1.0])
def test_presence_tells_a_drawn_animal_from_drawn_water(place, glare):
    for seed in range(3):
        there, gone = (draw(place=place, glare=glare, animal=a, seed=seed)[0] for a in (True, False))
        assert measure_presence(there) >= PRESENT > measure_presence(gone)
        assert measure_presence(there) == pytest.approx(measure_presence(there[::-1, ::-1]), abs=0.05)


def test_presence_is_what_its_formula_says():
    score, mass = weigh_body(draw()[0])
    evidence = score * mass**0.25
    assert measure_presence(draw()[0]) == evidence / (evidence + HALF)
    assert 0 < score <= 1
    assert 0 < mass < 20


def test_presence_is_hardly_of_the_size_of_the_image():
    image = draw(size=(1024, 1536))[0]
    small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    assert measure_presence(image) == pytest.approx(measure_presence(small), abs=0.02)


def test_where_nothing_differs_in_colour_presence_is_0():
    gray = draw()[0][:, :, :1].repeat(3, axis=2)
    for image in (gray, np.full((90, 120, 3), 70, np.uint8), draw()[0][:10], np.zeros((1, 1, 3), np.uint8)):
        assert measure_presence(image) == 0


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOGRAPHS.exists(), reason="no ../shared/data/whales")
def test_presence_of_real_whales_and_of_plain_water():
    table = (ROOT / "benchmarks/whales_waters.csv").read_text().splitlines()[1:]
    waters = [(name, *map(int, place)) for name, *place in (line.split(",") for line in table)]
    images = {path.name: decode(path.read_bytes()) for path in sorted(PHOTOGRAPHS.glob("w_*.jpg"))}
    assert sum(measure_presence(image) >= PRESENT for image in images.values()) >= len(images) - 1
    cuts = [images[name][y : y + height, x : x + width] for name, x, y, width, height in waters]
    assert sum(measure_presence(cut) >= PRESENT for cut in cuts) <= 2


def test_distances_are_rounded_in_one_way():
    """A sum of squares in one step for most pixels, in two for the rest, would depend on where an array lies."""
    differences = np.random.default_rng(0).standard_normal((107, 160, 2)).astype(np.float32)
    across, along = differences[..., 0], differences[..., 1]
    found = mahalanobis(differences, np.eye(2))
    np.testing.assert_array_equal(found, np.sqrt(across * across + along * along))


def test_distances_are_the_same_in_every_thread():
    differences = np.random.default_rng(5).normal(size=(200, 300, 2)).astype(np.float32)
    precision = np.array([[1.7, 0.3], [0.3, 0.9]])
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(mahalanobis, differences, precision).result()
    assert np.array_equal(mahalanobis(differences, precision), there)
    exact = np.sqrt(np.einsum("hwi,ij,hwj->hw", differences, precision, differences, dtype=np.float64))
    assert np.allclose(there, exact, rtol=1e-6)

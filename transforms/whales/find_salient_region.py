"""Find the animal in a photograph of open water: what is coloured unlike the water, and which end of it is the head.

Classical image processing on a small copy; `find_salient_region` says how, and docs/whales-saliency.md why.
"""

import dataclasses
import math
from typing import Any, Literal

import cv2
import numpy as np

from molino.transforms.compiled import compiler
from molino.transforms.whales.find_region import Mask, Region, check_image

cv2.setNumThreads(1)
_compiled = compiler()

# Lengths are in units of the image's longer side, distances of colour in standard deviations of the water.
SMALLEST = 16  # pixels of the shorter side of the working copy, below which there is no water to know
_BLUR = 0.004  # sigma: waves and grain are smaller
_WATER = 0.8  # the part of the pixels that is taken for water
_ROUNDS = 4  # of the water's fit
_GRAIN = 1.0  # standard deviation that the water has at least, in steps of 8-bit colour
_COARSE = 4  # the water is fitted, and the place sought, on a copy smaller by this
_CAP = 20.0  # a distance counts no more than this
_SPOT = 0.03  # sigma of the spot that is sought: a few hundredths of the side, about half a whale's breadth
_CLOSE = 0.02  # foam that parts an animal is narrower
# of the presence; the two numbers were chosen on real photographs: docs/whales-presence.md
PRESENCE_SIZE = 192  # pixels of the working copy's longer side
MASS_POWER = 0.25
HALF = 0.26  # evidence at which the presence is a half
PRESENT = 0.5  # from here on an animal is taken to be there


@dataclasses.dataclass(frozen=True, kw_only=True)
class SalientOptions:
    """Parameters of the method. All but the first two were chosen on real photographs: docs/whales-saliency.md."""

    share: float = 0.15  # the box's part of the image; 0.01 to 1. A larger one holds a smaller one, but for rounding
    size: int = 384  # pixels of the longer side of the working copy; a smaller image is taken as it is
    threshold: float = 3.0  # what is fewer standard deviations from the water than this is water
    relative: float = 0.3  # what is below this part of the spot's own distance is not of the animal either
    centre: float = 0.2  # sigma of the prior for the spot around the image's middle, in longer sides
    toward_centre: float = 12.0  # how much the image's middle draws the head, for each longer side along the body
    away_from_tail: float = 3.0  # how much the longer, thinner tail of the body, its skewness, drives it off
    head: float = 1.2  # from the body's centroid to the head's middle, in standard deviations along its axis
    elongation: float = 1.75  # of a box along a body that lies level or upright, in its direction

    def __post_init__(self) -> None:
        if not 0.01 <= self.share <= 1:
            raise ValueError(f"share {self.share} is not from 0.01 to 1")
        if not 64 <= self.size <= 4096:
            raise ValueError(f"size {self.size} is not from 64 to 4096")
        for name in ("threshold", "relative", "centre", "elongation"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)} is not above 0")
        for name in ("toward_centre", "away_from_tail", "head"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)} is negative or no number")


ANYWHERE = SalientOptions(centre=100.0, toward_centre=0.0)  # nobody aimed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Body:
    """An animal in the working copy. Places are (x, y) from the image's middle, in longer sides."""

    # centroid, spread, skewness: moments of the pixels, each weighted by the square of its distance from the water; the
    # spread is the standard deviation along the axis
    centroid: tuple[float, float]
    axis: tuple[float, float]  # unit vector of the longer principal axis; which way it points means nothing
    spread: float
    skewness: float
    mask: np.ndarray  # (height, width) bool, the animal's pixels, gaps closed
    marked: np.ndarray  # (height, width) bool, all pixels above the threshold
    regions: int  # number of separate ones in the image once gaps are closed, this one included
    score: float  # the part of the saliency of all marked pixels that lies in the mask


def find_salient_region(
    image: np.ndarray, options: SalientOptions = SalientOptions(), *, shape: tuple[int, int] | None = None
) -> Region:
    """Return where the animal in (height, width, 3) uint8, BGR, is, and a box around its head.

    The image may be decoded at a reduced size; `shape` is then the height and width of the whole one, to which the
    box and the mask refer.

    Of the result, `score` is the part of all that is unlike water that lies in this region: near 1 where it alone
    stands out, near 0 in mere water. `regions` and `marked` are of all, `mask` is the animal's alone. `box` has about
    `options.share` of the image, lies in it wholly, and is None where nothing differs from the water: one colour,
    shades of gray, or a shorter side below 16 pixels.

    The steps: `measure_saliency`, `find_body`, `place_box`.
    """
    check_image(image)
    height, width = shape or image.shape[:2]
    small = shrink(image, options.size)
    body = find_body(measure_saliency(small), options) if min(small.shape[:2]) >= SMALLEST else None
    if body is None:
        none = Mask(rows=np.array([0, height]), columns=np.array([0, width]), cells=np.zeros((1, 1), np.uint8))
        return Region(box=None, regions=0, white_pixels=0, score=0.0, marked=none, mask=none)
    marked = _enlarge(body.marked, height, width)
    parts = place_box(body, options)
    left, top, right, bottom = (round(part * side) for part, side in zip(parts, (width, height) * 2, strict=True))
    return Region(
        box=(left, top, max(right - left, 1), max(bottom - top, 1)),
        regions=body.regions,
        white_pixels=marked.area(),
        score=body.score,
        marked=marked,
        mask=_enlarge(body.mask, height, width),
    )


def measure_presence(image: np.ndarray) -> float:
    """Return a score from 0 to 1 of whether an animal is in (height, width, 3) uint8, BGR, at any size; no probability.

    Two things speak for an animal: that the likeliest body, wherever it is, has most of all that is unlike water; and
    that there is much of it. Their product, the second to a power, is the evidence, and the presence
    evidence / (evidence + half). It is 0 where nothing differs from the water in colour: in one colour, in shades of
    gray, or where a side is too short.
    """
    score, mass = weigh_body(image)
    evidence = score * mass**MASS_POWER
    return evidence / (evidence + HALF)


def weigh_body(image: np.ndarray) -> tuple[float, float]:
    """Return the likeliest body's `score` and its mass: the saliency in it, summed, per pixel of the image."""
    if max(image.shape[:2]) > 8 * PRESENCE_SIZE:  # means of 16 pixels each are as good, and of all take long
        image = shrink(image, 4 * PRESENCE_SIZE, cv2.INTER_NEAREST)
    small = shrink(image, PRESENCE_SIZE)
    if min(small.shape[:2]) < SMALLEST:
        return 0.0, 0.0
    saliency = measure_saliency(small)
    body = find_body(saliency, ANYWHERE)
    if body is None:
        return 0.0, 0.0
    mass = np.minimum(saliency, np.float32(_CAP))[body.mask].sum(dtype=np.float64)
    return body.score, float(mass) / saliency.size


def choose_scale(shape: tuple[int, int], options: SalientOptions = SalientOptions()) -> Literal[1, 2, 4, 8]:
    """Return by how much decoding may reduce an image of this height and width: 8, 4, 2, or 1 if it must not.

    >>> choose_scale((2048, 3072)), choose_scale((1648, 2464)), choose_scale((300, 200))
    (8, 4, 1)
    """
    scales: tuple[Literal[2, 4, 8], ...] = (8, 4, 2)
    return next((scale for scale in scales if max(shape) >= scale * options.size), 1)


# --- what is unlike water


def measure_saliency(image: np.ndarray) -> np.ndarray:
    """Return each pixel's distance from the water, in standard deviations of the water: (height, width) float32.

    Foam, glare and spouts are water mixed with white: in colour space they lie on the line from the water to white.
    So only the two dimensions across that line count. In them the water is a surface of second degree over the image,
    for the light's gradient, plus Gaussian noise, and the distance is Mahalanobis' (the RX anomaly detector). Surface
    and covariance are of the 0.8 of pixels that they fit best (multivariate least trimmed squares, by concentration).
    """
    height, width = image.shape[:2]
    coarse = cv2.resize(image, _coarse(height, width), interpolation=cv2.INTER_AREA)
    across = across_white(np.median(coarse.reshape(-1, 3), axis=0))
    colours = cv2.transform(image.astype(np.float32), across)
    colours = cv2.GaussianBlur(colours, (0, 0), max(0.5, _BLUR * max(height, width)))
    surface, precision = fit_water(cv2.resize(colours, _coarse(height, width), interpolation=cv2.INTER_AREA))
    return mahalanobis(_differences(colours, surface), precision)


def across_white(water: np.ndarray) -> np.ndarray:
    """Return (2, 3) float32: two unit vectors at right angles to each other and to the line from a colour to white."""
    line = 255.0 - water.astype(np.float64)
    length = np.linalg.norm(line)
    line = line / length if length > 1 else np.full(3, 3**-0.5)
    first = np.cross(line, np.eye(3)[np.argmin(line)])
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(line, first)]).astype(np.float32)


def fit_water(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the water's surface, (6, 2), and the inverse of its covariance, (2, 2), for (height, width, 2) colours."""
    last = math.ceil(_WATER * colours.shape[0] * colours.shape[1]) - 1
    # the start: what is nearest to the median colour
    far = np.abs(colours - np.median(colours, axis=(0, 1)))
    far = (far / (np.median(far, axis=(0, 1)) + _GRAIN)).max(axis=2)
    kept = far <= np.partition(far, last, axis=None)[last]
    # the covariance of a Gaussian's inner part, over that of the whole, in two dimensions (Croux and Haesbroeck 1999)
    cut = -2 * math.log(1 - _WATER)
    inner = (1 - (1 - _WATER) * (1 + cut / 2)) / _WATER
    for _ in range(_ROUNDS):
        squares, products = _sum_products(colours, kept)
        surface = np.linalg.solve(squares + 1e-6 * np.eye(6), products)
        differences = _differences(colours, surface)
        near = [part[kept] for part in cv2.split(differences)]
        scatter = np.array([[np.mean(one * other, dtype=np.float64) for other in near] for one in near])
        covariance = scatter / inner + _GRAIN**2 * np.eye(2)
        precision = np.linalg.inv(covariance)
        distance = mahalanobis(differences, precision)
        kept = distance <= np.partition(distance, last, axis=None)[last]
    return surface, precision


# Places in the surface's polynomial, 1, x, y, x^2, xy, y^2, run from -1 to 1 over the image.


@_compiled
def _sum_products(colours, kept):
    """Return the normal equations of the surface through the kept colours: (6, 6) and (6, 2)."""
    height, width = kept.shape
    squares, products, terms = np.zeros((6, 6)), np.zeros((6, 2)), np.ones(6)
    for i in range(height):
        y = (2 * i + 1) / height - 1
        for j in range(width):
            if kept[i, j]:
                x = (2 * j + 1) / width - 1
                terms[1], terms[2], terms[3], terms[4], terms[5] = x, y, x * x, x * y, y * y
                for p in range(6):
                    for q in range(p + 1):
                        squares[p, q] += terms[p] * terms[q]
                    products[p, 0] += terms[p] * colours[i, j, 0]
                    products[p, 1] += terms[p] * colours[i, j, 1]
    for p in range(6):
        for q in range(p):
            squares[q, p] = squares[p, q]
    return squares, products


@_compiled
def _differences(colours, surface):
    """Return how far each pixel's colours are from the surface: (height, width, 2) float32."""
    height, width = colours.shape[:2]
    differences = np.empty((height, width, 2), np.float32)
    for i in range(height):
        y = (2 * i + 1) / height - 1
        for k in range(2):
            constant = surface[0, k] + y * (surface[2, k] + y * surface[5, k])
            slope = surface[1, k] + y * surface[4, k]
            for j in range(width):
                x = (2 * j + 1) / width - 1
                differences[i, j, k] = colours[i, j, k] - (constant + x * (slope + x * surface[3, k]))
    return differences


def mahalanobis(differences: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Return Mahalanobis' distances, (height, width) float32: lengths where the water's deviation is 1 each way."""
    across, along = cv2.split(cv2.transform(differences, np.linalg.cholesky(precision).T))
    return np.sqrt(across * across + along * along)  # the last bits of cv2.magnitude depend on where the arrays lie


# --- the animal


def find_body(saliency: np.ndarray, options: SalientOptions) -> Body | None:
    """Return the animal in (height, width) float32 saliency; None where nothing reaches the threshold.

    The spot: where saliency, smoothed over a few hundredths of the side, times a broad Gaussian prior around the
    middle is largest. The threshold: a part of the distance at the spot, so that a strong animal is cut out closely
    and a faint one wholly. The region at the spot, after gaps are closed, is the body.
    """
    side = max(saliency.shape)
    capped = np.minimum(saliency, np.float32(_CAP))
    spot_x, spot_y = _find_spot(capped, options.centre)
    spot = _gaussian(saliency.shape, spot_x, spot_y, 2 * _SPOT)
    # of a disk with a radius of 1.5 sigma, the upper fifth
    top = float(np.quantile(saliency[spot >= math.exp(-(0.75**2) / 2)], 0.8))
    marked = (saliency > max(options.threshold, options.relative * top)).astype(np.uint8)
    size = int(_CLOSE * side) | 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    closed = cv2.morphologyEx(marked, cv2.MORPH_CLOSE, disk)
    count, labels = cv2.connectedComponents(closed, connectivity=8)
    some = closed > 0
    at_spot = np.bincount(labels[some], (capped * spot)[some], minlength=count)
    if count == 1 or not at_spot[1:].any():
        return None
    mask = labels == 1 + np.argmax(at_spot[1:])
    salient = np.where(saliency > options.threshold, capped, np.float32(0))
    total, inside = (float(values.sum(dtype=np.float64)) for values in (salient, salient[mask]))
    score = inside / total if total else 0.0
    return Body(**_moments(capped, mask), mask=mask, marked=marked > 0, regions=count - 1, score=score)


def _find_spot(saliency: np.ndarray, sigma: float) -> tuple[float, float]:
    height, width = saliency.shape
    coarse = cv2.resize(saliency, _coarse(height, width), interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(coarse, (0, 0), _SPOT * max(coarse.shape))
    i, j = np.unravel_index(np.argmax(smooth * _gaussian(smooth.shape, 0.0, 0.0, sigma)), smooth.shape)
    side = max(smooth.shape)
    return (j + 0.5 - smooth.shape[1] / 2) / side, (i + 0.5 - smooth.shape[0] / 2) / side


def _gaussian(shape: tuple[int, ...], x: float, y: float, sigma: float) -> np.ndarray:
    """Return (height, width) float32: a Gaussian around a place, 1 at its middle."""
    side = max(shape)
    down, across = (
        np.exp(-((((np.arange(count) + 0.5 - count / 2) / side - place) / sigma) ** 2) / 2).astype(np.float32)
        for count, place in zip(shape, (y, x), strict=True)
    )
    return down[:, None] * across


def _moments(saliency: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    """Return centroid, axis, spread and skewness of the masked pixels, as `Body` has them."""
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    weights = saliency[rows, columns].astype(np.float64) ** 2
    weights /= weights.sum()
    x, y = ((place + 0.5 - side / 2) / max(mask.shape) for place, side in ((columns, width), (rows, height)))
    centroid = float(np.sum(weights * x)), float(np.sum(weights * y))
    x, y = x - centroid[0], y - centroid[1]
    xx, xy, yy = (float(np.sum(weights * one * other)) for one, other in ((x, x), (x, y), (y, y)))
    angle = 0.5 * math.atan2(2 * xy, xx - yy)
    axis = math.cos(angle), math.sin(angle)
    along = x * axis[0] + y * axis[1]
    spread = math.sqrt(np.sum(weights * along * along))
    skewness = float(np.sum(weights * along * along * along)) / spread**3 if spread else 0.0
    return {"centroid": centroid, "axis": axis, "spread": spread, "skewness": skewness}


# --- the box


def place_box(body: Body, options: SalientOptions) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom, in parts of the image's width and height, of a box around the head.

    Evidence for one end of the axis: the image's middle lies that way, since who takes the picture aims at the head;
    and the body tapers the other way, toward the tail (its skewness). The box moves from the centroid to that end as
    far as the evidence goes, by its hyperbolic tangent, and is shifted into the image where it would stick out.
    """
    height, width = body.mask.shape
    side = max(height, width)
    (x, y), (along_x, along_y) = body.centroid, body.axis
    evidence = -options.toward_centre * (x * along_x + y * along_y) - options.away_from_tail * body.skewness
    step = options.head * body.spread * math.tanh(evidence)
    stretch = (options.elongation * abs(along_x) + abs(along_y)) / (abs(along_x) + options.elongation * abs(along_y))
    area = options.share * height * width / side**2
    across = min(math.sqrt(area * stretch), width / side)
    down = min(area / across, height / side)
    across = min(area / down, width / side)
    left, right = _span(x + step * along_x, across * side / width, side / width)
    top, bottom = _span(y + step * along_y, down * side / height, side / height)
    return left, top, right, bottom


def _span(middle: float, length: float, unit: float) -> tuple[float, float]:
    start = min(max(0.5 + middle * unit - length / 2, 0.0), max(1.0 - length, 0.0))
    return start, min(start + length, 1.0)


def _enlarge(marks: np.ndarray, height: int, width: int) -> Mask:
    rows, columns = (
        np.round(np.arange(count + 1) * side / count).astype(np.int64)
        for count, side in zip(marks.shape, (height, width), strict=True)
    )
    return Mask(rows=rows, columns=columns, cells=marks.astype(np.uint8) * 255)


def shrink(image: np.ndarray, size: int, interpolation: int = cv2.INTER_AREA) -> np.ndarray:
    """Return an image whose longer side has no more pixels than `size`."""
    height, width = image.shape[:2]
    if max(height, width) <= size:
        return image
    scale = size / max(height, width)
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, shape, interpolation=interpolation)


def _coarse(height: int, width: int) -> tuple[int, int]:
    """Return width and height of the coarse copy."""
    return max(1, round(width / _COARSE)), max(1, round(height / _COARSE))

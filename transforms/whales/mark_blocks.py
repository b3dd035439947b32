"""Mark the blocks of an image whose colours are unlike the whole image's: the recursion of the published method.

The image is cut in four at half its height and width. A part whose histogram's correlation with the whole image's is
below a threshold is marked; any other is cut in four again, until a side is too short. What is marked is exactly what
OpenCV's `cvtColor`, `calcHist` and `compareHist` would mark, with their quirks: a colour is a bin of hue, saturation
and value; a value of 255 is in no bin; and the mean in the correlation divides by `bins` squared, not cubed, since
`compareHist` takes the third axis of a histogram for channels.

Counting the blocks of every size would read each pixel once a level. Here it is read once: the smallest blocks have few
colours each, so that a histogram is a short list of bins and their pixels, and four lists are merged to that of the
block which the four are parts of.
"""

import functools
from typing import NamedTuple

import cv2
import numpy as np
from numba import float32, int32, uint64

from molino.transforms.compiled import compiler

BINS = 16  # by default, for which bins are numbered faster
EPSILON = float(np.finfo(np.float64).eps)  # compareHist takes a smaller product of variances for 0

_fast = compiler(error_model="numpy")


class Histograms(NamedTuple):
    """Histograms of blocks, row by row of them, each as the list of its bins and their pixels."""

    side: int  # rows of blocks, and columns of them
    starts: np.ndarray  # (side * side + 1,) int64, where each list begins, and the last ends
    # numbers, pixels: (n,) uint32, the number of a bin, and how many pixels of the block are in it
    numbers: np.ndarray
    pixels: np.ndarray


def halve(length: int, times: int) -> np.ndarray:
    """Return the edges of the parts of `length` halved `times` times: (2**times + 1,) int64.

    >>> halve(21, 2).tolist()
    [0, 5, 10, 15, 21]
    """
    edges = np.array([0, length], np.int64)
    for _ in range(times):
        halved = np.empty(2 * len(edges) - 1, np.int64)
        halved[::2], halved[1::2] = edges, edges[:-1] + np.diff(edges) // 2
        edges = halved
    return edges


@functools.lru_cache(maxsize=32)
def divide(height: int, width: int, smallest: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges of the smallest blocks of an image: as many rows as columns of them, a power of two."""
    rows, columns, times = halve(height, 0), halve(width, 0), 0
    while min(np.diff(rows).max(), np.diff(columns).max()) >= smallest:
        times += 1
        rows, columns = halve(height, times), halve(width, times)
    return rows, columns


def mark_blocks(
    image: np.ndarray, *, bins: int, threshold: float, smallest: int, shape: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (rows, columns, cells): the edges of a grid, and which of its cells are marked.

    `image` is (height, width, 3) uint8, BGR; `cells` is (len(rows) - 1, len(columns) - 1) uint8, 0 or 1. With a `shape`
    the image is taken for a reduced one of an image of that height and width, whose blocks are meant.

    With 16 bins the time is about 3 ns a pixel, else some 20. Memory: 8 bytes for each colour of each of the smallest
    blocks, of a photograph about one a pixel.
    """
    height, width = image.shape[:2]
    rows, columns = divide(*(shape or (height, width)), smallest)
    tops, lefts = _edges_inside(rows, height, smallest), _edges_inside(columns, width, smallest)
    held = count_blocks(image, tops, lefts, bins)
    whole = np.bincount(held.numbers, held.pixels, minlength=bins**3)
    whole = whole.astype(np.float32).astype(np.float64)  # the type of OpenCV's histograms
    found = []
    while held.side > 1:
        unlike, held = find_unlike(held, whole, bins, threshold)
        found.append(unlike)
    marked = np.zeros((1, 1), bool)
    for unlike in reversed(found):
        step = (len(rows) - 1) // len(marked)
        tall, wide = (np.diff(edges[::step]) >= smallest for edges in (rows, columns))
        above, divided = (each.repeat(2, axis=0).repeat(2, axis=1) for each in (marked, tall[:, None] & wide))
        marked = above | (divided & unlike)
    return rows, columns, marked.astype(np.uint8)


def _edges_inside(edges: np.ndarray, length: int, smallest: int) -> np.ndarray:
    """Return edges moved into an image of another length; where a part is not divided, its first half is all of it."""
    moved = edges * length // edges[-1]
    moved[1:-1:2] = np.where(np.diff(edges[::2]) >= smallest, moved[1:-1:2], moved[2::2])
    return moved


def count_blocks(image: np.ndarray, rows: np.ndarray, columns: np.ndarray, bins: int) -> Histograms:
    """Return the histograms of the blocks between edges; pixels that are in no bin are not in them."""
    side, width = len(rows) - 1, image.shape[1]
    numbers = np.empty(np.diff(rows).max() * width, np.min_scalar_type(bins**3))
    starts, held = np.zeros(side**2 + 1, np.int64), np.empty((2, image.size // 3), np.uint32)  # hardly any is used
    counts = np.zeros(bins**3 + 1, np.uint32)
    for row in range(side):
        strip = image[rows[row] : rows[row + 1]]
        number_bins(strip, bins, numbers)
        _count_row(numbers, len(strip), columns, counts, held, starts[row * side : (row + 1) * side + 1])
    return Histograms(side, starts, *held[:, : starts[-1]])


def number_bins(image: np.ndarray, bins: int, numbers: np.ndarray) -> None:
    """Write the number of each pixel's bin, one row after the other; bins ** 3 for none."""
    if bins == BINS:
        _number(np.ascontiguousarray(image).reshape(-1), numbers)
    elif image.size:
        none = bins**3
        place = np.floor(np.arange(256) * (bins / 255.0)).astype(np.uint32)  # calcHist with the range [0, 255)
        hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2HSV).reshape(-1, 3)
        parts = [np.where(place < bins, place * bins ** (2 - k), none)[hsv[:, k]] for k in range(3)]
        numbers[: len(hsv)] = np.minimum(sum(parts), none)


@_fast
def _number(colours, numbers):
    """Write the number of each pixel's bin, for 16 bins, of what cvtColor makes of its colour.

    OpenCV multiplies with reciprocals that are rounded to 1/4096. All numbers here are integers below 2**24, so float32
    holds them exactly, and the loop takes 8 or 16 pixels at once.
    """
    for i in range(colours.size // 3):
        blue, green, red = colours[3 * i], colours[3 * i + 1], colours[3 * i + 2]
        value = max(max(blue, green), red)
        span = float32(value) - float32(min(min(blue, green), red))
        b, g, r = float32(blue), float32(green), float32(red)
        saturation = span * np.rint(float32(1044480) / max(float32(value), float32(1))) + float32(2048)
        hue = r - g + float32(4) * span
        if value == green:
            hue = b - r + span + span
        if value == red:
            hue = g - b
        hue = hue * np.rint(float32(122880) / max(span, float32(1))) + float32(2048)
        if hue < 0:
            hue += float32(737280)
        h, s, v = int32(hue * float32(1 / 4096)), int32(saturation * float32(1 / 4096)), int32(value)
        number = (h >> int32(4)) << int32(8) | (s & int32(0xF0)) | (v >> int32(4))
        if s == 255 or v == 255:
            number = int32(BINS**3)
        numbers[i] = number


@_fast
def _count_row(numbers, height, columns, counts, held, starts):
    """Write the lists of a row of blocks, from the first of `starts` on, and the other starts.

    `counts` is of all bins and none, zero before and after.
    """
    bins, pixels = held
    width, first = uint64(columns[columns.size - 1]), uint64(starts[0])
    for j in range(columns.size - 1):
        last, across = first, uint64(columns[j + 1] - columns[j])
        for y in range(height):
            start = uint64(y) * width + uint64(columns[j])
            for x in range(across):
                number = uint64(numbers[start + uint64(x)])
                count = counts[number]
                bins[last] = number
                last += uint64(count == 0)  # without a branch, which none could foresee
                counts[number] = count + 1
        counts[counts.size - 1] = 0
        first = _write_list(bins, pixels, counts, first, last)
        starts[j + 1] = first


@_fast
def _write_list(bins, pixels, counts, first, last):
    """Write the counts of the bins that have one, set them to zero, and return where the list ends."""
    end = first
    for k in range(first, last):
        number = uint64(bins[k])
        bins[end], pixels[end] = number, counts[number]
        end += uint64(counts[number] > 0)
        counts[number] = 0
    return end


def find_unlike(blocks: Histograms, whole: np.ndarray, bins: int, threshold: float) -> tuple[np.ndarray, Histograms]:
    """Return which blocks' correlation is below the threshold, (side, side), and the histograms of four blocks each."""
    merged, half = np.empty((2, len(blocks.numbers)), np.uint32), blocks.side // 2
    starts, sums = np.zeros(half**2 + 1, np.int64), np.empty((3, blocks.side**2))
    _merge(blocks, np.zeros(bins**3, np.uint32), whole, merged, starts, sums)
    (pixels, product, square), scale = sums, 1.0 / bins**2  # the arithmetic of compareHist
    s1, s11 = whole.sum(), (whole * whole).sum()
    variances = (s11 - s1 * s1 * scale) * (square - pixels * pixels * scale)
    some = variances > EPSILON  # else the correlation is taken for 1, or is no number
    correlation = (product - s1 * pixels * scale) / np.sqrt(np.where(some, variances, 1))
    unlike = some & (correlation < threshold)
    return unlike.reshape(blocks.side, blocks.side), Histograms(half, starts, *merged[:, : starts[-1]])


@_fast
def _merge(held, counts, whole, merged, starts, sums):
    """Write the lists of four blocks each, and of each block the sums of pixels, products with `whole`, and squares."""
    bins, pixels = merged
    half, first = held.side // 2, uint64(0)
    for block in range(half * half):
        last, corner = first, 2 * (block // half * held.side + block % half)
        for place in (corner, corner + 1, corner + held.side, corner + held.side + 1):
            total = product = square = 0.0
            for k in range(uint64(held.starts[place]), uint64(held.starts[place + 1])):
                number, some = uint64(held.numbers[k]), held.pixels[k]
                bins[last] = number
                last += uint64(counts[number] == 0)
                counts[number] += some
                count = float(np.float32(some))
                total += count
                product += count * whole[number]
                square += count * count
            sums[0, place], sums[1, place], sums[2, place] = total, product, square
        first = _write_list(bins, pixels, counts, first, last)
        starts[block + 1] = first

"""Mark the blocks of an image whose colours are unlike the whole image's: the recursion of the published method.

The image is cut in four at half its height and width. A part whose histogram's correlation with the whole image's is
below a threshold is marked; any other is cut in four again, until a side is too short. What is marked is exactly what
OpenCV's `cvtColor`, `calcHist` and `compareHist` would mark, with their quirks: a colour is a bin of hue, saturation
and value; a value of 255 is in no bin; and the mean in the correlation divides by `bins` squared, not cubed, since
`compareHist` takes the third axis of a histogram for channels.

Counting every block bin by bin reads each pixel once a level. The fast way reads it once: it counts the histograms of
the smallest blocks and adds them up to the larger ones. So that they are small, only the commonest bins have a slot of
their own, and the others share some: the sums in the correlation are then known within bounds, and the correlation is
below the threshold, or not, or it may be either. In the last case the block is counted bin by bin.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from numba import float32, int32, int64, uint8, uint32, uint64

from molino.transforms.compiled import compiler

BLACK, WHITE, UNSURE = 0, 1, 2

BINS = 16  # what the fast way is for
NO_BIN = BINS**3
OWN = 64  # commonest bins, with a slot of their own; a power of 2
SLOTS = 96  # these, those that the other bins share, and the last for pixels in no bin
NOWHERE = SLOTS - 1
TABLES = 8  # neighbours are counted in different ones: a count cannot grow again until it is written
SAMPLE = 100_000  # pixels that tell which bins are the commonest
MOST_KEPT = 80 << 20  # bytes of histograms; beyond, they are counted twice and kept for one row of blocks at a time
EXACT_PIXELS = 1 << 26  # a quarter of it is the most that OpenCV's float32 histograms count exactly
MOST_PIXELS = 1 << 28  # and of this a sixteenth
EPSILON = float(np.finfo(np.float64).eps)  # compareHist takes a smaller product of variances for 0

_fast = compiler(error_model="numpy")
# a sum in any order: the terms are integers, or the result is used with a margin
_sums = compiler(error_model="numpy", fastmath={"reassoc"})


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


class Blocks(NamedTuple):
    """The blocks of all levels, from the whole image, level 0, down. Level l has 2**l rows and as many columns of them.

    Attributes:
      depth: number of the last level.
      rows, columns: edges of the blocks of level 0, of level 1 and so on, one after another: int64.
      tall, wide: whether the rows and the columns of blocks of each level, one level after another, are long enough to
        be divided: bool. Blocks of the last level whose parent is not both do not exist; they are parts of it.
    """

    depth: int
    rows: np.ndarray
    columns: np.ndarray
    tall: np.ndarray
    wide: np.ndarray


@functools.lru_cache(maxsize=32)
def divide(height: int, width: int, smallest: int) -> Blocks:
    """Return the blocks of an image. The sides of blocks of one level differ by 1 at most."""
    rows, columns = [halve(height, 0)], [halve(width, 0)]
    while min(np.diff(rows[-1]).max(), np.diff(columns[-1]).max()) >= smallest:
        rows.append(halve(height, len(rows)))
        columns.append(halve(width, len(columns)))
    tall, wide = ([np.diff(level) >= smallest for level in levels] for levels in (rows, columns))
    return Blocks(len(rows) - 1, *(np.concatenate(levels) for levels in (rows, columns, tall, wide)))


def mark_blocks(
    image: np.ndarray, *, bins: int, threshold: float, smallest: int, shape: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (rows, columns, cells): the edges of a grid, and which of its cells are marked.

    `image` is (height, width, 3) uint8, BGR; `cells` is (len(rows) - 1, len(columns) - 1) uint8, 0 or 1. With a `shape`
    the image is taken for a reduced one of an image of that height and width, whose blocks are meant.

    With 16 bins and up to 268 million pixels of usual sizes the time is about 2 ns a pixel, some 30 above 67
    million, and the memory 2 bytes a pixel, 90 MB at most; else some 100 ns.
    """
    height, width = image.shape[:2]
    colours = np.ascontiguousarray(image).reshape(-1)
    whole_blocks = divide(*(shape or (height, width)), smallest)
    depth, rows, columns, *_ = whole_blocks
    blocks = whole_blocks._replace(rows=rows * height // rows[1], columns=columns * width // columns[1])
    verdicts = np.full(first_block(depth + 1), UNSURE, np.uint8)
    verdicts[0] = BLACK
    whole = None
    if bins == BINS and 0 < threshold < 1 and depth and height * width <= MOST_PIXELS:
        whole = judge_blocks(colours, blocks, threshold, verdicts)
        if height * width > EXACT_PIXELS:
            verdicts[1:5] = UNSURE  # OpenCV rounds the counts of the first quarters: they are counted bin by bin
    places = bin_places(bins)
    if whole is None:
        whole = _count_whole(colours, width, places, bins**3)
    whole = whole.astype(np.float32).astype(np.float64)  # the type of OpenCV's histograms
    decide_blocks(colours, blocks, verdicts, whole, 1.0 / bins**2, threshold, places)
    last = slice(_first_edge(depth), None)
    return rows[last], columns[last], verdicts[first_block(depth) :].reshape(1 << depth, 1 << depth)


@_fast
def first_block(level):
    """Return the place of a level's first block where all levels' blocks stand one after another."""
    return ((1 << (2 * level)) - 1) // 3


@_fast
def _first_edge(level):
    """Return the place of a level's first edge where all levels' edges stand one after another."""
    return (1 << level) - 1 + level


# --- colours


@_fast
def _hue_saturation_value(blue, green, red):
    """Return what cvtColor makes of a colour: int32, hue below 180.

    OpenCV multiplies with reciprocals that are rounded to 1/4096. All numbers here are integers below 2**24, so float32
    holds them exactly, and a loop over pixels takes 8 or 16 of them at once.
    """
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
    return int32(hue * float32(1 / 4096)), int32(saturation * float32(1 / 4096)), int32(value)


@_fast
def number_bins(colours, numbers):
    """Write the number of each pixel's bin, for 16 bins."""
    for i in range(numbers.size):
        hue, saturation, value = _hue_saturation_value(colours[3 * i], colours[3 * i + 1], colours[3 * i + 2])
        number = (hue >> int32(4)) << int32(8) | (saturation & int32(0xF0)) | (value >> int32(4))
        if saturation == 255 or value == 255:
            number = int32(NO_BIN)
        numbers[i] = number


@_fast
def number_any_bins(colours, numbers, places):
    """Write the number of each pixel's bin; `places` is what each value of each channel adds to it, (3, 256) int32."""
    for i in range(numbers.size):
        hue, saturation, value = _hue_saturation_value(colours[3 * i], colours[3 * i + 1], colours[3 * i + 2])
        numbers[i] = min(places[0, hue] + places[1, saturation] + places[2, value], places[3, 0])


def bin_places(bins: int) -> np.ndarray:
    """Return what each value of hue, saturation and value adds to the number of a bin, and the number of no bin."""
    none = bins**3
    place = np.floor(np.arange(256) * (bins / 255.0)).astype(np.int32)  # calcHist with the range [0, 255)
    places = [np.where(place < bins, place * times, none) for times in (bins**2, bins, 1)]
    return np.stack([*places, np.full(256, none)]).astype(np.int32)


# --- counting bin by bin


@_fast
def _count(colours, width, block, places, buffers, counts, some_bins):
    """Add a block's pixels to `counts`; return how many bins are in `some_bins`. The last bin is for pixels in none."""
    (top, bottom, left, right), (pixels, numbers) = block, buffers
    none = counts.size - 1
    size = filled = 0
    for y in range(top, bottom):
        start, length = 3 * (y * width + left), 3 * (right - left)
        for i in range(length):
            pixels[filled + i] = colours[start + i]
        filled += length
        if filled + length > pixels.size or y + 1 == bottom:
            some = numbers[: filled // 3]
            if none == NO_BIN:
                number_bins(pixels[:filled], some)
            else:
                number_any_bins(pixels[:filled], some, places)
            filled = 0
            for i in range(some.size):
                number = uint64(some[i])
                count = counts[number]
                if count == 0:
                    some_bins[size] = number
                    size += 1
                counts[number] = count + 1
    return size


@_fast
def _buffers(width):
    """Return room for pixels and for their numbers, of one row at least."""
    size = max(width, 1024)
    return np.empty(3 * size, np.uint8), np.empty(size, np.int32)


@_fast
def _count_whole(colours, width, places, bins):
    """Return the pixels in each bin, (bins,) int64."""
    counts, some_bins = np.zeros(bins + 1, np.int64), np.empty(bins + 1, np.int64)
    _count(colours, width, (0, colours.size // (3 * width), 0, width), places, _buffers(width), counts, some_bins)
    return counts[:bins]


@_fast
def _is_unlike(pixels, product, square, s1, s11, scale, threshold):
    """Return whether the correlation is below the threshold, with the arithmetic of compareHist."""
    numerator = product - s1 * pixels * scale
    variances = (s11 - s1 * s1 * scale) * (square - pixels * pixels * scale)
    if abs(variances) <= EPSILON:
        return False  # it is taken for 1, and no threshold is above
    return variances > 0 and numerator / math.sqrt(variances) < threshold  # the root of less than 0 is no number


@_fast
def decide_blocks(colours, blocks, verdicts, whole, scale, threshold, places):
    """Make the verdicts final, from the whole image down: count the unsure blocks, hand down what is marked."""
    width = blocks.columns[1]
    buffers = _buffers(width)
    counts, some_bins = np.zeros(whole.size + 1, np.int64), np.empty(whole.size + 1, np.int64)
    s1, s11 = _sum(whole), _sum(whole * whole)
    for level in range(1, blocks.depth + 1):
        above, here = first_block(level - 1), first_block(level)
        parents = (1 << (level - 1)) - 1
        y, x = blocks.rows[_first_edge(level) :], blocks.columns[_first_edge(level) :]
        for i in range(1 << level):
            for j in range(1 << level):
                block = here + (i << level) + j
                if verdicts[above + ((i >> 1) << (level - 1)) + (j >> 1)] == WHITE:
                    verdicts[block] = WHITE
                elif not (blocks.tall[parents + (i >> 1)] and blocks.wide[parents + (j >> 1)]):
                    verdicts[block] = BLACK
                elif verdicts[block] == UNSURE:
                    place = (y[i], y[i + 1], x[j], x[j + 1])
                    size = _count(colours, width, place, places, buffers, counts, some_bins)
                    pixels = product = square = 0.0
                    for m in range(size):
                        number = some_bins[m]
                        if number < whole.size:
                            count = float(np.float32(counts[number]))
                            pixels += count
                            product += count * whole[number]
                            square += count * count
                        counts[number] = 0
                    unlike = _is_unlike(pixels, product, square, s1, s11, scale, threshold)
                    verdicts[block] = WHITE if unlike else BLACK


@_sums
def _sum(numbers):
    total = 0.0
    for number in numbers:
        total += number
    return total


# --- the fast way


class _Room(NamedTuple):
    """Where histograms are counted.

    Attributes:
      slots: of each bin, (4097,) uint8.
      numbers: of the bins of a row of blocks: uint16.
      tables: of the block at work: uint8.
      histograms: (rows of blocks that are kept, columns, SLOTS) uint8.
    """

    slots: np.ndarray
    numbers: np.ndarray
    tables: np.ndarray
    histograms: np.ndarray


def judge_blocks(colours: np.ndarray, blocks: Blocks, threshold: float, verdicts: np.ndarray) -> np.ndarray | None:
    """Write the verdicts that are sure; return the pixels of every bin, or None where this way is not for."""
    depth, rows, columns, *_ = blocks
    height, width = int(rows[1]), int(columns[1])
    parents = slice((1 << (depth - 1)) - 1, (1 << depth) - 1)
    if depth > 1 and blocks.tall[parents].mean() * blocks.wide[parents].mean() < 0.25:
        depth -= 1  # few blocks of the last level exist: they are counted bin by bin
    heights, widths = (np.diff(edges[_first_edge(depth) : _first_edge(depth + 1)]) for edges in (rows, columns))
    if heights.max() * widths.max() > 255:
        return None
    slots, commonest = _assign_slots(colours, height, width)
    kept = 1 << depth if (SLOTS << (2 * depth)) <= MOST_KEPT else 1
    room = _Room(
        slots=slots,
        numbers=np.empty(heights.max() * width, np.uint16),
        tables=np.zeros(TABLES * SLOTS, np.uint8),
        histograms=np.empty((kept, 1 << depth, SLOTS), np.uint8),
    )
    whole = np.zeros(NO_BIN + 1, np.uint32)
    blocks = blocks._replace(depth=depth)
    totals = _count_rows(colours, blocks, room, whole)
    whole[commonest] = totals[:OWN]
    whole = whole[:NO_BIN].astype(np.float32).astype(np.float64)
    s1, s11 = whole.sum(), (whole**2).sum()
    variance = s11 - s1 * s1 / BINS**2
    if variance > 1e-5 * s11:  # else the bounds would have to be wider than the margins below
        _compare_rows(colours, blocks, room, _slot_bounds(whole, slots), s1, threshold**2 * variance, verdicts)
    return whole


def _assign_slots(colours: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the slot of each bin, (4097,) uint8, and the bins of the first OWN slots.

    Bins that share a slot are about as common as each other. Looks at a sample of rows: a poor choice costs time and
    nothing else.
    """
    step = min(max(1, height * width // SAMPLE), height)
    sample = colours.reshape(height, -1)[step // 2 :: step].reshape(-1)
    numbers = np.empty(sample.size // 3, np.uint16)
    number_bins(sample, numbers)
    counts = np.bincount(numbers, minlength=NO_BIN + 1)[:NO_BIN]
    order = np.argsort((65535 - np.minimum(counts, 65535)).astype(np.uint16), kind="stable")  # sorts 16 bits faster
    slots = np.empty(NO_BIN + 1, np.uint8)
    slots[order[:OWN]] = np.arange(OWN)
    rest = np.cumsum(counts[order[OWN:]])
    slots[order[OWN:]] = OWN + np.minimum(rest * (NOWHERE - OWN) // max(rest[-1], 1), NOWHERE - OWN - 1)
    slots[NO_BIN] = NOWHERE
    return slots, order[:OWN]


def _slot_bounds(whole: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the most pixels of the bins of each slot in the whole image, (SLOTS,) float64 each."""
    some = np.flatnonzero(whole)
    low, high = np.full(SLOTS, np.inf), np.zeros(SLOTS)
    np.minimum.at(low, slots[some], whole[some])
    np.maximum.at(high, slots[some], whole[some])
    return np.where(high > 0, low, 0), high


@_fast
def _count_row(colours, top, bottom, columns, room, histograms, whole):
    """Write the histograms of a row of blocks; add the pixels of bins without a slot of their own to `whole`."""
    height, width = bottom - top, columns[columns.size - 1]
    slots, numbers, tables, _ = room
    number_bins(colours[3 * top * width : 3 * bottom * width], numbers[: height * width])
    line = uint64(width)
    for j in range(histograms.shape[0]):
        across = columns[j + 1] - columns[j]
        for y in range(0, height, 4):
            tall = min(height - y, 4)
            start = uint64(y * width + columns[j])
            for _ in range(across >> 1):
                every = uint64(0)
                for row in range(tall):
                    every |= _count_two(numbers, start + uint64(row) * line, slots, tables, 2 * row)
                if every & uint64(OWN):
                    _count_shared(numbers, start, line, tall, 2, slots, whole)
                start += uint64(2)
            if across & 1:
                for table in range(tall):
                    slot = uint64(slots[uint64(numbers[start + uint64(table) * line])])
                    tables[slot + uint64(2 * table * SLOTS)] += uint8(1)
                _count_shared(numbers, start, line, tall, 1, slots, whole)
        histogram = histograms[j]
        for k in range(SLOTS):
            total = uint8(0)
            for table in range(TABLES):
                total = uint8(total + tables[table * SLOTS + k])
            histogram[k] = total
        for k in range(TABLES * SLOTS):
            tables[k] = 0


@_fast
def _count_two(numbers, place, slots, tables, table):
    """Count two neighbours, each in a table of its own; return their slots, one or the other."""
    slot, other = uint64(slots[uint64(numbers[place])]), uint64(slots[uint64(numbers[place + uint64(1)])])
    tables[slot + uint64(table * SLOTS)] += uint8(1)
    tables[other + uint64((table + 1) * SLOTS)] += uint8(1)
    return slot | other


@_fast
def _count_shared(numbers, start, line, tall, across, slots, whole):
    """Add the pixels whose slot is shared to the counts of their bins; without a branch, which none could foresee."""
    for y in range(tall):
        for x in range(across):
            number = uint64(numbers[start + uint64(y) * line + uint64(x)])
            whole[number] += uint32(slots[number] >= OWN)


@_fast
def _edges(blocks):
    """Return the edges of the rows and columns of the blocks of the last level."""
    first, count = _first_edge(blocks.depth), (1 << blocks.depth) + 1
    return blocks.rows[first : first + count], blocks.columns[first : first + count]


@_fast
def _count_rows(colours, blocks, room, whole):
    """Write the histograms of all blocks of the last level; return the pixels of each slot."""
    rows, columns = _edges(blocks)
    totals = np.zeros(SLOTS, np.int64)
    for i in range(1 << blocks.depth):
        row = room.histograms[i % room.histograms.shape[0]]
        _count_row(colours, rows[i], rows[i + 1], columns, room, row, whole)
        total = np.zeros(SLOTS, np.uint32)
        for j in range(row.shape[0]):
            histogram = row[j]
            for k in range(SLOTS):
                total[k] += histogram[k]
        totals += total
    return totals


@_sums
def _sum_slots(histogram, low, high, pixels):
    """Return pixels; the least and most of the sum of weights; pixels in shared slots; sums of squares: own, shared.

    A pixel's weight is the number of pixels of its bin in the whole image, between `low` and `high` of its slot. Their
    type is that of the sums. `pixels` is the size of the block.
    """
    real = low.dtype.type
    own = square = least = real(0)
    for k in range(OWN):
        count = real(histogram[k])
        own += count
        square += count * count
        least += count * low[k]
    pixels -= histogram[NOWHERE]
    shared = pixels - int64(own)
    if shared == 0:
        return pixels, least, least, shared, square, real(0)
    squares = least = most = real(0)  # of all slots: a loop over some is too short to be done in large steps
    for k in range(SLOTS):
        count = real(histogram[k])
        squares += count * count
        least += count * low[k]
        most += count * high[k]
    nowhere = real(histogram[NOWHERE])
    return pixels, least, most, shared, square, squares - square - nowhere * nowhere


@_fast
def _put(sums, j, values):
    sums[0, j], sums[1, j], sums[2, j], sums[3, j], sums[4, j], sums[5, j] = values


@_fast
def _compare(sums, margin, s1, edge, verdicts):
    """Write the verdicts on a row of blocks, as far as their sums allow, (6, blocks) float64, exact to `margin`.

    The pixels in shared slots add their number to the sum of squares at least, and the sum of the slots' squares at
    most. `edge` is the threshold squared times the whole image's variance: the correlation is compared without root and
    division, and what is within 1e-9 of it is unsure.
    """
    for j in range(verdicts.size):
        pixels = sums[0, j]
        mean, expected = pixels * pixels * (1.0 / BINS**2), s1 * pixels * (1.0 / BINS**2)
        least, most = sums[1, j] * (1 - margin) - expected, sums[2, j] * (1 + margin) - expected
        low = (sums[4, j] + sums[3, j]) * (1 - margin) - mean
        high = (sums[4, j] + sums[5, j]) * (1 + margin) - mean
        black = (pixels == 0) | (high < 0) | ((least > 0) & (least * least > edge * high * (1 + 1e-9)))
        white = (low > mean * 1e-9) & ((most < 0) | (most * most < edge * low * (1 - 1e-9)))
        verdicts[j] = BLACK if black else WHITE if white else UNSURE


@_fast
def _compare_rows(colours, blocks, room, bounds, s1, edge, verdicts):
    """Write the verdicts on the blocks of a level and of those above, adding the histograms up row by row."""
    depth, (rows, columns), (low, high) = blocks.depth, _edges(blocks), bounds
    low32, high32 = low.astype(np.float32), high.astype(np.float32)
    upper = np.zeros((1 << depth, SLOTS), np.uint32)  # a row of each level above, one after another
    sums = np.empty((6, 1 << depth))
    unused = np.zeros(NO_BIN + 1, np.uint32)
    for i in range(1 << depth):
        row = room.histograms[i % room.histograms.shape[0]]
        if room.histograms.shape[0] == 1:
            _count_row(colours, rows[i], rows[i + 1], columns, room, row, unused)
        for j in range(1 << depth):
            pixels = (rows[i + 1] - rows[i]) * (columns[j + 1] - columns[j])
            _put(sums, j, _sum_slots(row[j], low32, high32, pixels))
        block, above = first_block(depth) + (i << depth), (1 << (depth - 1)) - 1
        _compare(sums, 1e-5, s1, edge, verdicts[block : block + (1 << depth)])
        for j in range(1 << (depth - 1)):
            left, right, total = row[2 * j], row[2 * j + 1], upper[above + j]
            for k in range(SLOTS):
                total[k] += uint32(left[k]) + uint32(right[k])
        level, y = depth, i
        while y & 1 and level > 1:  # the last row of blocks that are a row of the level above
            level, y = level - 1, y >> 1
            here, above, side = (1 << level) - 1, (1 << (level - 1)) - 1, 1 << (depth - level)
            for j in range(1 << level):
                histogram, total = upper[here + j], upper[above + (j >> 1)]
                pixels = rows[(y + 1) * side] - rows[y * side]
                pixels *= columns[(j + 1) * side] - columns[j * side]
                if level == depth - 1:  # at most 1020 pixels: their squares fit float32 as well
                    _put(sums, j, _sum_slots(histogram, low32, high32, pixels))
                else:
                    _put(sums, j, _sum_slots(histogram, low, high, pixels))
                for k in range(SLOTS):
                    total[k] += histogram[k]
                    histogram[k] = 0
            block = first_block(level) + (y << level)
            _compare(sums, 1e-5 if level == depth - 1 else 1e-12, s1, edge, verdicts[block : block + (1 << level)])

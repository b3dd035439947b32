"""Find the region of a photograph whose colours are unlike the rest: the published histogram method.

Blocks unlike the whole image are marked (`mark_blocks`), marks that hold no square of some size are cleared, and of the
regions that are left the one with the largest bounding rectangle is the find. Since marks are blocks, all this is done
on the grid of their edges, a few hundred rows and columns, with the same result as pixel by pixel.
"""

import dataclasses
from typing import Literal

import cv2
import numpy as np
from numba import njit

from transforms.decode_image import Header, decode
from transforms.mark_blocks import mark_blocks

FAST_PIXELS = 200_000  # least that a reduced image has

Box = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OriginalOptions:
    """Parameters of the method, with the published values.

    Attributes:
      bins: of the histogram, for each of hue, saturation and value; 1 to 64.
      threshold: a block is marked when its histogram's correlation with the whole image's is below it; -1 to 1.
      smallest: a block with a side of fewer pixels is not divided; 2 or more.
      kernel: side in pixels of the square that a mark must hold to stay; 1 or more.
    """

    bins: int = 16
    threshold: float = 0.25
    smallest: int = 10
    kernel: int = 40

    def __post_init__(self) -> None:
        if not 1 <= self.bins <= 64:
            raise ValueError(f"bins {self.bins} is not from 1 to 64")
        if self.smallest < 2:
            raise ValueError(f"smallest {self.smallest} is below 2")
        if self.kernel < 1:
            raise ValueError(f"kernel {self.kernel} is below 1")
        if not -1 < self.threshold < 1:
            raise ValueError(f"threshold {self.threshold} is not between -1 and 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mask:
    """Marked pixels, as the cells of a grid: `cells[i, j]` is for rows[i]:rows[i + 1] and columns[j]:columns[j + 1].

    Attributes:
      rows, columns: (n + 1,) int64, growing from 0 to the image's height and width.
      cells: (rows, columns) uint8, 0 or 255.
    """

    rows: np.ndarray
    columns: np.ndarray
    cells: np.ndarray

    @classmethod
    def of_pixels(cls, pixels: np.ndarray) -> "Mask":
        """Return a mask with a cell for each pixel of (height, width) uint8."""
        height, width = pixels.shape
        return cls(rows=np.arange(height + 1), columns=np.arange(width + 1), cells=pixels)

    def area(self) -> int:
        """Return the number of marked pixels."""
        return int(np.diff(self.rows) @ (self.cells > 0).astype(np.int64) @ np.diff(self.columns))

    def pixels(self) -> np.ndarray:
        """Return (height, width) uint8, 0 or 255."""
        return np.repeat(np.repeat(self.cells, np.diff(self.columns), axis=1), np.diff(self.rows), axis=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Region:
    """What was found in an image. All numbers are pixels of the image as displayed.

    Attributes:
      box: (x, y, width, height) of the region with the largest bounding rectangle; None where nothing is marked.
      regions: number of outer contours.
      white_pixels: number of marked pixels, before the small marks are cleared.
      score: share of the mask that lies in the box: 1 where there is one region, less the more are elsewhere; 0 where
        there is none.
      marked: the marked pixels.
      mask: what is left of them after the small marks are cleared; the regions are its parts.
    """

    box: Box | None
    regions: int
    white_pixels: int
    score: float
    marked: Mask
    mask: Mask


ORIGINAL = OriginalOptions()


def find_region_original(
    image: np.ndarray, options: OriginalOptions = ORIGINAL, *, shape: tuple[int, int] | None = None
) -> Region:
    """Return what the published program finds in (height, width, 3) uint8, BGR; exactly, at any size.

    With a `shape` the image is taken for a reduced one of an image of that height and width, in whose pixels the
    options and the find are.
    """
    rows, columns, cells = mark_blocks(
        image, bins=options.bins, threshold=options.threshold, smallest=options.smallest, shape=shape
    )
    marked = Mask(rows=rows, columns=columns, cells=cells * np.uint8(255))
    return _measure(marked, clear_small_marks(marked, options.kernel))


def find_region_fast(data: bytes, header: Header, options: OriginalOptions = ORIGINAL) -> Region:
    """Return about what `find_region_original` would, from an image decoded at a quarter or half of its sides.

    Blocks, clearing and box are those of the whole image; only the histograms are of fewer pixels, and mixed ones. The
    smallest blocks would have too few of them, so blocks are divided once less. An image of less than 800,000 pixels is
    decoded as it is, and the find is the original's.
    """
    pixels = header.width * header.height
    scale: Literal[1, 2, 4] = 4 if pixels >= 16 * FAST_PIXELS else 2 if pixels >= 4 * FAST_PIXELS else 1
    image = decode(data, scale=scale, max_pixels=pixels)
    if scale > 1:
        options = dataclasses.replace(options, smallest=2 * options.smallest)
    return find_region_original(image, options, shape=header.shape)


def clear_small_marks(mask: Mask, kernel: int) -> Mask:
    """Return what OpenCV's `erode` and then `dilate` with a square of `kernel` pixels leave of a mask.

    They keep the squares that fit into the marks, where pixels outside the image count as marked. With an even kernel
    they also move them by a pixel to the right and down, since both put the square's centre on the same side.
    """
    before, after = kernel // 2, kernel - 1 - kernel // 2  # pixels of the square on both sides of its centre
    rows, columns = (np.concatenate([[-before], edges, [edges[-1] + after]]) for edges in (mask.rows, mask.columns))
    cells = _keep_squares(rows, columns, np.pad(mask.cells, 1, constant_values=255), kernel)
    rows, columns = (
        np.clip(edges + before - after, 0, last) for edges, last in ((rows, mask.rows[-1]), (columns, mask.columns[-1]))
    )
    some = np.ix_(np.diff(rows) > 0, np.diff(columns) > 0)
    return Mask(rows=np.unique(rows), columns=np.unique(columns), cells=np.ascontiguousarray(cells[some]))


def draw_published(image: np.ndarray, region: Region) -> dict[str, bytes]:
    """Return the files that the published program writes, as JPEG: extract, mask, mask-areas, areas.

    They are equal byte for byte where OpenCV's encoder is. Without a box there are none.
    """
    if region.box is None:
        return {}
    areas, marks = image.copy(), region.mask.pixels()
    contours = _outer_contours(marks)
    boxes = [cv2.boundingRect(contour) for contour in contours]
    for x, y, width, height in boxes:
        cv2.rectangle(marks, (x - 10, y - 10), (x + width + 10, y + height + 10), (255, 255, 255), 2)
    x, y, width, height = region.box
    cut = np.s_[y : y + height, x : x + width]
    cv2.rectangle(areas, (x - 10, y - 10), (x + width + 10, y + height + 10), (0, 0, 255), 5)
    cv2.drawContours(areas, [contours[boxes.index(region.box)]], 0, (0, 255, 0), 5)
    pictures = {
        "extract": image[cut],
        "mask": marks[cut],
        "mask-areas": cv2.cvtColor(marks, cv2.COLOR_GRAY2BGR),
        "areas": areas,
    }
    return {name: cv2.imencode(".jpg", picture)[1].tobytes() for name, picture in pictures.items()}


def _measure(marked: Mask, mask: Mask) -> Region:
    """Return the largest box and the rest, given the marks before and after clearing."""
    rows, columns = mask.rows, mask.columns
    box, boxes = None, []
    for contour in _outer_contours(mask.cells):
        x, y, width, height = cv2.boundingRect(contour)
        left, top = int(columns[x]), int(rows[y])
        boxes.append((left, top, int(columns[x + width]) - left, int(rows[y + height]) - top))
    score = 0.0
    if boxes:
        box = max(boxes, key=lambda box: box[2] * box[3])  # the first of equals, as the published program
        inside = [
            (edges >= first) & (edges < first + size)
            for edges, first, size in ((rows, box[1], box[3]), (columns, box[0], box[2]))
        ]
        part = Mask(rows=rows, columns=columns, cells=mask.cells * np.outer(inside[0][:-1], inside[1][:-1]))
        score = part.area() / mask.area()
    return Region(box=box, regions=len(boxes), white_pixels=marked.area(), score=score, marked=marked, mask=mask)


def _outer_contours(marks: np.ndarray) -> list[np.ndarray]:
    return list(cv2.findContours(marks, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0])


@njit(cache=True, nogil=True)
def _keep_squares(rows, columns, cells, kernel):
    """Keep the cells that a marked rectangle covers of at least `kernel` pixels a side. Memory: a copy.

    Each cell of such a rectangle is in the least run of rows that is long enough and begins at the rectangle's first
    row, or in the least that is long enough and ends at the cell's own. In the rows of such a run that are marked in
    all of them, a run of columns is kept if it is long enough.
    """
    kept = np.zeros_like(cells)
    line = np.empty(cells.shape[1], np.uint8)
    first = 0
    for last in range(rows.size):  # runs of rows that end here
        while first + 1 < last and rows[last] - rows[first + 1] >= kernel:
            first += 1
        if last > first and rows[last] - rows[first] >= kernel:
            _keep_runs(columns, cells, kernel, first, last, line, kept)
    last = rows.size - 1
    for first in range(rows.size - 1, -1, -1):  # runs of rows that begin here
        while last - 1 > first and rows[last - 1] - rows[first] >= kernel:
            last -= 1
        if last > first and rows[last] - rows[first] >= kernel:
            _keep_runs(columns, cells, kernel, first, last, line, kept)
    return kept


@njit(cache=True, nogil=True)
def _keep_runs(columns, cells, kernel, first, last, line, kept):
    """Keep the columns marked in all rows from `first` to `last` where they stand side by side for `kernel` pixels."""
    line[:] = cells[first]
    for i in range(first + 1, last):
        row = cells[i]
        for j in range(line.size):
            line[j] &= row[j]
    j = 0
    while j < line.size:
        start = j
        while j < line.size and line[j]:
            j += 1
        if columns[j] - columns[start] < kernel:
            line[start:j] = 0
        j += 1
    for i in range(first, last):
        row = kept[i]
        for j in range(line.size):
            row[j] |= line[j]

"""Find the region of a photograph whose colours are unlike the rest: the published histogram method.

Blocks unlike the whole image are marked (`mark_blocks`), marks that hold no square of some size are cleared, and of the
regions that are left the one with the largest bounding rectangle is the find. Since marks are blocks, all this is done
on the grid of their edges, a few hundred rows and columns, with the same result as pixel by pixel.
"""

import dataclasses
from typing import Literal

import cv2
import numpy as np

from molino.transforms.compiled import compiler
from molino.transforms.images.decode import Header
from molino.transforms.whales.mark_blocks import mark_blocks

_compiled = compiler()

FAST_PIXELS = 200_000  # least that a reduced image has

Box = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OriginalOptions:
    """Parameters of the method, with the published values."""

    bins: int = 16  # of the histogram, for each of hue, saturation and value; 1 to 64
    threshold: float = 0.25  # a block with a lower correlation with the whole image is marked; -1 to 1
    smallest: int = 10  # a block with a side of fewer pixels is not divided; 2 or more
    kernel: int = 40  # side in pixels of the square that a mark must hold to stay; 1 or more

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
    """Marked pixels, as the cells of a grid: `cells[i, j]` is for rows[i]:rows[i + 1] and columns[j]:columns[j + 1]."""

    rows: np.ndarray  # (n + 1,) int64, growing from 0 to the image's height; columns likewise, to its width
    columns: np.ndarray
    cells: np.ndarray  # (rows, columns) uint8, 0 or 255

    def area(self) -> int:
        """Return the number of marked pixels."""
        return int(np.diff(self.rows) @ self.cells.astype(np.float64) @ np.diff(self.columns)) // 255

    def pixels(self) -> np.ndarray:
        """Return (height, width) uint8, 0 or 255."""
        return np.repeat(np.repeat(self.cells, np.diff(self.columns), axis=1), np.diff(self.rows), axis=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Region:
    """What was found in an image. All numbers are pixels of the image as displayed."""

    box: Box | None  # (x, y, width, height) of the largest bounding rectangle; None where nothing is marked
    regions: int  # number of outer contours
    white_pixels: int  # number of marked pixels, before the small marks are cleared
    score: float  # share of the mask that lies in the box: 1 with one region, less the more are elsewhere, 0 with none
    marked: Mask
    mask: Mask  # what is left of the marks after the small ones are cleared; the regions are its parts


ORIGINAL = OriginalOptions()


def find_region_original(
    image: np.ndarray, options: OriginalOptions = ORIGINAL, *, shape: tuple[int, int] | None = None
) -> Region:
    """Return what the published program finds in (height, width, 3) uint8, BGR; exactly, at any size.

    With a `shape` the image is taken for a reduced one of an image of that height and width, in whose pixels the
    options and the find are.
    """
    check_image(image)
    rows, columns, cells = mark_blocks(
        image, bins=options.bins, threshold=options.threshold, smallest=options.smallest, shape=shape
    )
    marked = Mask(rows=rows, columns=columns, cells=cells * np.uint8(255))
    return _measure(marked, clear_small_marks(marked, options.kernel))


def check_image(image: object) -> None:
    """Raise ValueError unless an image is (height, width, 3) uint8, and has pixels."""
    shape: tuple[int, ...] = getattr(image, "shape", ())
    dtype = getattr(image, "dtype", None)
    if len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype != np.uint8:
        told = f"{dtype} {shape}" if shape else type(image).__name__
        raise ValueError(f"an image is (height, width, 3) uint8, blue first, as OpenCV reads it; this is {told}")


def reduction(header: Header, options: OriginalOptions) -> tuple[Literal[1, 2, 4], OriginalOptions]:
    """Return the scale at which the fast way decodes an image, and the options that it then takes.

    The smallest blocks of a reduced image would have too few pixels, so blocks are divided once less. An image of less
    than 800,000 pixels is decoded as it is, and the find is the original's.
    """
    pixels = header.width * header.height
    scale: Literal[1, 2, 4] = 4 if pixels >= 16 * FAST_PIXELS else 2 if pixels >= 4 * FAST_PIXELS else 1
    return scale, options if scale == 1 else dataclasses.replace(options, smallest=2 * options.smallest)


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
    i, j = np.flatnonzero(np.diff(rows)), np.flatnonzero(np.diff(columns))  # what was moved out is left out
    cells = np.ascontiguousarray(cells[i[0] : i[-1] + 1, j[0] : j[-1] + 1])
    return Mask(rows=rows[i[0] : i[-1] + 2], columns=columns[j[0] : j[-1] + 2], cells=cells)


def draw_published(image: np.ndarray, region: Region) -> dict[str, bytes]:
    """Return the published program's JPEGs, equal byte for byte where OpenCV's encoder is; none without a box."""
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
    rows, columns, cells = mask.rows, mask.columns, mask.cells
    box, boxes, score = None, [], 0.0
    for contour in _outer_contours(cells):
        x, y, width, height = cv2.boundingRect(contour)
        left, top = int(columns[x]), int(rows[y])
        boxes.append((left, top, int(columns[x + width]) - left, int(rows[y + height]) - top))
    if boxes:
        box = max(boxes, key=lambda box: box[2] * box[3])  # the first of equals, as the published program
        top, bottom = np.searchsorted(rows, (box[1], box[1] + box[3]))
        left, right = np.searchsorted(columns, (box[0], box[0] + box[2]))
        inside = Mask(
            rows=rows[top : bottom + 1], columns=columns[left : right + 1], cells=cells[top:bottom, left:right]
        )
        score = inside.area() / mask.area()
    return Region(box=box, regions=len(boxes), white_pixels=marked.area(), score=score, marked=marked, mask=mask)


def _outer_contours(marks: np.ndarray) -> list[np.ndarray]:
    return list(cv2.findContours(marks, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0])


@_compiled
def _keep_squares(rows, columns, cells, kernel):
    """Keep the cells that a marked rectangle of at least `kernel` pixels a side covers.

    Such a cell lies in the shortest run of rows that is long enough and ends where the cell does, or if that begins
    above the rectangle, in the shortest that is long enough and begins where the rectangle does. Either is within the
    rectangle. Of the columns that are marked in all rows of a run, those are kept that stand side by side far enough.
    """
    kept = np.zeros_like(cells)
    line = np.empty(cells.shape[1], np.uint8)
    first = 0
    for last in range(1, rows.size):
        while rows[last] - rows[first + 1] >= kernel and first + 1 < last:
            first += 1
        if rows[last] - rows[first] >= kernel:
            _keep_runs(columns, cells, kernel, first, last, line, kept)
    last = rows.size - 1
    for first in range(rows.size - 2, -1, -1):
        while rows[last - 1] - rows[first] >= kernel and last - 1 > first:
            last -= 1
        if rows[last] - rows[first] >= kernel:
            _keep_runs(columns, cells, kernel, first, last, line, kept)
    return kept


@_compiled
def _keep_runs(columns, cells, kernel, first, last, line, kept):
    """Keep the columns marked in all rows from `first` to `last` where they stand side by side for `kernel` pixels."""
    some = np.uint8(0)
    for j in range(line.size):
        line[j] = 255
    for i in range(first, last):
        row = cells[i]
        for j in range(line.size):
            line[j] = np.uint8(line[j] & row[j])
    for j in range(line.size):
        some = np.uint8(some | line[j])
    if not some:
        return
    j = 0
    while j < line.size:
        start = j
        while j < line.size and line[j]:
            j += 1
        if columns[j] - columns[start] >= kernel:
            for i in range(first, last):
                kept[i, start:j] = 255
        j += 1

"""Find the region of a photograph whose colours are unlike the rest: the published histogram method."""

import dataclasses
import math

import cv2
import numpy as np
from numba import njit

from transforms.decode_image import Header, decode

Box = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OriginalOptions:
    """Parameters of the method, with the published values.

    Attributes:
      bins: of the histogram, for each of hue, saturation and value; 1 to 64.
      threshold: a block is marked when its histogram's correlation with the whole image's is below it.
      smallest: a block with a side of fewer pixels is not divided.
      kernel: side in pixels of the square that a mark must hold to stay.
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
        if not math.isfinite(self.threshold):
            raise ValueError(f"threshold {self.threshold} is no number")


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


def find_region_original(image: np.ndarray, options: OriginalOptions = OriginalOptions()) -> Region:  # noqa: B008
    """Return what the published program finds in (height, width, 3) uint8, BGR."""
    marked = _mark(image, options)
    kernel = np.ones((options.kernel, options.kernel), np.uint8)
    return _region(Mask.of_pixels(marked), Mask.of_pixels(cv2.dilate(cv2.erode(marked, kernel), kernel)))


def find_region_fast(data: bytes, header: Header, options: OriginalOptions = OriginalOptions()) -> Region:  # noqa: B008
    """Return about what `find_region_original` would, from an image decoded at a reduced size."""
    scale = 2
    small = decode(data, scale=scale, max_pixels=header.width * header.height)
    found = find_region_original(
        small,
        dataclasses.replace(
            options, smallest=max(2, round(options.smallest / scale)), kernel=max(1, round(options.kernel / scale))
        ),
    )
    return _enlarge(found, header.shape, scale)


def draw_published(image: np.ndarray, region: Region) -> dict[str, bytes]:
    """Return the files extract, mask, mask-areas and areas of the published program, as JPEG; none without a box."""
    if region.box is None:
        return {}
    areas, marks = image.copy(), region.mask.pixels()
    contours = _contours(marks)
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


def _contours(marks: np.ndarray) -> list[np.ndarray]:
    return list(cv2.findContours(marks, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0])


def _region(marked: Mask, mask: Mask) -> Region:
    rows, columns, cells = mask.rows, mask.columns, mask.cells
    boxes = []
    for contour in _contours(cells):
        x, y, width, height = cv2.boundingRect(contour)
        left, top = int(columns[x]), int(rows[y])
        boxes.append((left, top, int(columns[x + width]) - left, int(rows[y + height]) - top))
    box = max(boxes, key=lambda box: box[2] * box[3], default=None)
    area = _areas(mask)
    score = 0.0
    if box:
        x, y, width, height = box
        i, k = np.searchsorted(rows, (y, y + height))
        j, m = np.searchsorted(columns, (x, x + width))
        score = int(area[i:k, j:m].sum()) / int(area.sum())
    white = int(_areas(marked).sum())
    return Region(box=box, regions=len(boxes), white_pixels=white, score=score, marked=marked, mask=mask)


def _areas(mask: Mask) -> np.ndarray:
    """Return the pixels of each marked cell: int64, 0 where a cell is not marked."""
    return np.outer(np.diff(mask.rows), np.diff(mask.columns)) * (mask.cells > 0)


def _enlarge(region: Region, shape: tuple[int, int], scale: int) -> Region:
    return _region(_enlarge_mask(region.marked, shape, scale), _enlarge_mask(region.mask, shape, scale))


def _enlarge_mask(mask: Mask, shape: tuple[int, int], scale: int) -> Mask:
    rows, columns = np.minimum(mask.rows * scale, shape[0]), np.minimum(mask.columns * scale, shape[1])
    return Mask(rows=rows, columns=columns, cells=mask.cells)


# --- the plain way, for any options


def _mark(image: np.ndarray, options: OriginalOptions) -> np.ndarray:
    height, width = image.shape[:2]
    bins = options.bins
    # as cv2.calcHist with the range [0, 255): a value of 255 is in no bin
    places = np.floor(np.arange(256) * (bins / 255.0)).astype(np.int32)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    marked = np.zeros((height, width), np.uint8)
    index = np.empty((height, width), np.int32)
    _index(hsv, places, bins, index)
    whole = np.zeros(bins**3 + 1, np.int64)
    _mark_blocks(index, whole, bins * bins, options.threshold, options.smallest, marked)
    return marked


@njit(cache=True, nogil=True)
def _index(hsv, places, bins, index):
    for y in range(hsv.shape[0]):
        for x in range(hsv.shape[1]):
            h, s, v = hsv[y, x]
            if h == 255 or s == 255 or v == 255:
                index[y, x] = bins**3
            else:
                index[y, x] = (places[h] * bins + places[s]) * bins + places[v]


@njit(cache=True, nogil=True)
def _mark_blocks(index, whole, total, threshold, smallest, marked):
    height, width = index.shape
    none = whole.shape[0] - 1
    for y in range(height):
        for x in range(width):
            whole[index[y, x]] += 1
    s1 = s11 = 0.0
    base = np.empty(none + 1, np.float64)
    for k in range(none):
        base[k] = np.float32(whole[k])
        s1 += base[k]
        s11 += base[k] * base[k]
    count = np.zeros(none + 1, np.int64)
    stack = [(0, height, 0, width)]
    while len(stack):
        top, bottom, left, right = stack.pop()
        if bottom - top < smallest or right - left < smallest:
            continue
        y, x = top + (bottom - top) // 2, left + (right - left) // 2
        for a, b, c, d in ((top, y, left, x), (top, y, x, right), (y, bottom, left, x), (y, bottom, x, right)):
            for i in range(a, b):
                for j in range(c, d):
                    count[index[i, j]] += 1
            s2 = s22 = s12 = 0.0
            for i in range(a, b):
                for j in range(c, d):
                    k = index[i, j]
                    if k != none and count[k]:
                        n = float(np.float32(count[k]))
                        s2 += n
                        s22 += n * n
                        s12 += n * base[k]
                    count[k] = 0
            num = s12 - s1 * s2 / total
            denom2 = (s11 - s1 * s1 / total) * (s22 - s2 * s2 / total)
            eps = 2.220446049250313e-16
            if denom2 > eps:
                white = num / math.sqrt(denom2) < threshold
            else:
                white = denom2 >= -eps and threshold > 1
            if white:
                marked[a:b, c:d] = 255
            else:
                stack.append((a, b, c, d))

"""What is kept of an image: the crop, a square of fixed size, the mask in runs, a thumbnail."""

import numpy as np

from molino.transforms.images.encode import encode_jpeg, resize
from molino.transforms.whales.find_region import Box, Mask, Region

THUMBNAIL = 288  # pixels of the longer side at most
THUMBNAIL_QUALITY = 72
BOX_COLOUR, MASK_COLOUR = (40, 40, 255), (60, 230, 255)  # BGR


def crop(image: np.ndarray, box: Box) -> np.ndarray:
    """Return the pixels inside a box."""
    x, y, width, height = box
    return image[y : y + height, x : x + width]


def crop_square(image: np.ndarray, box: Box, side: int) -> np.ndarray:
    """Return the square around a box as `(side, side, 3) uint8` RGB.

    The square is as wide as the box's longer side and has its centre, but is moved into the image. Where the image is
    too small for it, what lies outside is black.
    """
    x, y, width, height = box
    reach = max(width, height)
    rows, columns = image.shape[:2]
    left = min(max(x + (width - reach) // 2, 0), max(columns - reach, 0))
    top = min(max(y + (height - reach) // 2, 0), max(rows - reach, 0))
    part = image[top : top + reach, left : left + reach]
    if part.shape[:2] != (reach, reach):
        square = np.zeros((reach, reach, 3), np.uint8)
        up, before = (reach - part.shape[0]) // 2, (reach - part.shape[1]) // 2
        square[up : up + part.shape[0], before : before + part.shape[1]] = part
        part = square
    return np.ascontiguousarray(resize(part, side, side)[:, :, ::-1])


def mask_runs(mask: np.ndarray) -> np.ndarray:
    """Return the lengths of the runs of a mask, row after row, int32; the first is of zeros, and may be 0.

    >>> mask_runs(np.array([[255, 255, 0], [0, 0, 255]], np.uint8)).tolist()
    [0, 2, 3, 1]
    """
    marked = mask.reshape(-1) != 0
    changes = np.flatnonzero(marked[1:] != marked[:-1]) + 1
    edges = [0, *([0] if len(marked) and marked[0] else []), *changes, len(marked)]
    return np.diff(edges).astype(np.int32)


def draw_thumbnail(image: np.ndarray, region: Region, shape: tuple[int, int]) -> bytes:
    """Return a small JPEG of an image, which may be reduced, with the region of its full size, `shape`, drawn on it."""
    small = _shrink(image, -(-max(image.shape[:2]) // THUMBNAIL))
    height, width = small.shape[:2]
    marked = _sample(region.mask, shape, height, width)
    edge = marked.copy()
    edge[1:-1, 1:-1] &= ~(marked[:-2, 1:-1] & marked[2:, 1:-1] & marked[1:-1, :-2] & marked[1:-1, 2:])
    small[edge] = MASK_COLOUR
    if region.box is not None:
        x, y, w, h = region.box
        left, right = (min(round(v * width / shape[1]), width) for v in (x, x + w))
        top, bottom = (min(round(v * height / shape[0]), height) for v in (y, y + h))
        frame = np.zeros((height, width), bool)
        frame[top:bottom, left:right] = True
        frame[top + 2 : bottom - 2, left + 2 : right - 2] = False
        small[frame] = BOX_COLOUR
    return encode_jpeg(small, quality=THUMBNAIL_QUALITY)


def _shrink(image: np.ndarray, times: int) -> np.ndarray:
    """Return an image at a part of its sides, as means of 4 or 9 pixels of each square of pixels.

    That looks like the mean of all, which takes as long as decoding; and OpenCV is fast at whole numbers only.
    """
    if times == 1:
        return image.copy()
    step, factor = (1, 3) if times == 3 else (-(-times // 2), 2)
    few = np.ascontiguousarray(image[::step, ::step])
    height, width = (max(1, side // factor) for side in few.shape[:2])
    return resize(few[: height * factor, : width * factor], width, height)


def _sample(mask: Mask, shape: tuple[int, int], height: int, width: int) -> np.ndarray:
    """Return the mask at the middle of each pixel of a smaller picture, as `(height, width) bool`."""
    rows, columns = (
        np.searchsorted(edges, (np.arange(many) * 2 + 1) * side // (2 * many), "right") - 1
        for edges, many, side in ((mask.rows, height, shape[0]), (mask.columns, width, shape[1]))
    )
    return mask.cells[rows][:, columns] != 0

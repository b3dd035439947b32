"""Pixels to files, and the few operations on pixels that samples, crops and reports share."""

import cv2
import numpy as np

JPEG_SIDE = 65_500  # pixels; libjpeg writes no more


def encode_jpeg(image: np.ndarray, *, quality: int) -> bytes:
    """Return a `(h, w, 3) uint8` BGR image as JPEG, colours at half resolution."""
    return _encode(".jpg", image, cv2.IMWRITE_JPEG_QUALITY, quality)


def encode_png(image: np.ndarray) -> bytes:
    """Return a `(h, w) uint8` gray or `(h, w, 3)` BGR image as PNG."""
    return _encode(".png", image, cv2.IMWRITE_PNG_COMPRESSION, 1)


def encode_mask(mask: np.ndarray) -> bytes:
    """Return a `(h, w) uint8` mask of 0 and 255 as PNG of one bit a pixel: an eighth to pack of what gray has."""
    return _encode(".png", mask, cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_BILEVEL, 1)


def _encode(kind: str, image: np.ndarray, *options: int) -> bytes:
    done, encoded = cv2.imencode(kind, image, options)
    if not done:
        raise ValueError(f"OpenCV could not write {kind} of shape {image.shape}")
    return encoded.tobytes()


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return an image of another size: means of areas where it shrinks, a cubic spline where it grows."""
    shrinks = width <= image.shape[1] and height <= image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def rotate(image: np.ndarray, degrees: float, width: int, height: int) -> np.ndarray:
    """Return the middle of an image, turned about its centre, as an image of `width` and `height`."""
    matrix = cv2.getRotationMatrix2D((image.shape[1] / 2, image.shape[0] / 2), degrees, 1.0)
    matrix[:, 2] += width / 2 - image.shape[1] / 2, height / 2 - image.shape[0] / 2
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)

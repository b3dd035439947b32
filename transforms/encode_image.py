"""Pixels to files, and the few operations on pixels that samples, crops and reports share."""

import cv2
import numpy as np
import simplejpeg


def encode_jpeg(image: np.ndarray, *, quality: int) -> bytes:
    """Return a `(h, w, 3) uint8` BGR or `(h, w, 1)` gray image as JPEG, colours at half resolution."""
    if image.shape[2] == 1:
        return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorspace="GRAY")
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=quality, colorspace="BGR", colorsubsampling="420"
    )


def encode_png(image: np.ndarray) -> bytes:
    """Return a `(h, w) uint8` gray or `(h, w, 3)` BGR image as PNG."""
    done, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise ValueError(f"OpenCV could not write a PNG of shape {image.shape}")
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

"""By Pillow: the headers of what is neither JPEG nor PNG, and the pixels of what OpenCV cannot decode, or not so well.

Pillow is kept from printing, from settings of the process that it runs in, and from reading more tags of a TIFF than a
photograph has: those of a file may overlap, and unpack to a thousand times its size. One thread at a time is in here.
"""

import contextlib
import importlib
import io
import re
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from molino.quiet import no_stderr
from molino.transforms.images.exif import first_numbers, read_orientation
from molino.transforms.images.kinds import NOT_READ, Header, ImageError, Kind, recognize

OTHERS = ("avif", "heif")  # OpenCV knows no HEIC, and takes twice the memory for AVIF
PACKED = (34925, 50000, 50001)  # lzma, zstd and WebP in a TIFF, which OpenCV does not know
MOST_TAGS = 4 << 20  # bytes; before them come all that say how the pixels are stored
SETTINGS: tuple[tuple[Any, str, bool | None], ...] = (
    (Image, "MAX_IMAGE_PIXELS", None),  # --max-pixels is asked before
    (ImageFile, "LOAD_TRUNCATED_IMAGES", False),
    (TiffImagePlugin, "READ_LIBTIFF", True),  # else it lists every strip
)
MODES: dict[str, Literal["gray", "cmyk", "alpha"]] = {
    **dict.fromkeys(("1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N"), "gray"),
    **dict.fromkeys(("RGBA", "RGBa"), "alpha"),
    "CMYK": "cmyk",
}
STRANGE = ("I", "F", "LAB")  # modes without 8 bits of colour
SUBFILE, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, DNG = 254, 258, 259, 262, 274, 50706  # tags of TIFF
SENSOR = (32803, 34892)  # photometric interpretations of raw files
_STRIP = 64  # rows


class _Bytes(io.BytesIO):
    """The bytes of a file, of which only so many are read in pieces."""

    left = MOST_TAGS

    def read(self, size: int | None = -1, /) -> bytes:
        part = super().read(size)
        self.left -= len(part) if size and size > 0 else 0
        if self.left < 0:
            raise OSError("too many tags")
        return part


@contextlib.contextmanager
def _opened(data: bytes, kind: Kind, wrong: str) -> Iterator[Any]:
    """Give Pillow's image of a file; a fault in the block is an ImageError, of this reason where it says no other."""
    module, name = kind.opener.split(":")
    try:
        opener = getattr(importlib.import_module(module), name)
    except ImportError:
        raise ImageError(NOT_READ, str(kind)) from None
    with no_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = [getattr(owner, setting) for owner, setting, _ in SETTINGS]
        try:
            for owner, setting, value in SETTINGS:
                setattr(owner, setting, value)
            yield opener(_Bytes(data))
        except (ImageError, MemoryError):
            raise
        except Exception as error:  # it raises whatever a damaged file leads it into
            raise ImageError(_reason(str(error), wrong), f"{kind.name}: {error}"[:80]) from None
        finally:
            for (owner, setting, _), value in zip(SETTINGS, kept, strict=True):
                setattr(owner, setting, value)


def _reason(text: str, otherwise: str) -> str:
    if re.search("(?i)truncat|end of file|eof|data is too short", text):
        return "truncated"
    return NOT_READ if re.search(r"(?i)unknown|unsupported|not supported|^\d+$", text) else otherwise


def read_other_header(data: bytes) -> Header:
    """Return the header of a file of a kind that has an opener.

    ImageError: it is bad, of a raw file, or of no 8 or 16 bits of gray or colour; or a package is not there.
    """
    kind = recognize(data)
    if kind.name == "tiff":
        numbers = first_numbers(data, (SUBFILE, PHOTOMETRIC, DNG))
        if DNG in numbers:
            raise ImageError(NOT_READ, "raw (DNG); save it as TIFF or JPEG")
        if numbers.get(PHOTOMETRIC) in SENSOR or numbers.get(SUBFILE, 0) & 1:  # the sensor's, or a small preview
            told = "raw (NEF, ARW ...), or a TIFF that begins with a preview; save it as TIFF or JPEG"
            raise ImageError(NOT_READ, told)
    if kind.name == "webp" and int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise ImageError("truncated", f"{len(data)} bytes")
    with _opened(data, kind, "bad_header") as image:
        width, height = image.size
        if image.mode in STRANGE:
            raise ImageError(NOT_READ, f"{kind.name} of mode {image.mode}; save it with 8 or 16 bits a channel")
        bits = image.info.get("bit_depth") or (1 if image.mode == "1" else 8)
        exif = (image.info.get("exif") or b"").removeprefix(b"Exif\0\0")
        orientation, packed = read_orientation(exif), kind.name in OTHERS
        if kind.name == "tiff":
            tags, exif = image.tag_v2, data if 42 in data[2:4] else b""
            bits, orientation = int(np.ravel(tags.get(BITS, 1))[0]), tags.get(ORIENTATION, 1)
            packed = tags.get(COMPRESSION) in PACKED
            if orientation in (5, 6, 7, 8):
                width, height = height, width
        return Header(
            format=kind.name,
            width=width,
            height=height,
            orientation=orientation if orientation in range(1, 9) else 1,
            mode=MODES.get(image.mode, "colour"),
            bits=bits,
            exif=exif,
            by_pillow=packed,
            turned=kind.name in ("tiff", "heif"),
            more=_has_more(image),
        )


def _has_more(image: Any) -> bool:
    """Return whether a file has further pictures; smaller copies and masks of the first are none."""
    if not hasattr(image, "tag_v2"):
        return getattr(image, "n_frames", 1) > 1
    with contextlib.suppress(Exception):
        image.seek(1)
        return not image.tag_v2.get(SUBFILE, 0) & 5
    return False


def decode_by_pillow(data: bytes) -> np.ndarray:
    """Return the pixels of a file as stored, `(height, width, 3 or 4) uint8`, blue first."""
    with _opened(data, recognize(data), "damaged") as image:
        image.load()
        if image.mode.startswith("I;16"):
            return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
        if image.mode not in ("RGB", "RGBA"):
            image = image.convert("RGBA" if MODES.get(image.mode) == "alpha" else "RGB")
        width, height = image.size
        pixels = np.empty((height, width, len(image.mode)), np.uint8)
        order = [2, 1, 0, 3][: len(image.mode)]
        for top in range(0, height, _STRIP):  # all at once would be held three times
            strip = image.crop((0, top, width, min(top + _STRIP, height)))
            pixels[top : top + _STRIP] = np.asarray(strip)[..., order]
        return pixels

"""Decode photographs: JPEG and PNG, whatever their names say, and nothing else.

The header is read first, in plain Python, so that an image of too many pixels never reaches a decoder. The pixels are
those of `cv2.imread`: turned as EXIF says, three channels, 8 bits. JPEGs are decoded by libjpeg-turbo without OpenCV
around it, which gives the same pixels sooner and says what was wrong.

The only module that imports simplejpeg. OpenCV keeps to the thread that calls it: a job has a thread for each core.
"""

import contextlib
import dataclasses
import mmap
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Literal

import cv2
import numpy as np
import simplejpeg

from molino.stderr import no_stderr

MAX_PIXELS = 50_000_000

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_OTHERS = {  # first bytes of what is an image, but none that is read here
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"RIFF": "WebP",
    b"\0\0\1\0": "icon",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"8BPS": "PSD",
}
_STRIP = 64  # rows that are composited or turned at once

cv2.setNumThreads(1)


class ImageError(Exception):
    """An image that cannot be used.

    Attributes:
      reason: empty_file, not_an_image (neither JPEG nor PNG nor a format known by its first bytes), unsupported
        (another format, or a JPEG that is lossless, arithmetic or not of 8 bits), bad_header, too_many_pixels,
        truncated (the end is missing) or damaged (the decoder says so).
      detail: what was found, in a few words.
    """

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What an image's header says, before anything is decoded.

    Attributes:
      width, height: pixels as stored.
      orientation: EXIF's, 1 to 8; 1 where there is none or it is none of these.
      mode: what is stored; a palette counts as colour, and transparency of any kind as alpha.
      bits: per channel, as stored: 1 to 16.
    """

    format: Literal["jpeg", "png"]
    width: int
    height: int
    orientation: int
    mode: Literal["gray", "colour", "cmyk", "alpha"]
    bits: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width as displayed: with orientations 5 to 8 the sides change places."""
        return (self.height, self.width) if self.orientation < 5 else (self.width, self.height)


def read_header(data: bytes) -> Header:
    """Return what the header says. Reads no further than it must: the pixels may still prove bad.

    Raises:
      ImageError: no reason but too_many_pixels is left out.
    """
    if not data:
        raise ImageError("empty_file", "0 bytes")
    if data.startswith(_JPEG):
        return _read_jpeg_header(data)
    if data.startswith(_PNG):
        return _read_png_header(data)
    for magic in (_JPEG, _PNG):
        if magic.startswith(data):
            raise ImageError("truncated", f"{len(data)} bytes")
    for magic, name in _OTHERS.items():
        if data.startswith(magic):
            raise ImageError("unsupported", name)
    if data[4:8] == b"ftyp":
        raise ImageError("unsupported", "HEIF or AVIF")
    raise ImageError("not_an_image", "neither JPEG nor PNG")


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, scale: Literal[1, 2, 4, 8] = 1) -> np.ndarray:
    """Return the pixels as displayed: (height, width, 3) uint8, BGR, C-contiguous.

    An opaque image of any kind has the pixels of `cv2.imread`: gray in three equal channels, the upper 8 bits of 16,
    CMYK without its profile. A transparent one is laid on white, which no histogram of values below 255 counts.

    With a `scale` the sides are divided by it and rounded up. A JPEG is then decoded at that size from fewer
    coefficients of its cosine transform, which is faster; a PNG is decoded and averaged, which is not.

    Memory: the pixels, and what the decoder needs: for a progressive JPEG its coefficients, of 2 bytes; for a PNG the
    pixels once more.

    Raises:
      ImageError: the image cannot be used; see its reasons.
    """
    header = read_header(data)
    if header.width * header.height > max_pixels:
        raise ImageError("too_many_pixels", f"{header.width} x {header.height}, more than {max_pixels}")
    if header.format == "png":
        _check_png(data)
    if header.format == "jpeg" and header.mode != "cmyk":
        return _decode_jpeg(data, header, scale)
    if header.mode == "alpha":
        image = _shrink(_lay_on_white(_decode_other(data, cv2.IMREAD_UNCHANGED)), scale)
    else:
        image = _shrink(_decode_other(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION), scale)
    return turn(_of_size(image, header, scale), header.orientation)


def turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """Return an image as it is to be seen, from its pixels as stored and the orientation of EXIF, 1 to 8."""
    if orientation >= 5:
        image = cv2.transpose(image)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)  # OpenCV's code: 1 left-right, 0 top-bottom, -1 both
    return image if flip is None else cv2.flip(image, flip, image)


# --- headers


def _read_jpeg_header(data: bytes) -> Header:
    """Walk the segments to the first frame header; EXIF may also stand behind it, before the scan."""
    frame: tuple[int, int, int, int] | None = None
    orientation = 0
    for marker, start, end in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if marker > 0xC2:
                raise ImageError("unsupported", f"JPEG of type {marker - 0xC0}")
            if end - start < 6:
                raise ImageError("bad_header", "a frame header that is too short")
            frame = struct.unpack_from(">BHHB", data, start)
        elif marker == 0xE1 and not orientation and data[start : start + 6] == b"Exif\0\0":
            orientation = _exif_orientation(data[start + 6 : end])
        elif marker == 0xDA:
            break
    else:
        raise ImageError("truncated", "it ends within the header")
    if frame is None:
        raise ImageError("bad_header", "no frame header before the scan")
    bits, height, width, channels = frame
    if bits != 8:
        raise ImageError("unsupported", f"JPEG of {bits} bits")
    if channels not in (1, 3, 4):
        raise ImageError("unsupported", f"JPEG of {channels} channels")
    mode: dict[int, Literal["gray", "colour", "cmyk"]] = {1: "gray", 3: "colour", 4: "cmyk"}
    return _header("jpeg", width, height, orientation, mode[channels], bits)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of the payload of each segment; ends where the data does or the image ends."""
    place = 2
    while True:
        place = data.find(b"\xff", place)
        while 0 <= place < len(data) and data[place] == 0xFF:
            place += 1
        if place < 0 or place >= len(data) or data[place] == 0xD9:
            return
        marker = data[place]
        place += 1
        if marker in (0, 1) or 0xD0 <= marker <= 0xD8:  # no payload
            continue
        if place + 2 > len(data):
            return
        end = place + int.from_bytes(data[place : place + 2], "big")
        if end < place + 2:
            raise ImageError("bad_header", "a segment of negative length")
        if end > len(data):
            return
        yield marker, place + 2, end
        place = end


def _read_png_header(data: bytes) -> Header:
    chunks = _png_chunks(data)
    kind, start, end = next(chunks, (b"", 0, 0))
    if not kind:
        raise ImageError("truncated", "it ends within the header")
    if kind != b"IHDR" or end - start != 13:
        raise ImageError("bad_header", "the first chunk is no IHDR")
    width, height, bits, colour = struct.unpack_from(">IIBB", data, start)
    if colour not in (0, 2, 3, 4, 6) or bits not in (1, 2, 4, 8, 16):
        raise ImageError("bad_header", f"colour type {colour} of {bits} bits")
    alpha, orientation = colour >= 4, 0
    for kind, start, end in chunks:
        alpha |= kind == b"tRNS"
        if kind == b"eXIf":
            orientation = orientation or _exif_orientation(data[start:end])
    return _header("png", width, height, orientation, "alpha" if alpha else "colour" if colour else "gray", bits)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the payload of each whole chunk, up to IEND."""
    place = len(_PNG)
    while place + 12 <= len(data):
        start = place + 8
        end = start + int.from_bytes(data[place : place + 4], "big")
        if end + 4 > len(data):
            return
        yield data[place + 4 : start], start, end
        if data[place + 4 : start] == b"IEND":
            return
        place = end + 4


def _header(format: Any, width: int, height: int, orientation: int, mode: Any, bits: int) -> Header:
    if not width or not height:
        raise ImageError("bad_header", f"{width} x {height} pixels")
    orientation = orientation if 1 <= orientation <= 8 else 1
    return Header(format=format, width=width, height=height, orientation=orientation, mode=mode, bits=bits)


def _exif_orientation(tiff: bytes) -> int:
    """Return the value of tag 0x112 in the first directory, or 0. Like OpenCV it does not look at the value's type."""
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"

    def number(place: int, size: int) -> int:
        return int.from_bytes(tiff[place : place + size], order)

    if tiff[:2] not in (b"II", b"MM") or number(2, 2) != 42:
        return 0
    first = number(4, 4)
    for entry in range(first + 2, min(first + 2 + 12 * number(first, 2), len(tiff) - 9), 12):
        if number(entry, 2) == 0x112:
            return number(entry + 8, 2)
    return 0


# --- pixels


def _decode_jpeg(data: bytes, header: Header, scale: int) -> np.ndarray:
    height, width = -(-header.height // scale), -(-header.width // scale)
    memory = _pages(3 * height * width) if header.orientation >= 5 else None
    try:
        image = simplejpeg.decode_jpeg(data, "BGR", min_height=height, min_width=width, buffer=memory)
    except ValueError as error:
        told = str(error)
    else:
        image = _of_size(image, header, scale)
        return (
            _turn_strips(image, header.orientation, memory) if memory is not None else turn(image, header.orientation)
        )
    if "extraneous bytes" in told:  # harmless, and OpenCV skips them
        flag = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}
        image = _decode_other(data, flag.get(scale, cv2.IMREAD_REDUCED_COLOR_8) | cv2.IMREAD_IGNORE_ORIENTATION)
        return turn(_of_size(image, header, scale), header.orientation)
    raise _jpeg_error(data, told)


def _pages(size: int) -> mmap.mmap | None:
    """Return memory that is taken and can be given back page by page, where there is such."""
    if not hasattr(mmap, "MADV_NOHUGEPAGE"):
        return None
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without huge pages
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    return pages


def _turn_strips(image: np.ndarray, orientation: int, memory: mmap.mmap) -> np.ndarray:
    """Turn an image on its side and give the memory that holds it back on the way: never twice the pixels at once."""
    height, width = image.shape[:2]
    turned = np.frombuffer(_pages(image.size) or bytearray(image.size), np.uint8).reshape(width, height, 3)
    for top in range(0, height, _STRIP):
        strip = turn(image[top : top + _STRIP], orientation)
        bottom = top + strip.shape[1]
        left = top if orientation in (5, 8) else height - bottom
        turned[:, left : left + strip.shape[1]] = strip
        if done := bottom * width * 3 // mmap.PAGESIZE * mmap.PAGESIZE:
            memory.madvise(mmap.MADV_DONTNEED, 0, done)
    return turned


def _of_size(image: np.ndarray, header: Header, scale: int) -> np.ndarray:
    if image.shape != (-(-header.height // scale), -(-header.width // scale), 3):
        raise ImageError("damaged", "another size than the header says")
    return image


def _jpeg_error(data: bytes, told: str) -> ImageError:
    scan = next(start for marker, start, _ in _jpeg_segments(data) if marker == 0xDA)
    if "Premature end" in told or data.find(b"\xff\xd9", scan) < 0:
        return ImageError("truncated", "no end of image")
    return ImageError("damaged", told.split("\n")[0][:80])


def _check_png(data: bytes) -> None:
    """Compare the chunks with their checksums, so that libpng has nothing to complain of."""
    kind = b""
    for kind, start, end in _png_chunks(data):  # noqa: B007
        if zlib.crc32(memoryview(data)[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ImageError("damaged", "checksum of a PNG chunk")
    if kind != b"IEND":
        raise ImageError("truncated", "no end of image")


def _decode_other(data: bytes, flags: int) -> np.ndarray:
    """Decode with OpenCV, which tells a bad image by None or by an exception."""
    try:
        with no_stderr():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError("damaged", str(error.err)[:80]) from None
    if image is not None:
        return image
    if data.startswith(_JPEG):
        raise _jpeg_error(data, "the decoder refuses it")
    raise ImageError("damaged", "the decoder refuses it")


def _lay_on_white(image: np.ndarray) -> np.ndarray:
    """Return (height, width, 4) uint8 or uint16, BGRA, on white: (height, width, 3) uint8."""
    laid = np.empty((*image.shape[:2], 3), np.uint8)
    for top in range(0, len(image), _STRIP):
        strip = image[top : top + _STRIP]
        if strip.dtype == np.uint16:
            strip = (strip >> 8).astype(np.uint8)
        alpha = strip[..., 3:].astype(np.uint32)
        laid[top : top + _STRIP] = (strip[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return laid


def _shrink(image: np.ndarray, scale: int) -> np.ndarray:
    if scale == 1:
        return image
    height, width = image.shape[:2]
    return cv2.resize(image, (-(-width // scale), -(-height // scale)), interpolation=cv2.INTER_AREA)

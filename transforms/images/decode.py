"""Decode photographs, whatever their names say.

The header is read first, so that an image of too many pixels never reaches a decoder. The pixels are those of
`cv2.imread`: turned as EXIF says, three channels, 8 bits. JPEGs are decoded by libjpeg-turbo without OpenCV around it,
which gives the same pixels sooner and says what was wrong. Only where it cannot (CMYK, odd samplings of colour) OpenCV
does it, and what libjpeg then prints is read. Headers of JPEG and PNG are read in plain Python, all others by Pillow.

libjpeg tells only the first thing that it finds odd. So what is odd in a header and changes no pixel is put right, and
the image decoded once more: what is told then is of the pixels.

The only module that imports simplejpeg. OpenCV keeps to the thread that calls it: a job has a thread for each core.
"""

import contextlib
import dataclasses
import math
import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Literal

import cv2
import numpy as np
import simplejpeg

from molino.quiet import no_stderr, record_stderr
from molino.transforms.images.by_pillow import decode_by_pillow, read_other_header
from molino.transforms.images.exif import read_orientation
from molino.transforms.images.kinds import Header, ImageError, recognize

MAX_PIXELS = 160_000_000

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_STRIP = 64  # rows that are composited or turned at once

cv2.setNumThreads(1)


def read_header(data: bytes, *, max_pixels: float = math.inf) -> Header:
    """Return what the header says, or raise ImageError. Reads no further than it must: the pixels may prove bad."""
    if not data:
        raise ImageError("empty_file", "0 bytes")
    if _JPEG.startswith(data) or _PNG.startswith(data):
        raise ImageError("truncated", f"{len(data)} bytes")
    readers = {"jpeg": _read_jpeg_header, "png": _read_png_header}
    header = readers.get(recognize(data).name, read_other_header)(data)
    if not header.width or not header.height:
        raise ImageError("bad_header", f"{header.width} x {header.height} pixels")
    if header.width * header.height > max_pixels:
        told = f"{header.width} x {header.height} pixels, more than --max-pixels {max_pixels}"
        raise ImageError("too_many_pixels", told)
    return header


def decode_image(
    data: bytes, *, max_pixels: int = MAX_PIXELS, scale: Literal[1, 2, 4, 8] = 1
) -> tuple[np.ndarray, str]:
    """Return the pixels as displayed, and what the decoder says of damage among them: "" of a sound image.

    The pixels are (height, width, 3) uint8, BGR, C-contiguous. An opaque image of any kind has those of `cv2.imread`:
    gray in three equal channels, the upper 8 bits of 16, CMYK without its profile. A transparent one is laid on white,
    which no histogram of values below 255 counts. Of a damaged JPEG the pixels before the damage are right; behind it
    some are, or none. A PNG that is damaged is an error.

    With a `scale` the sides are divided by it and rounded up. A JPEG is then decoded at that size from fewer
    coefficients of its cosine transform, which is faster; all others are decoded and averaged, which is not.

    Memory: the pixels, and what the decoder needs: for a progressive JPEG its coefficients, of 2 bytes; for a PNG the
    pixels once more; for AVIF and HEIF three times. ImageError: there are no pixels, or the end is missing.
    """
    header = read_header(data, max_pixels=max_pixels)
    if header.format == "jpeg":
        return _decode_jpeg(data, header, scale)
    if header.format == "png":
        _check_png(data)
    if header.turned:
        header = dataclasses.replace(header, orientation=1, height=header.shape[0], width=header.shape[1])
    if header.by_pillow:
        image = decode_by_pillow(data)
    else:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        image = _decode_other(data, cv2.IMREAD_UNCHANGED if header.mode == "alpha" else flags)
    if image.ndim == 3 and image.shape[2] == 4:
        image = _lay_on_white(image)
    return turn(_of_size(image, header, scale, scale), header.orientation), ""


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
    exif = b""
    for marker, start, end in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if marker > 0xC2:
                raise ImageError("unsupported", f"JPEG of type {marker - 0xC0}")
            if end - start < 6:
                raise ImageError("bad_header", "a frame header that is too short")
            frame = struct.unpack_from(">BHHB", data, start)
        elif marker == 0xE1 and not read_orientation(exif) and data[start : start + 6] == b"Exif\0\0":
            exif = data[start + 6 : end]
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
    return _header("jpeg", width, height, exif, mode[channels], bits)


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
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
    alpha, exif = colour >= 4, b""
    for kind, start, end in chunks:
        alpha |= kind == b"tRNS"
        if kind == b"eXIf" and not read_orientation(exif):
            exif = data[start:end]
    return _header("png", width, height, exif, "alpha" if alpha else "colour" if colour else "gray", bits)


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


def _header(format: Any, width: int, height: int, exif: bytes, mode: Any, bits: int) -> Header:
    found = read_orientation(exif)
    orientation = found if 1 <= found <= 8 else 1
    return Header(format=format, width=width, height=height, orientation=orientation, mode=mode, bits=bits, exif=exif)


# --- pixels


def _decode_jpeg(data: bytes, header: Header, scale: int) -> tuple[np.ndarray, str]:
    way = _decode_by_opencv if header.mode == "cmyk" else _decode_by_libjpeg
    image, told = way(data, header, scale)
    if told:
        data = _mend_header(data)
        image, told = way(data, header, scale)
    damage = _damage(data, told) if told else ""
    if image is None:
        raise ImageError("damaged", damage)
    return image, damage


def _decode_by_libjpeg(data: bytes, header: Header, scale: int) -> tuple[np.ndarray | None, str]:
    """Return the pixels, if there are any, and the first thing that libjpeg finds odd, "" for nothing."""
    height, width = -(-header.height // scale), -(-header.width // scale)
    memory = _pages(3 * height * width) if header.orientation >= 5 else None
    told = ""
    for strict in (True, False):
        try:
            image = simplejpeg.decode_jpeg(
                data, "BGR", min_height=height, min_width=width, buffer=memory, strict=strict
            )
            break
        except ValueError as error:
            if "subsampling" in str(error):
                return _decode_by_opencv(data, header, scale)
            told = told or str(error)
    else:
        return None, told
    image = _of_size(image, header, scale)
    turned = turn(image, header.orientation) if memory is None else _turn_strips(image, header.orientation, memory)
    return turned, told


def _decode_by_opencv(data: bytes, header: Header, scale: int) -> tuple[np.ndarray | None, str]:
    """Do as `_decode_by_libjpeg`, by the libjpeg of OpenCV, which prints what it finds odd."""
    if header.mode == "cmyk":  # a reduced one has other colours
        flags, shrink = cv2.IMREAD_COLOR, scale
    else:
        reduced = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
        flags, shrink = reduced.get(scale, cv2.IMREAD_COLOR), 1
    with record_stderr() as printed:
        image = _decode_other(data, flags | cv2.IMREAD_IGNORE_ORIENTATION, loud=True)
    told = next((line for text in printed for line in text.splitlines() if _SAID.search(line)), "")
    return turn(_of_size(image, header, scale, shrink), header.orientation), told


def _mend_header(data: bytes) -> bytes:
    """Return a JPEG without what is odd before and in the headers of scans and changes no pixel.

    That is: bytes between segments, a JFIF of another revision, an Adobe marker with an unknown transform, which all
    decoders take for YCC, and the spectral range of a sequential scan, which can only be one.
    """
    parts, channels, sequential = [data[:2]], 3, False
    for marker, start, end in jpeg_segments(data):
        body = data[start:end]
        if marker in (0xC0, 0xC1, 0xC2):
            channels, sequential = body[5], marker != 0xC2
        elif marker == 0xE0 and body[:5] == b"JFIF\0":
            body = body[:5] + b"\1\2" + body[7:]
        elif marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12 and body[11] not in (0, channels // 2):
            body = body[:11] + bytes([channels // 2]) + body[12:]
        elif 0xE1 <= marker <= 0xED or marker == 0xEF:
            continue
        if marker == 0xDA:
            scans = data[start - 4 :]
            return b"".join(parts) + (_SCAN_HEADER.sub(b"\\1\0?\0", scans) if sequential else scans)
        parts.append(b"\xff" + bytes([marker]) + (len(body) + 2).to_bytes(2, "big") + body)
    return data


_SCAN_HEADER = re.compile(rb"(\xff\xda\0(?:\x08\x01..|\x0a\x02.{4}|\x0c\x03.{6}|\x0e\x04.{8}))...", re.DOTALL)
_SAID = re.compile("JPEG|JFIF|Adobe|SOS|Inconsistent progression")  # in all warnings of libjpeg, and in little else


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


def _of_size(image: np.ndarray, header: Header, scale: int, shrink: int = 1) -> np.ndarray:
    """Return an image, shrunk so many times, that then must have the size that the header says at a scale."""
    if shrink > 1:
        height, width = image.shape[:2]
        image = cv2.resize(image, (-(-width // shrink), -(-height // shrink)), interpolation=cv2.INTER_AREA)
    if image.shape != (-(-header.height // scale), -(-header.width // scale), 3):
        raise ImageError("damaged", "another size than the header says")
    return image


def _damage(data: bytes, told: str) -> str:
    """Return what libjpeg's first warning says of a JPEG of a mended header; "" for nothing. ImageError: no end."""
    scan = next(start for marker, start, _ in jpeg_segments(data) if marker == 0xDA)
    end = data.find(b"\xff\xd9", scan)
    if "Premature end" in told or end < 0:
        raise ImageError("truncated", "no end of image")
    extra = re.search("([0-9]+) extraneous bytes before marker 0xd9", told)
    return "" if extra and _is_padding(data, end - int(extra[1]), end) else told.split("\n")[0][:80]


def _is_padding(data: bytes, start: int, end: int) -> bool:
    """Return whether bytes before the end of a JPEG that its scans did not need are padding: zeros, or a short period.

    What a decoder leaves over after damage looks like the rest of the scan. If that is a hole of zeros, they begin
    well before what is left over.
    """
    extra = data[start:end]
    for period in range(1, 17):
        if extra[period:] == extra[:-period] and (len(extra) >= 2 * period or not any(extra)):
            before = data[start - 4 - period : start]
            return before[period:] != before[:-period]
    return False


def _check_png(data: bytes) -> None:
    """Compare the chunks with their checksums, so that libpng has nothing to complain of."""
    kind = b""
    for kind, start, end in _png_chunks(data):  # noqa: B007
        if zlib.crc32(memoryview(data)[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ImageError("damaged", "checksum of a PNG chunk")
    if kind != b"IEND":
        raise ImageError("truncated", "no end of image")


def _decode_other(data: bytes, flags: int, *, loud: bool = False) -> np.ndarray:
    """Decode with OpenCV, which tells a bad image by None or by an exception."""
    try:
        with contextlib.nullcontext() if loud else no_stderr():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError("damaged", str(error.err)[:80]) from None
    if image is None:
        told = "the decoder refuses it"
        raise ImageError("damaged", _damage(data, told) if data.startswith(_JPEG) else told)
    return image


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

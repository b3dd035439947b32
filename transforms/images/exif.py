"""Read EXIF: how a photograph is turned, when and where it was taken, and by what camera. No block makes it raise.

Tags and types: Exif 3.0 (CIPA DC-008), on TIFF 6.0. What is damaged, or beyond its range, is as if it were not there.
"""

import contextlib
import datetime
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8}  # bytes of a value, by its type
MAKE, MODEL, CHANGED, EXIF, GPS = 0x10F, 0x110, 0x132, 0x8769, 0x8825
TAKEN, DIGITIZED, OFFSET, FRACTION, DIGITIZED_FRACTION = 0x9003, 0x9004, 0x9011, 0x9291, 0x9292
FIRST, PLACE = (MAKE, MODEL, CHANGED, EXIF, GPS), range(1, 7)  # what is read of each directory
CLOCK = (TAKEN, DIGITIZED, OFFSET, FRACTION, DIGITIZED_FRACTION)
WHOLE = (1, 3, 4)  # types of whole numbers
LONGEST = 200  # characters of a camera's name
DATE = re.compile(r"(\d{4})\D(\d\d)\D(\d\d)\D(\d\d)\D(\d\d)\D(\d\d)", re.ASCII)

Tags = dict[int, tuple[int, bytes]]  # type and bytes, by tag
Number = Callable[[bytes], int]


def read_orientation(tiff: bytes) -> int:
    """Return the value of tag 0x112 in the first directory, or 0. Like OpenCV it does not look at the value's type."""
    number, place = _open(tiff)
    for entry in range(place + 2, min(place + 2 + 12 * number(tiff[place : place + 2]), len(tiff) - 9), 12):
        if number(tiff[entry : entry + 2]) == 0x112:
            return number(tiff[entry + 8 : entry + 10])
    return 0


def is_exif(tiff: bytes) -> bool:
    """Return whether a block has a directory that can be read; an empty one needs none."""
    return not tiff or _open(tiff)[1] + 2 < len(tiff)


def read_exif(tiff: bytes) -> dict[str, Any]:
    """Return the columns of `EXIF` in schemas/whales.py from a block of EXIF; null is what it does not say."""
    number, place = _open(tiff)
    first = _read_directory(tiff, place, number, FIRST)
    exif, gps = (
        _read_directory(tiff, number(first[tag][1]) if tag in first else 0, number, tags)
        for tag, tags in ((EXIF, CLOCK), (GPS, PLACE))
    )
    latitude, longitude = (_degrees(gps, tag, *how, number) for tag, how in ((1, ("N", "S", 90)), (3, ("E", "W", 180))))
    altitude = next(iter(_fractions(gps.get(6), number)), None)
    if altitude is not None and gps.get(5, (1, b"\0"))[1][:1] in (b"\1", b"\3"):  # below the sea, or the ellipsoid
        altitude = -altitude
    make, model = _text(first.get(MAKE)), _text(first.get(MODEL))
    camera = model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()
    return {
        "taken": _taken(first, exif),
        "utc_offset": _offset(_text(exif.get(OFFSET))),
        "latitude": latitude if longitude is not None else None,
        "longitude": longitude if latitude is not None else None,
        "altitude": altitude,
        "camera": camera[:LONGEST] or None,
    }


def first_numbers(tiff: bytes, tags: Sequence[int]) -> dict[int, int]:
    """Return the first number of those tags that the first directory has; 0 for a text or a fraction."""
    number, place = _open(tiff)
    found = _read_directory(tiff, place, number, tags)
    return {tag: number(data[: SIZES[kind]]) if kind in WHOLE else 0 for tag, (kind, data) in found.items()}


def _open(tiff: bytes) -> tuple[Number, int]:
    """Return how bytes are read as a number, and where the first directory is; it is empty where this is no TIFF."""
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"

    def number(data: bytes) -> int:
        return int.from_bytes(data, order)

    sound = tiff[:2] in (b"II", b"MM") and number(tiff[2:4]) == 42
    return number, number(tiff[4:8]) if sound else len(tiff)


def _read_directory(tiff: bytes, place: int, number: Number, wanted: Sequence[int]) -> Tags:
    """Return tags of a directory, the first of equal ones; those whose values are not there are left out.

    What is not wanted is not copied: thousands of tags may have the same 64 kB for their value.
    """
    found: Tags = {}
    if not place:
        return found
    for entry in range(place + 2, min(place + 2 + 12 * number(tiff[place : place + 2]), len(tiff) - 11), 12):
        tag, kind = number(tiff[entry : entry + 2]), number(tiff[entry + 2 : entry + 4])
        if tag not in wanted or tag in found:
            continue
        size = number(tiff[entry + 4 : entry + 8]) * SIZES.get(kind, 0)
        start = entry + 8 if size <= 4 else number(tiff[entry + 8 : entry + 12])
        if size and start + size <= len(tiff):
            found[tag] = kind, tiff[start : start + size]
    return found


def _text(value: tuple[int, bytes] | None) -> str:
    """Return what can be printed of a text, up to its first NUL."""
    text = value[1][: 5 * LONGEST].split(b"\0")[0].decode("utf-8", "replace") if value else ""
    return "".join(c for c in text if c.isprintable()).strip()


def _fractions(value: tuple[int, bytes] | None, number: Number) -> list[float]:
    """Return the first four numbers that are stored as fractions, up to the first that is none."""
    numbers: list[float] = []
    kind, data = value or (0, b"")
    for place in range(0, min(len(data), 32) if kind in (5, 10) else 0, 8):
        over, under = number(data[place : place + 4]), number(data[place + 4 : place + 8])
        if kind == 10:
            over, under = (part - ((part & 1 << 31) << 1) for part in (over, under))
        if not under:
            break
        numbers.append(over / under)
    return numbers


def _degrees(gps: Tags, tag: int, plus: str, minus: str, most: int, number: Number) -> float | None:
    """Return a latitude or longitude from the tag of its side and the next, degrees, minutes and seconds."""
    parts = _fractions(gps.get(tag + 1), number)
    degrees = sum(part / 60**i for i, part in enumerate(parts))
    side = _text(gps.get(tag))[:1].upper()
    if len(parts) != 3 or side not in (plus, minus) or not 0 <= degrees <= most:
        return None
    return -degrees if side == minus else degrees


def _taken(first: Tags, exif: Tags) -> datetime.datetime | None:
    """Return when it was taken, or else digitized, or else changed, by the camera's clock."""
    for tags, tag, fraction in ((exif, TAKEN, FRACTION), (exif, DIGITIZED, DIGITIZED_FRACTION), (first, CHANGED, 0)):
        if parts := DATE.match(_text(tags.get(tag))):
            digits = _text(exif.get(fraction))
            thousandths = int(digits[:3].ljust(3, "0")) if digits.isascii() and digits.isdigit() else 0
            with contextlib.suppress(ValueError):  # the 31st of February
                whole = datetime.datetime.fromisoformat("{}-{}-{}T{}:{}:{}".format(*parts.groups()))
                return whole + datetime.timedelta(milliseconds=thousandths)
    return None


def _offset(text: str) -> int | None:
    """Return minutes from a text such as +02:00.

    >>> _offset("+02:00"), _offset("-03:30"), _offset("+99:00"), _offset("Z")
    (120, -210, None, None)
    """
    parts = re.fullmatch(r"([+-])(\d\d):(\d\d)", text, re.ASCII)
    minutes = 60 * int(parts[2]) + int(parts[3]) if parts else 0
    return None if not parts or minutes > 14 * 60 else -minutes if parts[1] == "-" else minutes

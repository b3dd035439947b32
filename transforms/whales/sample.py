"""Made-up aerial photographs of the sea, most with a whale, and the true boxes.

Nothing is photographed: waves are noise at several scales with crests across the wind, lit from one side; glare stands
on the slopes that face the light; the whale is a spindle with flukes and white callosities on its head, partly under
water, with foam around it. An image depends on the seed and its number only.
"""

import dataclasses
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from molino.schemas.whales import TRUTH
from molino.transforms.files import storage
from molino.transforms.images.encode import encode_jpeg, encode_png, resize, rotate

QUALITY = 90
PLAIN = 10  # one image of so many has no whale
# half a whale's breadth at places along it, from the notch of its flukes, -1, to its snout, 1; both in half lengths
OUTLINE = ((-1, -0.9, -0.74, -0.4, 0, 0.3, 0.65, 0.9, 1), (0.1, 0.3, 0.04, 0.1, 0.2, 0.23, 0.2, 0.12, 0.01))
HEAD = 0.66  # from here on along it
SKIN = 46
WATERS = ((96, 74, 34), (110, 96, 60), (132, 112, 84), (62, 60, 46), (100, 72, 18))  # BGR


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sea:
    """One image and what is in it; boxes are (x, y, width, height) in pixels, None where there is no whale."""

    image: np.ndarray  # `(h, w, 3) uint8` BGR
    box: tuple[int, int, int, int] | None  # around the whole animal, what is under water too
    head: tuple[int, int, int, int] | None  # around its foremost sixth


def draw_sea(width: int, height: int, rng: np.random.Generator, *, whale: bool = True) -> Sea:
    """Return a made-up photograph of the sea."""
    waves = _waves(width, height, rng)
    across = np.linspace(-1, 1, width, dtype=np.float32)
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    sun = rng.uniform(-1, 1, 2).astype(np.float32)
    light = 1 + 0.16 * (sun[0] * across + sun[1] * down)
    shade = (light + np.float32(rng.uniform(0.05, 0.13)) * waves).astype(np.float32)
    # glare: on the highest slopes only, and most where the sun's side of the picture is
    sharpness, level = np.float32(rng.uniform(0.5, 1.2)), np.float32(rng.uniform(1.7, 3.2))
    glare = np.clip((waves - level + 0.8 * (light - 1)) * sharpness, 0, 1)
    water = np.array(WATERS[rng.integers(len(WATERS))], np.float32) * np.float32(rng.uniform(0.75, 1.25))
    cover = glare * np.float32(0.8)
    box = head = None
    if whale and min(width, height) >= 32:
        body, spots, around, box, head = _whale(width, height, rng)
        body *= np.clip(rng.uniform(0.6, 0.95) - 0.12 * waves, 0.12, 0.97)  # waves wash over it
        cover = np.maximum(cover, np.clip(rng.uniform(0.2, 0.7) * around * waves - 0.2, 0, 0.95))
    image = np.empty((height, width, 3), np.float32)
    for channel in range(3):
        plane = water[channel] * shade
        if box is not None:
            plane += body * (SKIN * shade - plane)
            plane += spots * (150 + 20 * channel - plane)
        image[..., channel] = plane + cover * (236 - plane)
    grain = rng.integers(-5, 6, (height, width, 1), dtype=np.int8)
    return Sea(image=np.clip(image + grain, 0, 255).astype(np.uint8), box=box, head=head)


def _waves(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Return the water's surface as `(height, width) float32` of mean 0 and deviation 1."""
    side = int(np.hypot(width, height)) + 2
    small = max(side // 2, 2)  # the finest waves are two pixels wide: half the size is enough to turn
    surface = np.zeros((small, small), np.float32)
    for octave, strength in enumerate((0.4, 0.5, 0.7, 0.9, 1.0, 0.9, 0.7)):
        crests = 5 * 2**octave  # from side to side; three times as long as they are wide
        rows, columns = max(2, min(crests, small)), max(2, min(crests // 3, small))
        noise = rng.standard_normal((rows, columns), dtype=np.float32)
        surface += np.float32(strength) * resize(noise, small, small)
    turned = rotate(surface, float(rng.uniform(0, 180)), max(width // 2, 1), max(height // 2, 1))
    waves = resize(turned, width, height)
    waves -= waves.mean()
    return waves / max(float(waves.std()), 1e-6)


def _whale(width: int, height: int, rng: np.random.Generator) -> tuple:
    """Return a whale, its callosities and what is near it, `(height, width) float32` from 0 to 1; then box and head."""
    half = min(width, height) * rng.uniform(0.15, 0.31)
    angle, reach = rng.uniform(0, 2 * np.pi), 1.5 * half
    centre = [rng.uniform(reach, side - reach) for side in (width, height)]
    # from places along and beside the whale to x and y
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])

    def fill(first: float, part: float = 1.0) -> np.ndarray:
        """Return the whale from a place along it on, or the middle part of that."""
        along = np.linspace(first, 1, 100)
        beside = part * np.interp(along, *OUTLINE)
        sides = [np.stack([along, beside], axis=1), np.stack([along, -beside], axis=1)[::-1]]
        corners = np.rint(centre + half * np.concatenate(sides) @ turn).astype(np.int32)
        return cv2.fillPoly(np.zeros((height, width), np.uint8), [corners], 255)

    body, head = fill(-1), fill(HEAD)
    rough = resize(rng.random([int(18 * side / half) for side in (height, width)], np.float32), width, height)
    soft, near, spots = (
        cv2.GaussianBlur(mask, (0, 0), sigma).astype(np.float32) / 255
        for mask, sigma in ((body, 0.8), (body, half / 8), (fill(HEAD, 0.7), half / 60 + 0.5))
    )
    spots *= np.clip((rough - 0.45) * 3, 0, 0.85)
    return soft, spots, near * (1 - soft / 2), cv2.boundingRect(body), cv2.boundingRect(head)


def sample_whales(
    folder: str, *, images: int, seed: int = 2015, width: int = 1500, height: int = 1000, hostile: bool = False
) -> dict[str, Any]:
    """Write made-up photographs to `folder`/images, and their boxes to `folder`/truth.parquet; return what was written.

    Image i depends on the seed, i and the size only: more images leave the first ones as they are. Earlier files of
    these names are replaced, others stay. About 0.1 s and 0.3 MB an image of 1500 by 1000. With `hostile` also what a
    job must reject, skip or survive, in `folder`/images/hostile: see `hostile_files`.
    """
    if images < 1 or width < 1 or height < 1:
        raise ValueError(f"images={images}, width={width} and height={height} must be at least 1")
    place = Path(folder) / "images"
    rows = []
    for number in range(images):
        rng = np.random.default_rng([seed, number])
        sea = draw_sea(width, height, rng, whale=number % PLAIN != PLAIN - 1)
        name = f"w_{number:05d}.jpg"
        storage.write_atomic(str(place / name), encode_jpeg(sea.image, quality=QUALITY))
        rows.append((name, *(sea.box or [None] * 4), *(sea.head or [None] * 4)))
    columns = [pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), TRUTH, strict=True)]
    pq.write_table(pa.Table.from_arrays(columns, schema=TRUTH), Path(folder) / "truth.parquet")
    return {
        "images": images,
        "whales": sum(row[1] is not None for row in rows),
        "hostile": _write_hostile(place / "hostile", seed) if hostile else {},
        "folder": str(place),
    }


def _write_hostile(folder: Path, seed: int) -> dict[str, list[str]]:
    """Write the hostile files, a link out of the folder and a pipe; return names by what must become of them."""
    wrote: dict[str, list[str]] = {}
    for fate, name, data in hostile_files(seed):
        path = folder / os.fsdecode(name)
        storage.write_atomic(str(path), data)
        wrote.setdefault(fate, []).append(os.fsdecode(name))
    link, pipe = folder / "link.jpg", folder / "pipe.jpg"
    for path in (link, pipe):
        path.unlink(missing_ok=True)
    link.symlink_to("/etc/passwd")
    os.mkfifo(pipe)
    return wrote | {"skipped": [*wrote["skipped"], link.name, pipe.name]}


def hostile_files(seed: int = 2015) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield (what must become of it, name, content) of files that a job must survive.

    A `row` is a good image, perhaps with a name that breaks a careless program, or without a region; the others become
    rejects, for the reason that stands in the place of their fate, or are `skipped`.
    """
    sea = draw_sea(480, 320, np.random.default_rng([seed, 1 << 32]))
    good = encode_jpeg(sea.image, quality=QUALITY)
    for name in (
        b"<script>alert(1)</script>.jpg".replace(b"/", b"_"),
        b'it\'s "quoted" & = +1.jpg',
        b"two\nlines\x1b[31m.jpg",
        b"latin-1 \xf1.jpg",
        "ñ.jpg".encode(),
        "n\u0303.jpg".encode(),  # looks the same, in two code points
        b"a/w.jpg",
        b"b/w.jpg",
        b"b/W.JPG",
    ):
        yield "row", name, good
    yield "row", b"turned.jpg", with_orientation(good, 6)
    yield "row", b"really a png.jpg", encode_png(sea.image)
    yield "row", b"one colour.png", encode_png(np.full((90, 120, 3), 99, np.uint8))
    yield "row", b"one pixel.png", encode_png(np.zeros((1, 1, 3), np.uint8))
    yield "empty_file", b"empty.jpg", b""
    for tenth in range(1, 10):
        yield "truncated", b"cut at %d0 percent.jpg" % tenth, good[: len(good) * tenth // 10]
    yield "truncated", b"cut.png", encode_png(sea.image)[:-2000]
    yield "not_an_image", b"page.jpg", b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
    yield "unsupported", b"moving.jpg", b"GIF89a" + bytes(64)
    yield "not_an_image", b"notes.jpg", b"Flight 7, camera 2.\n"
    yield "skipped", b"notes.txt", b"Flight 7, camera 2.\n"
    yield "skipped", b"Thumbs.db", b"\xd0\xcf\x11\xe0" + bytes(64)
    yield "too_many_pixels", b"bomb.png", with_size(encode_png(sea.image), 16384, 16384)


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Return a JPEG with an EXIF segment that says how it is to be turned, 1 to 8."""
    tiff = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0) + bytes(4)
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def with_size(png: bytes, width: int, height: int) -> bytes:
    """Return a PNG whose header says another size."""
    header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]

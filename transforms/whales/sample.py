"""Made-up aerial photographs of the sea, most with a whale, and the true boxes.

Nothing is photographed: waves are noise at several scales with crests across the wind, lit from one side; glare stands
on the slopes that face the light; the whale is a curved spindle with flukes and white callosities on its head, partly
under water, with foam around it and a wake behind. An image depends on the seed and its number only.
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
from molino.transforms.images.encode import encode_jpeg, encode_png, resize, rotate

QUALITY = 90
PLAIN = 10  # one image of so many has no whale
WATERS = ((96, 74, 34), (110, 96, 60), (132, 112, 84), (62, 60, 46), (100, 72, 18))  # BGR


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sea:
    """One image and what is in it; boxes are (x, y, width, height) in pixels, None where there is no whale.

    Attributes:
      image: `(h, w, 3) uint8` BGR.
      box: around the whole animal, what is under water too.
      head: around its foremost sixth.
    """

    image: np.ndarray
    box: tuple[int, int, int, int] | None
    head: tuple[int, int, int, int] | None


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
    body = np.zeros(3, np.float32)
    if whale and min(width, height) >= 32:
        place, alpha, foam, body, white, box, head = _whale(width, height, waves, rng)
        cover[place] = np.maximum(cover[place], foam)
    image = np.empty((height, width, 3), np.float32)
    for channel in range(3):
        plane = water[channel] * shade
        if box is not None:
            under = plane[place]
            under += alpha * (body[channel] * shade[place] - under)
            under += white * (150 + 20 * channel - under)
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


def _noise(shape: tuple[int, ...], grain: float, rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise from 0 to about 1 whose spots are about `grain` pixels wide."""
    rows, columns = (max(2, int(side / max(grain, 2))) for side in shape)
    return resize(rng.random((rows, columns), dtype=np.float32), shape[1], shape[0])


def _whale(width: int, height: int, waves: np.ndarray, rng: np.random.Generator) -> tuple:
    """Return the place of a whale, and there: its opacity, foam, colour, callosities; then box and head."""
    length = min(width, height) * rng.uniform(0.3, 0.62)
    angle = rng.uniform(0, 2 * np.pi)
    reach = length * 0.75
    centre = [rng.uniform(min(reach, side / 2), max(side - reach, side / 2)) for side in (width, height)]
    left, top = (max(0, int(c - reach)) for c in centre)
    right, bottom = (min(side, int(c + reach) + 1) for c, side in zip(centre, (width, height), strict=True))
    x = np.arange(left, right, dtype=np.float32) - np.float32(centre[0])
    y = (np.arange(top, bottom, dtype=np.float32) - np.float32(centre[1]))[:, None]
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    # along the spine from -1 (notch of the flukes) to 1 (snout), and across it, in half lengths
    half = np.float32(length / 2)
    along = (x * cos + y * sin) / half
    beside = (y * cos - x * sin) / half
    bend = np.float32(rng.uniform(-0.12, 0.12))
    beside = beside - bend * (along**2 - np.float32(0.4))
    profile = _profile(along)
    distance = np.abs(beside) - profile
    body = np.clip(0.5 - distance * half / 2.5, 0, 1)
    solid = body > 0.5
    # the tail lies deeper than the head, and waves wash over the back
    depth = np.float32(rng.uniform(0.0, 0.35)) + np.float32(rng.uniform(0.0, 0.5)) * (1 - along) / 2
    wash = np.clip(np.float32(0.12) * waves[top:bottom, left:right], -0.2, 0.3)
    alpha = (body * np.clip(1 - depth - wash, 0.12, 0.97)).astype(np.float32)
    shape = body.shape
    fine = 0.5 * _noise(shape, length / 120, rng) + 0.5 * _noise(shape, length / 35, rng)
    coarse = _noise(shape, length / 9, rng)
    ring = np.exp(-np.maximum(distance, 0) * 14) * (along > -0.8)
    wake = np.exp(-np.abs(beside) * 5) * np.clip(-along - np.float32(0.2), 0, 1)
    amount = np.float32(rng.uniform(0.3, 1.0))
    foam = np.clip((ring + 0.8 * wake) * coarse**2 * amount * 9 * (fine - 0.3) - 0.2, 0, 0.95)
    foam = (foam * np.where(solid, np.float32(0.5), np.float32(1))).astype(np.float32)
    spots = (along > 0.68) & (np.abs(beside) < profile * 0.75)
    white = (spots * body * np.clip((coarse - 0.45) * 6 * fine, 0, 0.85)).astype(np.float32)
    colour = np.array([46, 44, 46], np.float32) * np.float32(rng.uniform(0.7, 1.5))
    place = (slice(top, bottom), slice(left, right))
    return place, alpha, foam, colour, white, _box(solid, left, top), _box(solid & (along > 0.66), left, top)


def _profile(along: np.ndarray) -> np.ndarray:
    """Return half the body's width at each place along it, 0 outside; all in half lengths."""
    inside = np.clip(along, -1, 1)
    trunk = 0.23 * np.sqrt(np.clip(1 - ((inside - 0.3) / 0.7) ** 2, 0, 1))
    stalk = np.where(inside < 0.3, 0.23 * np.clip((inside + 0.85) / 1.15, 0, 1) ** 1.3 + 0.025, 0)
    flukes = np.where(inside < -0.72, 0.3 * np.clip(1 - np.abs(inside + 0.9) / 0.16, 0, 1), 0)
    width = np.maximum(np.maximum(np.where(inside > 0.3, trunk, 0), stalk), flukes)
    return np.where(np.abs(along) <= 1, width, -1).astype(np.float32)


def _box(mask: np.ndarray, left: int, top: int) -> tuple[int, int, int, int] | None:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return (left + x, top + y, width, height) if width else None


# ---------------------------------------------------------------------------------------------------------------------
# Files


def sample_whales(
    folder: str, *, images: int, seed: int = 2015, width: int = 1500, height: int = 1000, hostile: bool = False
) -> dict[str, Any]:
    """Write made-up photographs to `folder`/images, and their boxes to `folder`/truth.parquet; return what was written.

    Image i depends on the seed, i and the size only: more images leave the first ones as they are. Earlier files of
    these names are replaced, others stay. About 0.1 s and 0.3 MB an image of 1500 by 1000.

    Args:
      hostile: also write what a job must reject, skip or survive, to `folder`/images/hostile; see `hostile_files`.

    Returns:
      images, whales: how many images, and how many of them show a whale.
      hostile: names of the hostile files, by what must become of them.
      folder: the folder of images.
    """
    if images < 1 or width < 1 or height < 1:
        raise ValueError(f"images={images}, width={width} and height={height} must be at least 1")
    place = Path(folder) / "images"
    place.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(images):
        rng = np.random.default_rng([seed, number])
        sea = draw_sea(width, height, rng, whale=number % PLAIN != PLAIN - 1)
        name = f"w_{number:05d}.jpg"
        _replace(place / name, encode_jpeg(sea.image, quality=QUALITY))
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
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, data)
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
    yield "too_many_pixels", b"bomb.png", png_of_zeros(16384, 16384)


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Return a JPEG with an EXIF segment that says how it is to be turned, 1 to 8."""
    tiff = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0) + bytes(4)
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def png_of_zeros(width: int, height: int) -> bytes:
    """Return a black RGB PNG of any size without holding its pixels: 16,384 by 16,384 are 0.8 MB."""
    deflate = zlib.compressobj(9)
    row = bytes(1 + width * 3)
    packed = b"".join(deflate.compress(row) for _ in range(height)) + deflate.flush()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", packed), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{os.getpid()}.part")
    draft.write_bytes(data)
    os.replace(draft, path)

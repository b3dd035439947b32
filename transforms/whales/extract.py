"""From the bytes of photographs to rows of regions: what was found in each, or why it is a reject."""

import contextlib
import dataclasses
import functools
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.schemas import field, schema
from molino.schemas.rejects import REJECTS
from molino.schemas.whales import EXIF, REGIONS, with_pixels
from molino.transforms import progress
from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.images.decode import MAX_PIXELS, Header, ImageError, decode_image, read_header
from molino.transforms.images.encode import JPEG_SIDE, encode_jpeg, encode_mask
from molino.transforms.images.exif import is_exif, read_exif
from molino.transforms.images.list_images import NOTHING, WHOLE, read_unit
from molino.transforms.images.name_images import CROP, file_name
from molino.transforms.images.read_images import ImageBytes, ahead, read_images
from molino.transforms.images.shard_columns import ShardColumns
from molino.transforms.parquet.shards import Layout, StagedFile, write_if_any, write_view
from molino.transforms.parquet.units import Done
from molino.transforms.processes import Died, call_apart
from molino.transforms.warnings import Sighting, add_sightings
from molino.transforms.whales import find_region as original
from molino.transforms.whales import find_salient_region as saliency
from molino.transforms.whales.crop import crop, crop_square, draw_thumbnail, mask_runs

Parameters = original.OriginalOptions | saliency.SalientOptions
FOUND, NO_REGION, ONE_COLOUR, NO_COLOUR, TOO_SMALL = "found", "no_region", "one_colour", "no_colour", "too_small"
# by EXIF orientation: degrees clockwise, and whether the stored pixels are first flipped left to right
TURNS = {1: (0, False), 2: (0, True), 3: (180, False), 4: (180, True), 5: (270, True), 6: (90, False), 7: (90, True),
         8: (270, False)}  # fmt: skip
IMAGE_SECONDS = 120.0  # that an image may take where a process died before
GROUP_BYTES = 16 << 20  # of crops, pixels and masks in a row group
PLAIN = ("key", "sha256")  # columns whose values hardly repeat
PACKED = ("crop", "mask", "pixels", "thumbnail")  # nothing makes them smaller, or they are read fastest as they are
CLIP = 200
DIED = "the decoder died of it, or did not end, twice"
KEPT = ""  # the name in a row of the columns that are carried, a batch of one
SEVERAL, BAD_EXIF = "several", "bad_exif"  # in a row, but no columns: what is only counted

BOX = ("x", "y", "box_width", "box_height")
# columns of a row that its card has too
TOLD = tuple(one.name for one in EXIF)
CARDED = ("width", "height", *BOX, "share", "score", "presence", "damaged", *TOLD)
# what the report and the files of boxes need of each image; staged, not published
CARDS = schema(
    "whales.cards",
    1,
    field("key", pa.string(), "The image"),
    field("sha256", pa.string(), "Of its bytes"),
    field("failed", pa.bool_(), "Whether it is a reject"),
    field("status", pa.string(), "Of the row, or the reason of the reject"),
    field("detail", pa.string(), "Of a reject: what was found"),
    *(REGIONS.field(name).with_nullable(True) for name in CARDED),
    field("crop_file", pa.string(), "Path of the crop in the output", nullable=True),
    field("file", pa.binary(), "Path of the photograph's own file, on a disk", nullable=True),
    field("thumbnail", pa.binary(), "JPEG", nullable=True),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extraction:
    """What is done with each image. All of it is part of a run's identity."""

    method: str  # original, fast or saliency
    parameters: Parameters
    max_pixels: int  # an image of more, or of more bytes, is a reject, and is not decoded
    max_bytes: int
    damaged: str  # reject, or keep as rows with the flag
    crop_quality: int  # of the crop's JPEG, 1 to 100; 0 for no crop
    crop_size: int  # side of the crop for training; 0 for none
    mask: str  # none, png or rle
    write_crops: bool  # also write every crop as a file
    write_images: bool  # also write the files of the published program
    timings: bool  # fill the columns of times, which differ from run to run
    thumbnails: bool  # draw images for the report
    columns: ShardColumns
    include: tuple[str, ...] = ()  # globs of the files and members that are read; empty for all
    kept: pa.Schema = NOTHING  # the columns that are carried, with their docs

    @property
    def schema(self) -> pa.Schema:
        """Schema of the rows."""
        own = with_pixels(self.crop_size) if self.crop_size else REGIONS
        return pa.schema([*own, *self.kept], own.metadata)


class Extract(NamedTuple):
    """What an image came to: a row or a reject, a card for the report, and files of its own by their kind."""

    row: dict[str, Any] | None
    reject: dict[str, Any] | None
    card: dict[str, Any]
    files: dict[str, bytes]


_room = threading.Condition()
_at_work = 0  # pixels of the images that threads of this process work on


@contextlib.contextmanager
def pixels_at_work(pixels: int) -> Iterator[None]:
    """Wait until an image fits beside those at work: all threads together hold one, or MAX_PIXELS."""
    global _at_work
    with _room:
        _room.wait_for(lambda: not _at_work or _at_work + pixels <= MAX_PIXELS)
        _at_work += pixels
    try:
        yield
    finally:
        with _room:
            _at_work -= pixels
            _room.notify_all()


def extract_region(image: ImageBytes, extraction: Extraction) -> Extract:
    """Return what one image comes to. No image makes it raise."""
    try:
        if image.error is not None:
            raise image.error
        header = read_header(image.data, max_pixels=extraction.max_pixels)
        with pixels_at_work(header.width * header.height):
            return _extract(image, header, extraction)
    except ImageError as error:
        reject = {"source": image.key, "line": 0, "reason": error.reason, "row": error.detail[:CLIP]}
        return Extract(None, reject, _card(image, error.reason, error.detail[:CLIP]), {})


def _extract(image: ImageBytes, header: Header, extraction: Extraction) -> Extract:
    start = time.perf_counter()
    scale, find = way_of(extraction, header)
    pixels, damage = decode_image(image.data, max_pixels=extraction.max_pixels, scale=scale)
    if damage and extraction.damaged == "reject":
        raise ImageError("damaged", damage)
    decoded = time.perf_counter()
    region = find(pixels, shape=header.shape)
    found = time.perf_counter()
    # what is cut out has the full resolution; an image that is only looked at is never decoded at it
    whole = functools.cache(
        lambda: pixels if scale == 1 else decode_image(image.data, max_pixels=extraction.max_pixels)[0]
    )
    height, width = header.shape
    box = region.box
    cut = box if extraction.crop_quality and box and max(box[2:]) <= JPEG_SIDE else None
    draws = extraction.write_images and box and max(header.shape) <= JPEG_SIDE
    row = {
        KEPT: image.kept,
        "key": image.key,
        "sha256": image.sha256,
        "bytes": len(image.data),
        **of_header(header),
        "width": width,
        "height": height,
        "damaged": bool(damage),
        "presence": saliency.measure_presence(pixels),
        "status": FOUND if box else why_nothing(pixels, header.shape, extraction.parameters),
        **dict(zip(BOX, box or [None] * 4, strict=True)),
        "share": box[2] * box[3] / (width * height) if box else None,
        "regions": region.regions,
        "white_pixels": region.white_pixels,
        "score": region.score if box else None,
        "method": extraction.method,
        "parameters": json.dumps(dataclasses.asdict(extraction.parameters), sort_keys=True),
        "crop": encode_jpeg(crop(whole(), cut), quality=extraction.crop_quality) if cut else None,
        "mask": encode_mask(region.mask.pixels()) if extraction.mask == "png" else None,
        "mask_runs": mask_runs(region.mask.pixels()) if extraction.mask == "rle" else None,
        "decode_ms": 1000 * (decoded - start) if extraction.timings else None,
        "find_ms": 1000 * (found - decoded) if extraction.timings else None,
    }
    if extraction.crop_size:
        row["pixels"] = crop_square(whole(), box, extraction.crop_size).tobytes() if box else None
    card = _card(image, str(row["status"]), "", row)
    if extraction.thumbnails:
        card["thumbnail"] = draw_thumbnail(pixels, region, header.shape)
    files = original.draw_published(whole(), region) if draws else {}
    return Extract(row, None, card, files | ({CROP: row["crop"]} if cut and extraction.write_crops else {}))


def of_header(header: Header) -> dict[str, Any]:
    """Return what the header tells of a row, and what of it is only counted."""
    told = {name: getattr(header, name) for name in ("format", "mode", "bits", "orientation")}
    told["rotation"], told["mirrored"] = TURNS[header.orientation]
    return told | {SEVERAL: header.more, BAD_EXIF: not is_exif(header.exif)} | read_exif(header.exif)


def way_of(extraction: Extraction, header: Header) -> tuple[Literal[1, 2, 4, 8], Callable[..., original.Region]]:
    """Return the scale at which a method decodes an image, and how it finds the region in what it decoded."""
    if isinstance(extraction.parameters, saliency.SalientOptions):
        scale = saliency.choose_scale(header.shape, extraction.parameters)
        return scale, functools.partial(saliency.find_salient_region, options=extraction.parameters)
    if extraction.method == "original":
        return 1, functools.partial(original.find_region_original, options=extraction.parameters)
    scale, parameters = original.reduction(header, extraction.parameters)
    return scale, functools.partial(original.find_region_original, options=parameters)


def why_nothing(pixels: np.ndarray, shape: tuple[int, int], parameters: Parameters) -> str:
    """Return why an image of a shape has no region: what can be said of its pixels, `(h, w, 3) uint8`, or fewer."""
    if isinstance(parameters, saliency.SalientOptions):
        # it is so short in the copy that is looked at
        smallest = saliency.SMALLEST * max(1.0, max(shape) / parameters.size)
    else:
        smallest = parameters.smallest
    if min(shape) < smallest:
        return TOO_SMALL
    rows = range(0, len(pixels), 64)  # a comparison of all of them would take as much memory as they do
    if all((pixels[row : row + 64] == pixels[0, 0]).all() for row in rows):
        return ONE_COLOUR
    gray = all((pixels[row : row + 64] == pixels[row : row + 64, :, :1]).all() for row in rows)
    return NO_COLOUR if gray else NO_REGION


def _card(image: ImageBytes, status: str, detail: str, row: dict[str, Any] | None = None) -> dict[str, Any]:
    known = {name: row[name] for name in CARDED} if row else {}
    card = dict.fromkeys(CARDS.names) | known
    return card | {"key": image.key, "sha256": image.sha256, "status": status, "detail": detail, "failed": row is None}


def extract_unit(
    number: int,
    folder: str,
    *,
    listing: str,
    extraction: Extraction,
    crashed: Sequence[str] = (),
    report: Callable[[str], object] = str,
) -> Done:
    """Extract the regions of a work unit's images, stage rows, rejects, cards and pictures, and count.

    Memory: two images, the pixels of one and what the method needs, and 16 MiB of rows. `listing` is the file with the
    images of every unit; `crashed` are keys of images that are rejects because a process died of them; `report` is
    called with the key of each image before it is worked on.
    """
    images = read_unit(listing, number)
    folds = set(images.filter(images["folds"])["key"].to_pylist())
    alone = images.filter(pc.equal(images["place"], WHOLE))
    paths = dict(zip(alone["key"].to_pylist(), alone["path"].to_pylist(), strict=True))
    counters: dict[str, int] = {}
    cards: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []
    pictures: list[StagedFile] = []

    def count(name: str, key: str) -> None:
        counters[name] = add_sightings(counters.get(name, 0), Sighting(1, key))

    def rows() -> Iterator[dict[str, Any]]:
        how = {"max_bytes": extraction.max_bytes, "kept": extraction.kept}
        for image in ahead(read_images(images, extraction.columns, **how)):
            report(image.key)
            if image.key in crashed:
                image = dataclasses.replace(image, error=ImageError("crashed", DIED))
            found = extract_region(image, extraction)
            names = {kind: file_name(image.key, kind, folds=image.key in folds) for kind in found.files}
            path = paths.get(image.key)
            file = path if path and storage.is_local(os.fsdecode(path)) else None
            cards.append(found.card | {"crop_file": names.get(CROP), "file": file})
            for kind, name in names.items():
                pictures.append(write_view(found.files[kind], folder=folder, name=name))
            if found.reject is not None:
                rejects.append(found.reject)
                count("rejects." + found.reject["reason"], image.key)
            if found.row is not None:
                for name in counted(found.row):
                    count(name, image.key)
                yield found.row
            progress.report("read", rows=1, bytes=len(image.data))

    def stage(dataset: str, rows: Iterable[dict[str, Any]], schema: pa.Schema) -> list[StagedFile]:
        plain, raw = ([name for name in names if name in schema.names] for names in (PLAIN, PACKED))
        place: dict[str, Any] = {"folder": folder, "dataset": dataset, "key": (number,)}
        return write_if_any(batches(rows, schema), schema=schema, layout=Layout(plain=plain, raw=raw), **place)

    files = stage("regions", rows(), extraction.schema)
    counters |= {"regions": sum(file.rows for file in files), "rejects": len(rejects)}
    files += [*stage("_rejects", rejects, REJECTS), *stage("_cards", cards, CARDS)]
    amounts = {"rows": len(cards), "bytes": sum(images["bytes"].to_pylist())}
    return Done(files=(*files, *pictures), counters=counters, amounts=amounts)


def counted(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the counters that a row adds to."""
    yield "status." + row["status"]
    if row["presence"] >= saliency.PRESENT:
        yield "present"
    if row["mode"] == "gray":
        yield "gray"
    yield from (name for name in ("damaged", SEVERAL, BAD_EXIF) if row[name])


def extract_unit_apart(number: int, folder: str, *, listing: str, extraction: Extraction) -> Done:
    """Do as `extract_unit` in a process of its own; an image that it dies of twice, or does not end, is a reject."""
    died: Counter[str] = Counter()
    while True:
        arguments = {"number": number, "folder": folder, "listing": listing, "extraction": extraction}
        arguments["crashed"] = [key for key, times in died.items() if times > 1]
        done = call_apart(extract_unit, arguments, seconds=IMAGE_SECONDS)
        if not isinstance(done, Died):
            return done
        if done.last is None:
            raise DataError(f"a worker process could not begin: {done.cause}; nothing was published; run again")
        died[done.last] += 1
        if died[done.last] > 2:
            raise DataError(f"a worker process dies even without {done.last!r}: {done.cause}; nothing was published")


def batches(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield rows in batches of about 16 MiB of binary values, so that the cut depends on the rows alone."""
    held: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        held.append(row)
        size += sum(len(value) for value in row.values() if isinstance(value, bytes))
        size += row[KEPT].nbytes if row.get(KEPT) else 0
        if size >= GROUP_BYTES:
            yield _batch(held, schema)
            held, size = [], 0
    if held:
        yield _batch(held, schema)


def _batch(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    kept = [row[KEPT] for row in rows if row.get(KEPT)]
    columns = pa.concat_batches(kept).columns if kept else []
    own = pa.RecordBatch.from_pylist(rows, schema=pa.schema(list(schema)[: len(schema) - len(columns)]))
    return pa.RecordBatch.from_arrays([*own.columns, *columns], schema=schema)

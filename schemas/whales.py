"""What the whales job writes, and the truth of its sample."""

import pyarrow as pa

from molino.schemas import field, list_of, optional, schema

EXIF = (
    optional(
        "taken",
        pa.timestamp("ms"),
        "By the camera's clock: EXIF's DateTimeOriginal, else DateTimeDigitized, else DateTime; null where it has none",
    ),
    optional("utc_offset", pa.int16(), "Minutes of that clock before UTC; null where EXIF does not say"),
    optional("latitude", pa.float64(), "Degrees north by EXIF; null without a longitude"),
    optional("longitude", pa.float64(), "Degrees east by EXIF; null without a latitude"),
    optional("altitude", pa.float64(), "Metres above the sea, or the ellipsoid, by EXIF"),
    optional("camera", pa.string(), "Make and model by EXIF"),
)

REGIONS = schema(
    "whales.regions",
    2,
    field("key", pa.string(), "Path of the image below the input that names it; SHARD!NAME inside a shard"),
    field("sha256", pa.string(), "Of the image's bytes, in hexadecimal"),
    field("bytes", pa.int64(), "Size of the image file"),
    field("format", pa.string(), "jpeg, png, tiff, webp, bmp, avif or heif, by its first bytes"),
    field("mode", pa.string(), "What the file stores: gray, colour, cmyk, or alpha for any transparency"),
    field("bits", pa.int8(), "Per channel, as stored; regions are found in 8"),
    field("orientation", pa.int8(), "EXIF's, 1 to 8; 1 where the file has none"),
    field("rotation", pa.int16(), "Degrees clockwise by which the stored pixels are turned to be displayed: 0 to 270"),
    field("mirrored", pa.bool_(), "Whether the stored pixels are flipped left to right before they are turned"),
    field("width", pa.int32(), "Pixels as displayed, that is turned as EXIF says"),
    field("height", pa.int32(), "Pixels as displayed"),
    field("damaged", pa.bool_(), "Whether the decoder warned of its pixels: some are wrong; with --damaged keep only"),
    *EXIF,
    field(
        "presence",
        pa.float64(),
        "Whether an animal is there, from 0 to 1: 0.5 and more for yes. A score, no probability, of the photograph and "
        "not of the box. 0 in shades of gray, of which it cannot tell",
    ),
    field(
        "status",
        pa.string(),
        "found: a box was drawn, which says nothing of an animal; or why there is none: no_region, one_colour, "
        "no_colour or too_small",
    ),
    optional("x", pa.int32(), "Left of the box, in displayed pixels; null without a box"),
    optional("y", pa.int32(), "Top of the box"),
    optional("box_width", pa.int32(), "Width of the box"),
    optional("box_height", pa.int32(), "Height of the box"),
    optional("share", pa.float64(), "Area of the box divided by that of the image"),
    field("regions", pa.int32(), "Separate regions in the mask; the box is that of the largest bounding rectangle"),
    field("white_pixels", pa.int64(), "Marked pixels, before small marks are cleared from the mask"),
    optional(
        "score",
        pa.float64(),
        "How much lies together, from 0 to 1: of original and fast the part of the mask that lies in the box, of "
        "saliency the part of all that is unlike water that lies in the animal. Whether one is there is presence",
    ),
    field("method", pa.string(), "original, fast or saliency"),
    field("parameters", pa.string(), "Of the method, as JSON"),
    optional(
        "crop",
        pa.binary(),
        "The box at full resolution, as JPEG; null without a box, beyond 65,500 pixels a side, or by option",
    ),
    optional("mask", pa.binary(), "The mask as PNG, 0 or 255, of the displayed size; null by option"),
    optional(
        "mask_runs",
        list_of(pa.int32(), item="item"),
        "The mask as lengths of runs, row after row, unmarked pixels first (0 if there are none); null by option",
    ),
    optional("decode_ms", pa.float32(), "Time of reading the header and decoding; null by option"),
    optional("find_ms", pa.float32(), "Time of finding the region; null by option"),
)


def with_pixels(side: int) -> pa.Schema:
    """Return REGIONS with the column `pixels`: a crop of `side` by `side` pixels, for training.

    Row after row, three bytes a pixel, red first; the field's metadata has `dtype` and `shape`.
    """
    about = "Square around the box, scaled to a fixed size: rows of pixels of red, green, blue; null without a box"
    pixels = optional("pixels", pa.binary(side * side * 3), about)
    shape = {b"dtype": b"uint8", b"shape": f"[{side}, {side}, 3]".encode()}
    return REGIONS.append(pixels.with_metadata({**pixels.metadata, **shape}))


KEPT_DOC = (
    "Column {} of the shard or of the names of folders, or a text beside the image in a tar; null where there is none"
)
WITH_OPTIONS = {"whales.regions": with_pixels(224)}


TRUTH = schema(
    "whales.truth",
    1,
    field("key", pa.string(), "File of the made-up image, relative to the folder of images"),
    optional("x", pa.int32(), "Left of the box around the whole animal, in pixels; null without a whale"),
    optional("y", pa.int32(), "Top of that box"),
    optional("width", pa.int32(), "Width of that box"),
    optional("height", pa.int32(), "Height of that box"),
    optional("head_x", pa.int32(), "Left of the box around the head, the foremost sixth"),
    optional("head_y", pa.int32(), "Top of that box"),
    optional("head_width", pa.int32(), "Width of that box"),
    optional("head_height", pa.int32(), "Height of that box"),
)

COUNTERS = {
    "images_read": "Files, members of tars and rows of Parquet that were read",
    "regions": "Rows written: one for each image that could be decoded",
    "rejects": "Images that could not be used",
    "rejects.REASON": "Of these, those with this reason",
    "duplicates": "Images whose bytes are those of another; they stay",
    "present": "Rows with a presence of 0.5 or more: an animal is taken to be there",
    "damaged": "Rows of which the decoder warned, with --damaged keep: some pixels are wrong",
    "gray": "Rows in shades of gray: presence cannot tell of them",
    "several": "Rows of files with several pictures (pages, animations): only the first was read",
    "bad_exif": "Rows with EXIF that cannot be read: what it would say is null",
    "unnamed": "Rows of Parquet without a name of their own: named after their numbers",
    "status.found": "Images with a box; it says nothing of an animal",
    "status.no_region": "Images in which no part is unlike the rest",
    "status.one_colour": "Images of a single colour",
    "status.no_colour": "Images in shades of gray, in which nothing was found",
    "status.too_small": "Images with a side that is too short to be divided",
    "skipped.hidden": "Entries whose name begins with a dot",
    "skipped.link": "Symbolic links",
    "skipped.special": "Pipes, sockets and devices",
    "skipped.no_photograph": "Files that are no photographs by their names: records, videos, files of programs",
    "skipped.raw": "Raw files beside a photograph of the same name",
    "skipped.not_included": "Files and members of tars that --include left out",
    "skipped.failed_download": "Rows of Parquet of which the column status says that the download failed",
    "skipped.replaced": "Members of a tar that a later one of the same name replaces",
    "units": "Work units",
    "units.resumed": "Of these, those that an earlier attempt had done",
    "units.taken_over": "Of these, those that were taken over from the run that this one replaced",
    "units.rows_taken_over": "Images in these",
}

REASONS = {
    "empty_file": "No bytes",
    "null_bytes": "Null in Parquet: a picture that was never there",
    "not_an_image": "A video, a PDF, or first bytes that are those of no image: a web page, a text",
    "unsupported": "An image of another format (raw, GIF, PSD ...), of numbers instead of colours, or a rare JPEG",
    "bad_header": "A header that contradicts itself, or ends too soon",
    "too_many_pixels": "More than --max-pixels, by the header; not decoded",
    "too_many_bytes": "More than --max-bytes; not read",
    "truncated": "The end is missing",
    "damaged": "The decoder warns of its pixels, or refuses it",
    "crashed": "A process died of it twice, or did not end within two minutes",
}

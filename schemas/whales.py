"""What the whales job writes, and the truth of its sample."""

import pyarrow as pa

from schemas import field, schema

TRUTH = schema(
    "whales.truth",
    1,
    field("key", pa.string(), "File of the made-up image, relative to the folder of images"),
    field("x", pa.int32(), "Left of the box around the whole animal, in pixels; null without a whale", nullable=True),
    field("y", pa.int32(), "Top of that box", nullable=True),
    field("width", pa.int32(), "Width of that box", nullable=True),
    field("height", pa.int32(), "Height of that box", nullable=True),
    field("head_x", pa.int32(), "Left of the box around the head, the foremost sixth", nullable=True),
    field("head_y", pa.int32(), "Top of that box", nullable=True),
    field("head_width", pa.int32(), "Width of that box", nullable=True),
    field("head_height", pa.int32(), "Height of that box", nullable=True),
)

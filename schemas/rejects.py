"""What every job writes about the records that it could not use."""

import pyarrow as pa

from molino.schemas import field, schema

REJECTS = schema(
    "rejects",
    1,
    field("source", pa.string(), "Input file, relative to the inputs' common folder; of an image its key"),
    field("line", pa.int64(), "Line in that file; the header is line 1; 0 where the record is a whole file"),
    field("reason", pa.string(), "Why the record was rejected"),
    field(
        "row",
        pa.string(),
        "The clipped record: letters shown as A, digits as 9, so that nothing personal leaks; of an image its fault",
    ),
)

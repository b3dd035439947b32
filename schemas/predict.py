"""What the predict job writes."""

import pyarrow as pa

from molino.schemas import field, schema

PREDICTED = schema(
    "predict.predictions",
    1,
    field("source", pa.string(), "Input file, relative to the inputs' common folder"),
    field("line", pa.int64(), "Line in that file; the header is line 1"),
    field("title", pa.string(), "Title, as written"),
    field("prediction", pa.string(), "Name of the likeliest category"),
    field(
        "top_categories",
        pa.list_(pa.field("element", pa.string(), nullable=False)),
        "The five likeliest, in order; fewer where the classifier knows fewer",
    ),
    field(
        "top_probabilities",
        pa.list_(pa.field("element", pa.float32(), nullable=False)),
        "What the classifier gives them; all categories together have 1",
    ),
)

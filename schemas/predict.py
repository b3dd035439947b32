"""What the predict job writes."""

import pyarrow as pa

from molino.schemas import field, schema
from molino.schemas.rejects import TEXT_REASONS
from molino.schemas.titles import NOT_FINITE_REASON, RECORD_DOC

KEPT_DOC = "Column {} of the input, as it is"

PREDICTED = schema(
    "predict.predictions",
    2,
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
        "How likely they are; all categories have 1 together. Null where the classifier is balanced and not calibrated",
        nullable=True,
    ),
    field("record", pa.int64(), RECORD_DOC),
    field(
        "top_scores",
        pa.list_(pa.field("element", pa.float32(), nullable=False)),
        "What they are ordered by; all categories have 1 together. Balanced: as if all were equally frequent",
    ),
)

COUNTERS = {
    "rows_read": "Rows read from the inputs, headers apart",
    "predictions": "Rows written: one for each row that could be used",
    "rejects": "Rows that could not be used",
    "rejects.REASON": "Of these, those with this reason",
    "not_finite.classifier": "Titles whose scores are not finite, taken by --not-finite",
    "values.changed": "Values that --trim or --normalize changed",
    "quotes.unquoted": "Records with a quote within a field that is not quoted; it was taken for a letter",
}

REASONS = {**TEXT_REASONS, **NOT_FINITE_REASON}

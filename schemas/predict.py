"""What the predict job writes."""

import pyarrow as pa

from molino.schemas import field, list_of, optional, schema
from molino.schemas.rejects import TEXT_COUNTERS, TEXT_REASONS
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
        "top_categories", list_of(pa.string()), "The five likeliest, in order; fewer where the classifier knows fewer"
    ),
    optional(
        "top_probabilities",
        list_of(pa.float32()),
        "How likely they are; all categories have 1 together. Null where the classifier is balanced and not calibrated",
    ),
    field("record", pa.int64(), RECORD_DOC),
    field(
        "top_scores",
        list_of(pa.float32()),
        "What they are ordered by; all categories have 1 together. Balanced: as if all were equally frequent",
    ),
)

COUNTERS = {
    "rows_read": "Rows read from the inputs, headers apart",
    "predictions": "Rows written: one for each row that could be used",
    **TEXT_COUNTERS,
    "not_finite.classifier": "Titles whose scores are not finite, taken by --not-finite",
}

REASONS = {**TEXT_REASONS, **NOT_FINITE_REASON}

"""What the pca job writes. The vectors have the columns of the input; `COLUMN` and 128 stand for its vectors."""

import pyarrow as pa

from molino.schemas import field, list_of, optional, schema
from molino.schemas.rejects import TEXT_COUNTERS, TEXT_REASONS


def place_names(fields: pa.Schema) -> tuple[str, str]:
    """Return the names of the columns of a row's file and place: `input_` stands first where the input has the name.

    >>> place_names(pa.schema([("source", pa.string())]))
    ('input_source', 'row')
    """
    return free_name("source", fields, "input_"), free_name("row", fields, "input_")


def free_name(name: str, fields: pa.Schema, mark: str) -> str:
    """Return a name that no field has: with a mark before it, once or more, where one does."""
    return free_name(f"{mark}{name}", fields, mark) if name in fields.names else name


def vectors_schema(fields: pa.Schema, column: str, numbers: int, type_: pa.DataType) -> pa.Schema:
    """Return the schema of the rotated vectors: that of the input with other vectors in `column`, then file and row.

    `fields`: that are carried, in their order; the vectors come after them where they have no place among them.
    `numbers`: of a rotated vector. `type_`: of each.
    """
    rotated = field(column, list_of(type_, numbers), "Scores of the vector on the first components")
    kept = [rotated if one.name == column else one for one in fields]
    kept += [] if column in fields.names else [rotated]
    source, row = place_names(fields)
    place = field(source, pa.string(), "Input file, relative to the inputs' common folder")
    return schema("pca.vectors", 2, *kept, place, field(row, pa.int64(), "Row in that file, from 1"))


def components_schema(numbers: int) -> pa.Schema:
    """Return the schema of the components of vectors of so many numbers."""
    return schema(
        "pca.components",
        1,
        field("component", pa.int32(), "1 for the component with the most variance, and so on"),
        field("kept", pa.bool_(), "Whether the rotated vectors have it"),
        field("standard_deviation", pa.float64(), "Root of the sum of squared scores, divided by rows less one"),
        field("proportion", pa.float64(), "Its part of the variance of all components; 0 where there is none at all"),
        field("cumulative", pa.float64(), "Sum of the proportions up to this one"),
        field(
            "loadings",
            list_of(pa.float64(), numbers),
            "What each number of a vector weighs in the score; of length 1; the largest in absolute value is positive",
        ),
    )


VECTORS = vectors_schema(pa.schema([pa.field("COLUMN", pa.null())]), "COLUMN", 128, pa.float32())
COMPONENTS = components_schema(128)

CENTER = schema(
    "pca.center",
    1,
    field("number", pa.int32(), "Place in the vector, from 1"),
    field("mean", pa.float64(), "Of all vectors; subtracted before the rotation. No rows without --center"),
)

ERRORS = schema(
    "pca.errors",
    1,
    field("reference", pa.string(), "Column whose cosines are compared with those of the rotated vectors"),
    field("components", pa.int32(), "Components of the rotated vectors; 0 for the vectors before the rotation"),
    field("vector_type", pa.string(), "How the rotated vectors are rounded: float16, float32 or float64"),
    field("written", pa.bool_(), "Whether the run's vectors are these"),
    field("pairs", pa.int32(), "Pairs of sampled vectors that the errors are of"),
    optional("cosine_error_mean", pa.float64(), "Of the absolute difference of the cosines of a pair"),
    optional("cosine_error_p50", pa.float64(), "Its median"),
    optional("cosine_error_p99", pa.float64(), "Its 99th percentile"),
    optional("cosine_error_max", pa.float64(), "The largest"),
    optional(
        "cosine_error_weighted",
        pa.float64(),
        "Mean of the difference, each pair weighted by the squares of both magnitudes",
    ),
    optional(
        "bound",
        pa.float64(),
        "What that weighted mean over all pairs of all rows cannot exceed, by the variance left out; null when centred",
    ),
    optional("correlation", pa.float64(), "Of the cosines of the pairs in both"),
    optional("magnitude_mean", pa.float64(), "Of the magnitude after divided by that before"),
    optional("magnitude_min", pa.float64(), "The smallest of these ratios"),
    optional("magnitude_max", pa.float64(), "The largest of these ratios"),
    optional("recall_1", pa.float64(), "Share of sampled vectors whose nearest neighbour stays so"),
    optional("recall_10", pa.float64(), "Share of the 10 nearest neighbours that stay among the 10"),
    optional("recall_100", pa.float64(), "Share of the 100 nearest neighbours that stay among the 100"),
)

COUNTERS = {
    "rows_read": "Rows of the input",
    "vectors": "Rows written, with the vectors rotated",
    **TEXT_COUNTERS,
    "numbers": "Numbers of a vector",
    "components": "Numbers of a rotated vector",
    "refined": "1 where small components needed a pass of their own, else 0",
}

REASONS = {
    "null_vector": "There is no vector",
    "null_number": "A number of the vector is null, or nothing stands in its field",
    "no_number": "Text where a number should stand",
    "inexact_integer": "An integer beyond 2**53 that float64 does not hold exactly",
    "wrong_length": "More or fewer numbers than the others have",
    "not_a_number": "A number of the vector is NaN",
    "infinite": "A number of the vector is infinite",
    **TEXT_REASONS,
}

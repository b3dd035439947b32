"""What the titles job writes. The titles have one more column for each model, as `MODEL` stands for here."""

from collections.abc import Sequence

import pyarrow as pa

from molino.schemas import field, list_of, optional, schema
from molino.schemas.rejects import TEXT_COUNTERS, TEXT_REASONS

ID_DOC = (
    "Fingerprint64 (FarmHash) of the UTF-8 title, its low 32 bits XOR those of the category's; "
    "0 stands for the fingerprint of no category"
)
RECORD_DOC = "Number of the record in that file, from 1; a record may have several lines, and the header is none"
KEPT_DOC = "Column {} of the input, as it is; of the first row with this title and category"
TOKENS = 32  # of a title that are written; further ones are left out
SPLIT_DOC = "train, validation or test; titles that are nearly the same have the same one"


def titles_schema(
    dimensions: dict[str, int],  # of every model's vectors, by the model's name
    *,
    vector_type: pa.DataType | None = None,  # float32 (by default) or float16
    model_text: bool = False,  # with the column `model_text`
    tokens: bool = False,  # with two columns for each model after the vectors, `MODEL_tokens` and `MODEL_length`
    kept: Sequence[pa.Field] = (),  # columns that are carried from the input, the last ones
) -> pa.Schema:
    """Return the schema of the titles with one column of vectors for each model, in the order given."""
    ids = list_of(pa.int32(), TOKENS)
    counted = [
        made
        for name in (dimensions if tokens else ())
        for made in (
            field(f"{name}_tokens", ids, f"Rows of the title's first {TOKENS} tokens in the table of {name}; then -1"),
            field(f"{name}_length", pa.int32(), "Tokens of the title, those left out too"),
        )
    ]
    text = field("model_text", pa.string(), "The title without punctuation, as models with normalization see it")
    return schema(
        "titles.titles",
        2,
        field("id", pa.int64(), ID_DOC),
        field("title", pa.string(), "Title, as written"),
        *([text] if model_text else []),
        optional("language", pa.string(), "Language, as written; null where the input has none"),
        optional("label_quality", pa.string(), "How far to trust the category; null as above"),
        optional("category", pa.string(), "Category, as written; null by option"),
        field("label", pa.int32(), "Number of the category in the labels; -1 when training has no title of it"),
        field("split", pa.string(), SPLIT_DOC),
        field("count", pa.int32(), "Rows of the input with this title and category"),
        field("source", pa.string(), "Input file of the first of them, relative to the inputs' common folder"),
        field("record", pa.int64(), RECORD_DOC),
        *(
            field(name, list_of(vector_type or pa.float32(), size), f"Vector of the title by the model {name}")
            for name, size in dimensions.items()
        ),
        *counted,
        *kept,
    )


TITLES = titles_schema({"MODEL": 128})
WITH_OPTIONS = {"titles.titles": titles_schema({"MODEL": 128}, model_text=True, tokens=True)}

CONFLICTS = schema(
    "titles.conflicts",
    1,
    field("title", pa.string(), "A title that has more than one category; one row for each"),
    field("id", pa.int64(), "Id of the row in the titles"),
    optional("category", pa.string(), "Its category; null by option"),
    field("split", pa.string(), SPLIT_DOC),
    field("count", pa.int32(), "Rows of the input with this title and category"),
)

LABELS = schema(
    "titles.labels",
    1,
    field("label", pa.int32(), "0 for the category with the most titles in training, and so on; -1 when it has none"),
    optional("category", pa.string(), "Category, as written; null for titles without one"),
    field("train", pa.int64(), "Rows of the titles in the training split"),
    field("validation", pa.int64(), "Rows in the validation split"),
    field("test", pa.int64(), "Rows in the test split"),
)

COUNTERS = {
    "rows_read": "Rows read from the inputs, headers apart",
    "titles": "Rows written: one for each title and category",
    "duplicates": "Rows with the title and the category of a row that was written; its count has them",
    **TEXT_COUNTERS,
    "conflicting_titles": "Titles that stand under more than one category",
    "conflicts": "Rows of those titles",
    "split.contradicted": "Rows whose own split is not that of the first row with their title and category",
    "split.train": "Titles to train with",
    "split.validation": "Titles to choose among trainings with",
    "split.test": "Titles to measure the chosen one with",
    "labels": "Categories, and one row for titles without any",
    "unseen_categories": "Categories of which training has no title; they have the label -1",
    "unseen": "Titles of those categories",
    "unlabeled": "Titles without a category",
    "not_finite.MODEL": "Titles of which this model gives numbers that are not finite, taken by --not-finite",
}

NOT_FINITE_REASON = {"not_finite": "Numbers that are not finite (NaN or infinite), unless --not-finite takes them"}
REASONS = {
    **TEXT_REASONS,
    "no_category": "No category, where --without-category is not given",
    "bad_split": "With --split-column: neither train, validation nor test",
    "bad_category": "A line end in the category: a vocabulary is a text file with a category on each line",
    **NOT_FINITE_REASON,
}

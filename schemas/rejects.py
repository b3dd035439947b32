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

# what every job counts that reads text, besides its rows
TEXT_COUNTERS = {
    "rejects": "Rows that could not be used",
    "rejects.REASON": "Of these, those with this reason",
    "values.changed": "Values that --trim or --normalize changed",
    "quotes.unquoted": "Records with a quote within a field that is not quoted; it was taken for a letter",
}

# why text, JSON lines, and tables of text in Parquet and Excel are rejected by every job that reads them
TEXT_REASONS = {
    "too_few_fields": "Fewer fields than the header",
    "too_many_fields": "More fields than the header",
    "trailing_delimiter": "One empty field more than the header, at the end",
    "header_line": "The header once more, as where files were put together",
    "empty_line": "Nothing on the line",
    "line_too_long": "Longer than --max-line-bytes",
    "nul_byte": "A zero byte, as in a damaged file",
    "bad_encoding": "Bytes that are no text in --encoding",
    "unclosed_quote": "A quote that is opened and never closed, or not within --max-line-bytes",
    "bad_quoting": 'Quotes where none can be, or that may be left of a lost delimiter, as in $78"Table, 48"',
    "null_value": "A null in Parquet or JSON, or nothing of the name in JSON, in the column that no row may lack",
    "bad_json": "A line of JSON that holds no object, or a column twice that is read",
    "nested_value": "A list or an object of JSON in a column of text",
}

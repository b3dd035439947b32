"""JSON lines to rows: an object a line, its values as text; what is none is a reject, and no line is lost.

Blocks whose lines hold nothing odd are parsed by Arrow, others by Python's json module, a line at a time. Both give the
same rows.
"""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.json as pa_json

from molino.transforms.text.json_objects import DEEPEST, as_text, read_object
from molino.transforms.text.lines import Chunk, count_in_lines, cut_lines, line_faults, raw_rejects, show_line, to_utf8
from molino.transforms.text.position import LINE_BITS
from molino.transforms.text.row_groups import check_rows
from molino.transforms.text.sources import KEPT, Source, TextFormat

ODD = re.compile(rb"(?:NaN|Inf|Infinity)\s*[,\]}]")  # what one of the two parsers alone would take


class _BadLineError(Exception):
    """A line that is not read; the argument is the reason."""


def parse_json(data: bytes, source: Source, text: TextFormat, span_number: int, first_line: int) -> Chunk:
    """Parse whole lines of JSON, as `parse_lines` parses those of text. What a line gives depends on no other."""
    data, ends = cut_lines(data)
    position = (span_number << LINE_BITS) + first_line
    texts = [column for name, column in text.columns.items() if not name.startswith(KEPT)]
    wanted = list(dict.fromkeys(text.columns.values()))
    lengths = np.diff(ends, prepend=0)
    reasons, batch = np.full(len(ends), "", dtype=object), parse_strings(data, ends, wanted, text)
    if batch is None:
        reasons = line_faults(data, ends, 0, text)
        values: dict[str, list[str | None]] = {column: [None] * len(ends) for column in wanted}
        for i in np.flatnonzero(reasons == ""):
            try:
                line = data[ends[i] - lengths[i] : ends[i]].decode(text.encoding)
                for column, value in _read_values(line, wanted, texts).items():
                    values[column][i] = value
            except _BadLineError as error:
                reasons[i] = str(error)
        batch = pa.record_batch([pa.array(each, pa.string()) for each in values.values()], list(values))
    chunk = check_rows(batch, text, position, len(data), reasons)
    bad = chunk.rejects["position"].to_numpy() - position
    shapes = [show_line(data[ends[i] - lengths[i] : ends[i]], text) for i in bad]
    rejects = raw_rejects(chunk.rejects["position"], chunk.rejects["reason"], shapes)
    return dataclasses.replace(chunk, rejects=rejects)


def _read_values(line: str, wanted: Sequence[str], texts: Sequence[str]) -> dict[str, str | None]:
    """Return the values of wanted columns in a line; those of `texts` may not hold lists or objects."""
    try:
        found = read_object(line)
        values = {column: as_text(found.get(column)) for column in wanted}
    except ValueError:
        raise _BadLineError("bad_json") from None
    if any(found.names.count(column) > 1 for column in wanted):
        raise _BadLineError("bad_json")
    if any(isinstance(found.get(column), list | dict) for column in texts):
        raise _BadLineError("nested_value")
    try:
        "".join(value for value in values.values() if value).encode()
    except UnicodeEncodeError:  # half of a pair, as "\ud83d" alone
        raise _BadLineError("bad_encoding") from None
    return values


def parse_strings(data: bytes, ends: np.ndarray, columns: Sequence[str], text: TextFormat) -> pa.RecordBatch | None:
    """Parse lines that all hold an object, and strings in some columns; None where one may not.

    A line that begins and ends in a brace holds whole objects: within one no brace could follow another so. And as many
    objects as lines are one each.
    """
    values, lengths = np.frombuffer(data, np.uint8), np.diff(ends, prepend=0)
    braced = (values[ends - lengths] == ord("{")) & (values[ends - 2] == ord("}"))
    if not braced.all() or (lengths > text.max_line_bytes + 1).any() or b"\0" in data:
        return None
    opened = count_in_lines((values == ord("{")) | (values == ord("[")), ends)
    decoded = to_utf8(data, text.encoding)
    if (b"NaN" in data or b"Inf" in data) and ODD.search(data):
        return None
    if not decoded or opened.max() > DEEPEST:
        return None
    schema = pa.schema([(column, pa.string()) for column in columns])
    try:
        table = pa_json.read_json(
            pa.BufferReader(decoded),
            read_options=pa_json.ReadOptions(use_threads=False, block_size=len(decoded) + 1),
            parse_options=pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except ValueError:  # of Arrow too
        return None
    return table.combine_chunks().to_batches()[0] if len(table) == len(ends) else None

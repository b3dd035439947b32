"""Values freed of white space and brought to one spelling, where that is asked for."""

import unicodedata
from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms.text.position import POSITION
from molino.transforms.text.sources import KEPT, TextFormat

CHANGED = "values.changed"  # counter
SPACES = r"\p{Zs}"  # of Unicode: no-break, thin, ideographic ...


def _compose(column: pa.Array) -> pa.Array:
    column = pc.replace_substring_regex(column, SPACES, " ")
    odd = pc.invert(pc.string_is_ascii(column)).fill_null(False)
    # Arrow's own utf8_normalize takes accents apart where it is asked to compose them
    composed = [unicodedata.normalize("NFC", value) for value in column.filter(odd).to_pylist()]
    return pc.replace_with_mask(column, odd, pa.array(composed, pa.string())) if composed else column


NORMALIZED: Mapping[str, Callable[[pa.Array], pa.Array]] = {
    "off": lambda column: column,
    "nfc": _compose,
    "upper": lambda column: _compose(pc.utf8_upper(_compose(column))),
}


def clean_values(rows: pa.RecordBatch, text: TextFormat) -> tuple[pa.RecordBatch, dict[str, int]]:
    """Return rows with their values as the format wants them, and how many changed; what is carried stays as it is."""
    changed = 0
    for place, name in enumerate(rows.schema.names if text.trim or text.normalize != "off" else ()):
        if name == POSITION or name.startswith(KEPT):
            continue
        column = NORMALIZED[text.normalize](rows[name])
        column = pc.utf8_trim_whitespace(column) if text.trim else column
        changed += pc.sum(pc.not_equal(column, rows[name])).as_py() or 0
        rows = rows.set_column(place, name, column)
    return rows, {CHANGED: changed} if changed else {}

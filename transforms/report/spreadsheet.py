"""CSV for programs, and as a spreadsheet opens it by a double click."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

FORMS = ("plain", "excel", "excel-es")  # where the list separator is a comma; where it is a semicolon, as in Spain
FORMULA = tuple("=+-@\t\r")  # how a text begins that a spreadsheet takes for a formula


def to_csv(rows: Iterable[Sequence[Any]], form: str, *, begins: bool = True) -> bytes:
    r"""Return rows as CSV in UTF-8; null is empty.

    For Excel it begins with a byte order mark, without which letters beyond ASCII are broken, lines end in \r\n, and a
    text that would be a formula has an apostrophe before it. For programs values are as they are. With the form
    excel-es fields are parted by semicolons, and numbers have a decimal comma. `begins`: no rows come before these.

    >>> to_csv([["a;b", 1.5, "=1+1", -2]], "excel-es").decode("utf-8-sig")
    '"a;b";1,5;\'=1+1;-2\r\n'
    """
    text, plain = io.StringIO(), form == "plain"
    writer = csv.writer(text, delimiter=";" if form == "excel-es" else ",", lineterminator="\n" if plain else "\r\n")
    writer.writerows(rows if plain else ([_shown(value, form) for value in row] for row in rows))
    return text.getvalue().encode("utf-8-sig" if begins and not plain else "utf-8")


def _shown(value: Any, form: str) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return str(value).replace(".", ",") if form == "excel-es" and isinstance(value, float) else value

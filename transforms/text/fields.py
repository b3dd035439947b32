"""What the values of columns have in common that speaks against the options: nothing, blanks, quotes, numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms.text.columns import option_of
from molino.transforms.text.command_line import CommandLine
from molino.transforms.text.position import POSITION
from molino.transforms.text.sources import KEPT
from molino.transforms.warnings import DataWarning, Sighting, example_of

SHARE = 0.01  # of the rows: less is usual
ROWS, FILLED, PADDED, NUMBERS, QUOTED = "_rows", "_filled.", "_padded.", "_numbers.", "_quoted"  # counters
NO_BREAK = "\u00a0".encode()  # a space, whose bytes begin and end other letters too
NOTHING = pa.array([None, "", "\\N", "NULL", "null", "NA", "N/A", "nan", "NaN", "None"], pa.string())
NUMBER = r"^[^\pL]*[1-9][^\pL]*$"  # digits, and no letter; a mere 0 says that there is nothing


def count_fields(rows: pa.RecordBatch, *, unquoted: bool) -> dict[str, int]:
    """Count the rows, and for each of their columns the values that are padded with blanks, and the numbers.

    A column that says anything has a counter above 0; how much depends on how the rows were cut. `unquoted`: whether
    quotes are letters; values that stand in them are counted too.
    """
    counters: dict[str, int] = {ROWS: rows.num_rows} if rows.num_rows else {}

    def add(counter: str, which: np.ndarray) -> None:
        first = rows[POSITION][int(which[0])].as_py()
        before = counters.get(counter, 0)
        place = min(first, before.place) if isinstance(before, Sighting) else first
        counters[counter] = Sighting(before + len(which), place)

    names = [name for name in rows.schema.names if name != POSITION and not name.startswith(KEPT)]
    for name in names if counters else ():
        column = rows[name]
        if _has_any(column):
            counters[FILLED + name] = 1
        offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset :][: len(column) + 1]
        data = np.frombuffer(column.buffers()[2] or b"\0", np.uint8)
        heads, tails = data.take(offsets[:-1], mode="clip"), data.take(offsets[1:] - 1, mode="clip")
        # nearly all values begin with a letter and end in one; of the others few are of a kind that counts
        blank = _is_blank(heads) | _is_blank(tails) | (heads == NO_BREAK[0]) | (tails == NO_BREAK[1])
        odd = np.flatnonzero(((heads < ord("A")) | (tails <= ord(" ")) | blank) & (offsets[1:] > offsets[:-1]))
        if not len(odd):
            continue
        heads, tails = heads[odd], tails[odd]
        if len(which := odd[blank[odd]]):
            values = column.take(pa.array(which))
            bare = pc.utf8_trim_whitespace(values)
            said = pc.and_(pc.not_equal(bare, ""), pc.not_equal(bare, values))
            if len(which := which[said.to_numpy(zero_copy_only=False)]):
                add(PADDED + name, which)
        if unquoted and len(which := odd[(heads == ord('"')) & (tails == heads) & (np.diff(offsets)[odd] > 1)]):
            add(QUOTED, which)
        numbers = pc.match_substring_regex(column.take(pa.array(odd)), NUMBER).fill_null(False)
        if len(which := odd[numbers.to_numpy(zero_copy_only=False)]):
            add(NUMBERS + name, which)
    return counters


def _is_blank(characters: np.ndarray) -> np.ndarray:
    return (characters == ord(" ")) | (characters == ord("\t"))


def _has_any(column: pa.Array) -> bool:
    """Return whether any value says something. The first few mostly do."""
    some = (pc.is_in(pc.utf8_trim_whitespace(part), NOTHING) for part in (column.slice(0, 64), column))
    return any(not pc.all(empty, min_count=0).as_py() for empty in some)


def warn_of_fields(
    counters: Mapping[str, int],
    columns: Mapping[str, str],
    *,
    words: Sequence[str],
    loose: Sequence[str],
    optional: Sequence[str],
    command: CommandLine,
) -> list[DataWarning]:
    """Return what is doubtful about columns, from the counters of `count_fields`.

    `columns`: those that an input has: names in the batch, mapped to names in the header. `words`: names of those that
    hold no numbers. `loose`: names of those in which blanks around a value are usual, or taken off by the job.
    `optional`: names of those that an input may lack.
    """
    rows, found = counters.get(ROWS, 0), []
    for name, column in columns.items():
        right = f"is it the right one? {option_of(name)} names another"
        right += ", or with '' none" if name in optional else ""
        if rows and not counters.get(FILLED + name):
            told = f"the column {column!r} is empty in all {rows:,} rows"
            found.append(DataWarning("column.empty", told, rows, remedy=right))
        numbers, padded = (int(counters.get(kind + name, 0)) for kind in (NUMBERS, PADDED))
        if name in words and numbers > SHARE * rows:
            told = f"the column {column!r} holds numbers in {numbers:,} of {rows:,} rows"
            found.append(DataWarning("column.numbers", told, numbers, example_of(counters, NUMBERS + name), right))
        if name not in loose and padded > SHARE * rows:
            told = f"the column {column!r} has blanks around its values in {padded:,} of {rows:,} rows; with them and "
            told += "without them a value is two"
            remedy = "--trim takes them off"
            found.append(DataWarning("column.padded", told, padded, example_of(counters, PADDED + name), remedy))
    if quoted := int(counters.get(QUOTED, 0)):
        told = f'values that stand in ", which is read as a part of them: {quoted:,}'
        remedy = f"right would be: {command.again(quote=chr(34))}"
        found.append(DataWarning("text.quote", told, quoted, example_of(counters, QUOTED), remedy))
    return found

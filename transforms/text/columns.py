"""Whether a header has the columns that a job wants, and which options would make it have them."""

import csv
import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from molino.transforms.errors import DataError
from molino.transforms.text.command_line import CommandLine

if TYPE_CHECKING:
    from molino.transforms.text.sources import TextFormat

DELIMITERS = ("|", ",", ";", "\t")
BLANK = " "  # parts fields only where it gives all wanted columns, and nothing else stands in the header
AUTO = "auto"  # a delimiter that is looked for
LOOKED = 100  # lines after the header
KEPT = "keep."  # how the names of columns begin that are carried, in the batch
MOST_SHOWN = 20
NUMBER = re.compile(r"[-+.\d]*\d")


def split_header(line: str, delimiter: str, quote: str) -> list[str]:
    """Return the column names of a header line; where a quote lacks its second, quotes part no names."""
    if quote and line.count(quote) % 2:
        return [name.strip(f"{quote} ") for name in line.split(delimiter)]
    if quote:
        spaced = delimiter[1:] == " "
        return next(csv.reader([line], delimiter=delimiter[0], quotechar=quote, skipinitialspace=spaced), [])
    return line.split(delimiter)


def find_header(lines: Sequence[str], text: "TextFormat") -> int:
    """Return the number of the line that has all wanted columns, of several that no text may lack; 0 where none has.

    What stands above it is no table: no line of it fills so many fields.
    """
    needed = [
        {column, *text.others.get(name, ())} for name, column in text.columns.items() if name not in text.optional
    ]
    for number, line in enumerate(lines if len(needed) > 1 else ()):
        most = 0
        for mark in DELIMITERS if text.delimiter == AUTO else (text.delimiter,):
            names = {_plain(name) for name in split_header(line, mark, text.quote)} - {""}
            if all(names & {_plain(column) for column in each} for each in needed):
                return number
            most = max(most, len(names))
        if most >= len(needed):
            break
    return 0


def find_delimiter(lines: Sequence[str], path: str, text: "TextFormat") -> str:
    """Return what parts the fields of a text, by its header and some lines after it.

    Of what stands in the header it is that which gives all wanted columns, or else that which gives most of the lines
    as many fields as the header. Where nothing stands there, there is one column, and it is a comma. Raises DataError:
    it may be one or another.
    """
    header, rows = lines[0] or lines[1], lines[1 : LOOKED + 1]
    quote = '"' if '"' in header else text.quote
    there = [mark for mark in DELIMITERS if mark in header and mark != quote]
    fields = {mark: text.names or split_header(header, mark, quote) for mark in there or [BLANK]}
    likely = [mark for mark in fields if text.columns and _renamed(fields[mark], text) is not None] or there
    if len(likely) > 1:
        even = [sum(len(split_header(row, mark, quote)) == len(fields[mark]) for row in rows) for mark in likely]
        likely = [mark for mark, count in zip(likely, even, strict=True) if count > len(rows) / 2] or likely
    if len(likely) > 1:
        told = " or ".join(map(repr, likely))
        options = " or ".join(f"--delimiter {shlex.quote(mark)}" for mark in likely)
        raise DataError(f"{path}: its delimiter may be {told}; choose one: {options}")
    found = likely[0] if likely else ","
    # a blank before a quote is no part of a field
    return f"{found} " if text.quote and f"{found} {text.quote}" in header and found != BLANK else found


def find_columns(
    names: Sequence[str], path: str, text: "TextFormat", command: CommandLine, *, line: str | None = None
) -> dict[str, str]:
    """Return the column of a header that is read for each name in the batch, without those that it lacks.

    A column has the name that is wanted, or else another that will do, or else one that differs from these by case and
    blanks alone. `line`: the header as it stands in a text. Raises DataError: a column that is not optional is not
    there, or there are two of one. The message names all that is missing, what there is, and the complete command where
    other options would do.
    """
    found: dict[str, str] = {}
    for name, column in text.columns.items():
        wanted = (column, *text.others.get(name, ()))
        exact = [other for other in wanted if other in names]
        alike = [other for other in names if any(_like(other) == _like(each) for each in wanted)]
        if not exact and len(set(alike)) > 1:
            told = " and ".join(map(repr, alike))
            raise DataError(f"{path} has {told}, all similar to {column!r}; choose one: {option_of(name)} NAME")
        for other in (exact or alike)[:1]:
            if names.count(other) > 1:
                raise DataError(f"{path} has more than one column {other!r}; rename all but one of them in its header")
            found[name] = other
    missing = {name: text.columns[name] for name in text.columns if name not in found and name not in text.optional}
    if not missing:
        return found
    what = f"the column{'s' if len(missing) > 1 else ''} {', '.join(map(repr, missing.values()))}"
    near = _nearest(names, missing, text)
    # a file without a header has a person there: of what may be no header only what resembles a wanted name is shown
    if line is None or found or all(re.fullmatch(r"[a-z][a-z0-9_ .-]{0,40}", name) for name in names):
        shown = ", ".join(map(repr, names[:MOST_SHOWN])) + (" ..." if len(names) > MOST_SHOWN else "")
    else:
        count = "one column" if len(names) == 1 else f"{len(names)} columns"
        shown = count + (f", among them {', '.join(map(repr, near.values()))}" if near else "")
    remedy = _remedy(names, missing, near, text, command, line, is_odd=not found)
    if ".zip!" in path and not found:
        remedy = f"if it is not to be read, choose others by --members GLOB; else: {remedy}"
    raise DataError(f"{path} lacks {what}: its {'first line' if line is not None else 'schema'} has {shown}; {remedy}")


def _remedy(
    names: Sequence[str],
    missing: Mapping[str, str],
    near: Mapping[str, str],
    text: "TextFormat",
    command: CommandLine,
    line: str | None,
    *,
    is_odd: bool,
) -> str:
    """Return what to do; `is_odd` says that no wanted column is there."""
    carried = [name for name in missing if name.startswith(KEPT)]
    if carried and len(carried) == len(missing):
        return _remedy_of_kept(carried, missing, near)
    missing, near = ({name: each[name] for name in each if name not in carried} for each in (missing, near))
    if command.suits and near:
        both = " ".join(f"{option_of(name)} {shlex.quote(missing[name])} {shlex.quote(near[name])}" for name in near)
        return f"{command.suits} has all with these options; name both: {both}"
    if command.suits:
        return f"{command.suits} has all with these options; write the headers alike"
    if line is not None:
        head = line.lstrip().lower()
        if head.startswith("["):
            return "it looks like a list of JSON; write an object a line: jq -c '.[]' FILE > FILE.jsonl"
        if head.startswith("sep="):
            return "that is a mark for Excel: delete this line, or add --skip-lines 1"
        if better := _better_options(line, text):
            return f"right would be: {command.changed(**better)}"
        if any(NUMBER.fullmatch(name.strip()) for name in names):
            return "is there no header line? Name all columns: --header NAME ..."
        if len(names) < 2:
            mark = max(DELIMITERS, key=line.count)
            right = f" Its fields look parted by {mark!r}: {command.changed(delimiter=mark)}" if mark in line else ""
            return f"is --delimiter right?{right}"
    if options := _renamed(names, text):
        return f"right would be: {command.changed(**options)}"
    unknown = ", ".join(f"{option_of(name)} NAME" for name in missing if name not in near)
    if near:
        guessed = command.changed(**{f"{name}_column": column for name, column in near.items()})
        return f"did you mean: {guessed}" + (f", with {unknown}" if unknown else "")
    headless = "; is there no header line? Name all: --header NAME ..." if line is not None and is_odd else ""
    return f"name with {unknown}{headless}"


def _remedy_of_kept(carried: Sequence[str], missing: Mapping[str, str], near: Mapping[str, str]) -> str:
    """Return how columns that are to be carried are named: first the input's name."""
    words = []
    for name in carried:
        column, wanted = near.get(name, missing[name]), name.removeprefix(KEPT)
        words.append(shlex.quote(column if wanted == missing[name] else f"{column}={wanted}"))
    guess = f"did you mean: --keep {' '.join(words)}" if near else "--keep takes columns of the input"
    return f"{guess}; COL=NAME carries the input's COL as NAME"


def option_of(name: str) -> str:
    """Return the option that names a column."""
    return "--keep" if name.startswith(KEPT) else f"--{name.replace('_', '-')}-column"


def _nearest(names: Sequence[str], missing: Mapping[str, str], text: "TextFormat") -> dict[str, str]:
    """Return for missing columns the one of the header, not wanted yet, that is most like each, where one is."""
    free = {_plain(name): name for name in reversed(names) if name not in text.columns.values()}
    near = {}
    for name, column in missing.items():
        for found in difflib.get_close_matches(_plain(column), free, 1):
            near[name] = free.pop(found)
    return near


def _better_options(line: str, text: "TextFormat") -> dict[str, str]:
    """Return the delimiter, the quote and the columns' names with which a header line has all columns, if any do."""
    for quote in dict.fromkeys(('"' if '"' in line else text.quote, text.quote)):
        for delimiter in dict.fromkeys((text.delimiter, *DELIMITERS)):
            if quote == delimiter:
                continue
            names = split_header(line, delimiter, quote)
            renamed = _renamed(names, text)
            if renamed is not None and len(names) > 1:
                changed = {"delimiter": delimiter} if delimiter != text.delimiter else {}
                return changed | ({"quote": quote} if quote != text.quote else {}) | renamed
    return {}


def _renamed(names: Sequence[str], text: "TextFormat") -> dict[str, str] | None:
    """Return the options that name the columns where they differ by case, blanks or quotes; None where one lacks."""
    found: dict[str, str] = {}
    for name, column in text.columns.items():
        if column in names:
            continue
        alike = [other for other in names if _plain(other) == _plain(column)]
        if not alike and name not in text.optional:
            return None
        found |= {f"{name}_column": other for other in alike[:1]}
    return found


def _like(name: str) -> str:
    """Return what of a column's name counts: neither case, nor blanks around it, nor whether "_" parts its words."""
    return re.sub(r"\s+", "_", name.strip(" \t\ufeff\u00a0")).casefold()


def _plain(name: str) -> str:
    return re.sub(r"[\s_\"'\ufeff]+", "", name).lower()

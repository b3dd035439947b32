"""A look at the first block of texts before a run: what contradicts the options, and what would be right."""

import contextlib
import csv
import dataclasses
import re
import shlex
from collections import Counter
from collections.abc import Callable, Sequence

from molino.transforms.files.list_files import folder_columns
from molino.transforms.text.columns import DELIMITERS, option_of
from molino.transforms.text.command_line import CommandLine
from molino.transforms.text.encodings import better_encoding, is_in
from molino.transforms.text.sources import PARQUET, Source, TextFormat
from molino.transforms.text.unpack import unpacked_blocks
from molino.transforms.warnings import DataWarning

MOST_FILES = 200  # that are looked at, evenly spread over all
BLOCK_BYTES = 1 << 16
SAMPLES, SAMPLE_BYTES = 8, 1 << 20  # texts whose records are looked at too, and bytes of all of them
MOST_LINES = 1000  # of a block
MOST = 0.5  # share of the lines, or of the bytes, above which they are said to be so
QUOTES = "\"'"
Found = DataWarning | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """What a look at texts saw."""

    kinds: tuple[str, ...]  # what they are, each kind with the number of files, for who plans a run
    warnings: tuple[DataWarning, ...]  # what contradicts the options
    # of a few texts the first whole lines after the header, for who looks at records; of Parquet nothing
    heads: tuple[tuple[Source, bytes], ...] = ()


def look_at(sources: Sequence[Source], text: TextFormat, command: CommandLine) -> Look:
    """Look at the first block of up to 200 texts; always the same of the same sources."""
    filled = [source for source in sources if not source.empty]
    few = min(MOST_FILES, len(filled))
    every, size = max(1, -(-few // SAMPLES)), max(BLOCK_BYTES, SAMPLE_BYTES // max(1, few))
    kinds: Counter[str] = Counter()
    found: dict[str, list[tuple[str, DataWarning]]] = {}
    heads = []
    for source in sources:
        for doubt in source.doubts:
            found.setdefault(doubt.kind + doubt.remedy, []).append((source.label, doubt))
    for place, source in enumerate(filled[i * len(filled) // few] for i in range(few)):
        if twins := _check_names(source, text):
            found.setdefault(twins.kind + twins.text, []).append((source.label, twins))
        if source.is_table:
            kinds[f"{'Parquet' if source.kind == PARQUET else 'Excel'}, {len(source.header)} columns"] += 1
            heads += [(source, b"")] if place % every == 0 else []
            continue
        format_ = source.format_of(text)
        block = next(unpacked_blocks(source.path, source.kind, source.member, source.start + size), b"")[source.start :]
        if place % every == 0:
            whole = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1 if len(block) >= size else len(block)
            heads.append((source, block[:whole]))
        lines = _lines(block[:BLOCK_BYTES], ended=len(block) < BLOCK_BYTES)
        packed = f"{source.kind}, " if source.kind != "plain" else ""
        quoting = f"quoted by {format_.quote}" if format_.quote else "unquoted"
        how = "JSON lines" if source.json else f"delimiter {format_.delimiter!r}, {quoting}"
        kinds[f"{packed}{_encoding_seen(lines, format_)}, {how}, {len(source.header)} columns"] += 1
        for check in CHECKS[:1] if source.json else CHECKS:
            if warning := check(lines, source, format_, command):
                found.setdefault(warning.kind + warning.remedy, []).append((source.label, warning))
    described = tuple(f"{n:,} {'file' if n == 1 else 'files'}: {kind}" for kind, n in kinds.most_common())
    return Look(kinds=described, warnings=tuple(_merged(told, few) for told in found.values()), heads=tuple(heads))


def _merged(told: Sequence[tuple[str, DataWarning]], looked: int) -> DataWarning:
    label, first = told[0]
    many = f" ({len(told):,} of {looked:,} files looked at)" if len(told) > 1 else ""
    example = first.example and f"{label} {first.example}"
    return dataclasses.replace(first, text=first.text + many, count=len(told), example=example)


def _lines(block: bytes, *, ended: bool) -> list[bytes]:
    lines = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return lines[: -1 if not ended or not lines[-1] else None][:MOST_LINES]


def _encoding_seen(lines: Sequence[bytes], text: TextFormat) -> str:
    block = b"\n".join(lines)
    if block.isascii():
        return "ASCII so far"
    return "UTF-8" if is_in(block, "utf-8") else f"not UTF-8, read as {text.encoding}"


def _check_names(source: Source, text: TextFormat) -> Found:
    alike = {name: c for name, c in source.columns.items() if c not in (text.columns[name], *text.others.get(name, ()))}
    if alike:
        told = ", ".join(f"{column!r} for {text.columns[name]!r}" for name, column in alike.items())
        remedy = " ".join(f"{option_of(name)} {shlex.quote(column)}" for name, column in alike.items())
        told = f"columns are taken for others from which they differ by case or blanks: {told}"
        return DataWarning("text.header", told, 1, "header", f"{remedy} says so")
    for name, column in source.columns.items():
        if column in source.header and column in folder_columns(source.path):
            told = f"the column {column!r} stands in the file and in the name of its folder; that of the file is read"
            return DataWarning("text.folders", told, 1, "", "rename the folders where theirs is the right one")
        for twin in source.header:
            if twin != column and twin.strip().lower() == column.strip().lower():
                told = f"there is a column {twin!r} beside {column!r}; the latter is read"
                remedy = f"is it the right one? {option_of(name)} {shlex.quote(twin)} names the other"
                return DataWarning("text.columns", told, 1, "header", remedy)
    return None


def _check_encoding(lines: Sequence[bytes], source: Source, text: TextFormat, command: CommandLine) -> Found:
    better = better_encoding(b"\n".join(lines), text.codec)
    if not better:
        return None
    line = next(number for number, line in enumerate(lines) if not line.isascii())
    why = "is valid UTF-8" if better == "utf-8" else f"looks like {better}"
    told = f"text that is read as {text.encoding} {why}"
    return DataWarning("text.encoding", told, 1, _line(source, line), _right(command, encoding=better))


def _check_quotes(lines: Sequence[bytes], source: Source, text: TextFormat, command: CommandLine) -> Found:
    fields = [line.decode("latin-1").split(text.delimiter) for line in lines]
    for quote in (mark for mark in QUOTES if mark not in (text.quote, text.delimiter)):
        quoted = [any(len(f) > 1 and f[0] == f[-1] == quote for f in row) for row in fields]
        if sum(quoted) > MOST * len(lines):
            read = f"read as quoted by {text.quote}" if text.quote else "read as unquoted"
            told = f"fields that are {read} stand in {quote}"
            return DataWarning("text.quote", told, 1, _line(source, quoted.index(True)), _right(command, quote=quote))
    return None


def _check_escapes(lines: Sequence[bytes], source: Source, text: TextFormat, command: CommandLine) -> Found:
    r"""Check whether a backslash stands for the quoting of what follows; a field may well end in one, as "C:\" does."""
    if text.escape:
        return None
    mark, delimiter = text.quote or text.delimiter, text.delimiter.encode()
    ends = rf"(?!$|[{re.escape(text.quote + text.delimiter)}])" if text.quote else ""
    escaped = re.compile((re.escape("\\" + mark) + ends).encode())
    found = [
        number
        for number, line in enumerate(lines)
        if escaped.search(line) and (text.quote or line.count(delimiter) >= len(source.header))
    ]
    if not found:
        return None
    count = f"in {len(found):,} of the first {len(lines):,} lines"
    told = f"{count} {mark} stands behind a backslash; it is read as any other"
    return DataWarning("text.escape", told, len(found), _line(source, found[0]), _right(command, escape="\\"))


def _check_fields(lines: Sequence[bytes], source: Source, text: TextFormat, command: CommandLine) -> Found:
    """Check how many fields the lines have: one empty one too many, or those that another delimiter gives."""
    wanted = len(source.header)
    rows, ends = _records(lines, text)
    trailing = [len(row) == wanted + 1 and not row[-1] for row in rows]
    if sum(trailing) > MOST * len(rows):
        told = f"rows end in a delimiter that the header lacks: one empty field too many, {wanted + 1} for {wanted}"
        names = ["--skip-lines", str(source.first_line - 1), "--header", *source.header, f"column_{wanted + 1}"]
        remedy = f"give {shlex.join(names)}, or add a {text.delimiter} to the end of the header line"
        return DataWarning("text.trailing_delimiter", told, 1, _line(source, ends[trailing.index(True)] - 1), remedy)
    if sum(len(row) != wanted for row in rows) > MOST * len(rows):
        for other in (mark for mark in DELIMITERS if mark != text.delimiter):
            format_ = dataclasses.replace(text, delimiter=other, quote="" if text.quote == other else text.quote)
            others, _ = _records(lines, format_)
            if sum(len(row) == wanted for row in others) > MOST * len(others):
                told = f"rows have {wanted} fields between {other!r}, not between {text.delimiter!r}"
                return DataWarning("text.delimiter", told, 1, _line(source, 0), _right(command, delimiter=other))
    return None


def _check_blank_lines(lines: Sequence[bytes], source: Source, text: TextFormat, command: CommandLine) -> Found:
    for first in (0, 1):
        blank, others = lines[first::2], lines[1 - first :: 2]
        if len(others) > 1 and all(others) and not any(blank):
            told = "every second line is empty, as where line ends were converted twice"
            remedy = r"remove them: tr -s '\r\n' '\n' < FILE"
            return DataWarning("text.blank_lines", told, len(blank), _line(source, first), remedy)
    return None


def _records(lines: Sequence[bytes], text: TextFormat) -> tuple[list[list[str]], list[int]]:
    """Return the fields of the records that begin in lines, and the number of each one's last line, from 1."""
    decoded = [line.decode("latin-1") for line in lines]
    if not text.quote:
        return [line.split(text.delimiter) for line in decoded], list(range(1, len(lines) + 1))
    spaced = text.mark != text.delimiter
    feed = (line + "\n" for line in decoded)
    reader = csv.reader(feed, delimiter=text.mark, quotechar=text.quote, skipinitialspace=spaced)
    rows, ends = [], []
    with contextlib.suppress(csv.Error):  # a field that never ends: what came before it is looked at
        for row in reader:
            rows.append(row)
            ends.append(reader.line_num)
    return rows, ends


def _line(source: Source, number: int) -> str:
    return f"line {number + source.first_line}"


def _right(command: CommandLine, **options: str) -> str:
    return f"right would be: {command.again(**options)}"


CHECKS: Sequence[Callable[..., Found]] = (
    *(_check_encoding, _check_quotes, _check_escapes, _check_fields, _check_blank_lines),
)

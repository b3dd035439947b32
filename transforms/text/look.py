"""A look at the first block of texts before a run: what contradicts the options, and what would be right."""

import contextlib
import csv
import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Sequence

from molino.transforms.text.command_line import CommandLine
from molino.transforms.text.sources import PARQUET, Source, TextFormat
from molino.transforms.text.unpack import unpacked_blocks
from molino.transforms.warnings import DataWarning

MOST_FILES = 200  # that are looked at, evenly spread over all
BLOCK_BYTES = 1 << 16
MOST_LINES = 1000  # of a block
MOST = 0.5  # share of the lines, or of the bytes, above which they are said to be so
DELIMITERS = ",;|\t"
QUOTES = "\"'"
# letters beyond ASCII of the languages that the data is in, which a right encoding shows within words
LETTERS = frozenset("’ÁÉÍÓÚÜÑáéíóúüñÀÂÃÇÊÔÕàâãçêôõ")
GUESSES = ("cp1252", "cp850", "mac-roman")  # what is taken for latin-1
IN_WORD = re.compile(rb"(?<=[A-Za-z])[\x80-\xff]|[\x80-\xff](?=[A-Za-z])")
Found = DataWarning | None
CONTROL = re.compile(rb"[\x80-\x9f]")  # control characters of latin-1 that no text has


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """What a look at texts saw.

    Attributes:
      seen: what they are, each kind with the number of files, for who plans a run.
      warnings: what contradicts the options.
    """

    seen: tuple[str, ...]
    warnings: tuple[DataWarning, ...]


def look_at(sources: Sequence[Source], text: TextFormat, command: CommandLine) -> Look:
    """Look at the first block of up to 200 texts; always the same of the same sources."""
    filled = [source for source in sources if not source.empty]
    few = min(MOST_FILES, len(filled))
    kinds: Counter[str] = Counter()
    found: dict[str, list[tuple[str, DataWarning]]] = {}
    for source in (filled[i * len(filled) // few] for i in range(few)):
        if source.kind == PARQUET:
            kinds[f"Parquet, {len(source.header)} columns"] += 1
            continue
        format_ = source.format_of(text)
        block = next(unpacked_blocks(source.path, source.kind, source.member, source.start + BLOCK_BYTES), b"")
        lines = _lines(block[source.start :], ended=len(block) < source.start + BLOCK_BYTES)
        packed = f"{source.kind}, " if source.kind != "plain" else ""
        quoting = f"quoted by {format_.quote}" if format_.quote else "unquoted"
        shown = f"delimiter {format_.delimiter!r}, {quoting}, {len(source.header)} columns"
        kinds[f"{packed}{_encoding_seen(lines, format_)}, {shown}"] += 1
        for check in CHECKS:
            if warning := check(lines, source, format_, command):
                found.setdefault(warning.kind + warning.remedy, []).append((source.label, warning))
    seen = tuple(f"{n:,} {'file' if n == 1 else 'files'}: {kind}" for kind, n in kinds.most_common())
    return Look(seen=seen, warnings=tuple(_merged(told, few) for told in found.values()))


def _merged(told: Sequence[tuple[str, DataWarning]], looked: int) -> DataWarning:
    """Return one warning for several files that have the same."""
    label, first = told[0]
    many = f" ({len(told):,} of {looked:,} files looked at)" if len(told) > 1 else ""
    example = first.example and f"{label} {first.example}"
    return dataclasses.replace(first, text=first.text + many, count=len(told), example=example)


def _lines(block: bytes, *, ended: bool) -> list[bytes]:
    """Return the whole lines of a block, without their ends."""
    lines = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return lines[: -1 if not ended or not lines[-1] else None][:MOST_LINES]


def _encoding_seen(lines: Sequence[bytes], text: TextFormat) -> str:
    """Return what the first lines are written in, as far as they show it."""
    block = b"\n".join(lines)
    if block.isascii():
        return "ASCII so far"
    return "UTF-8" if _decodes(block, "utf-8") else f"not UTF-8, read as {text.encoding}"


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def better_encoding(block: bytes, encoding: str) -> str:
    """Return the encoding that the bytes of a text speak for, "" where they do not contradict the one given.

    >>> better_encoding("MUÑOZ".encode(), "latin-1"), better_encoding("MUÑOZ".encode("cp850"), "latin-1")
    ('utf-8', 'cp850')
    """
    if block.isascii():
        return ""
    is_utf8 = _decodes(block, "utf-8")
    if encoding == "utf-8":
        return "" if is_utf8 else _best_guess(block, ("latin-1", *GUESSES))
    if is_utf8:
        return "utf-8"
    control = encoding == "iso8859-1" and CONTROL.search(block)
    if control or not _decodes(block, encoding):
        return _best_guess(block, GUESSES)
    letters, others = _letters(block, encoding)
    best = _best_guess(block, ("latin-1", *GUESSES)) if others > letters else ""
    return best if best and _letters(block, best)[0] > letters else ""


def _best_guess(block: bytes, encodings: Sequence[str]) -> str:
    """Return the encoding in which the most bytes within words are letters; of equal ones the first."""
    able = [encoding for encoding in encodings if _decodes(block, encoding)]
    return max(able, key=lambda encoding: _letters(block, encoding)[0], default="")


def _letters(block: bytes, encoding: str) -> tuple[int, int]:
    """Return how many bytes within words are letters in an encoding, and how many are something else."""
    decoded = [byte.decode(encoding, "replace") for byte in IN_WORD.findall(block)]
    letters = sum(character in LETTERS for character in decoded)
    return letters, len(decoded) - letters


def _check_encoding(
    lines: Sequence[bytes], source: Source, text: TextFormat, command: CommandLine
) -> DataWarning | None:
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


def _check_fields(lines: Sequence[bytes], source: Source, text: TextFormat, command: CommandLine) -> Found:
    """Check how many fields the lines have: one empty one too many, or those that another delimiter gives."""
    wanted = len(source.header)
    rows, ends = _records(lines, text)
    trailing = [len(row) == wanted + 1 and not row[-1] for row in rows]
    if sum(trailing) > MOST * len(rows):
        told = f"rows end in a delimiter that the header lacks: one empty field too many, {wanted + 1} for {wanted}"
        remedy = f"add a {text.delimiter} to the end of the header line"
        return DataWarning("text.trailing_delimiter", told, 1, _line(source, ends[trailing.index(True)] - 1), remedy)
    if sum(len(row) != wanted for row in rows) > MOST * len(rows):
        for other in (mark for mark in DELIMITERS if mark != text.delimiter):
            format_ = dataclasses.replace(text, delimiter=other, quote="" if text.quote == other else text.quote)
            others, _ = _records(lines, format_)
            if sum(len(row) == wanted for row in others) > MOST * len(others):
                told = f"rows have {wanted} fields between {other!r}, not between {text.delimiter!r}"
                return DataWarning("text.delimiter", told, 1, _line(source, 0), _right(command, delimiter=other))
    return None


def _records(lines: Sequence[bytes], text: TextFormat) -> tuple[list[list[str]], list[int]]:
    """Return the fields of the records that begin in lines, and the number of each one's last line, from 1."""
    decoded = [line.decode("latin-1") for line in lines]
    if not text.quote:
        return [line.split(text.delimiter) for line in decoded], list(range(1, len(lines) + 1))
    reader = csv.reader((line + "\n" for line in decoded), delimiter=text.delimiter, quotechar=text.quote)
    rows, ends = [], []
    with contextlib.suppress(csv.Error):  # a field that never ends: what came before it is looked at
        for row in reader:
            rows.append(row)
            ends.append(reader.line_num)
    return rows, ends


def _line(source: Source, number: int) -> str:
    return f"line {number + source.first_line}"


def _right(command: CommandLine, **options: str) -> str:
    return f"right would be: {command.changed(**options)}"


CHECKS: Sequence[Callable[..., Found]] = (_check_encoding, _check_quotes, _check_fields)

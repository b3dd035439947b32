"""Whether bytes contradict the encoding that they are read in, and which one they speak for."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from molino.transforms.text.command_line import CommandLine
from molino.transforms.warnings import DataWarning, Sighting, example_of

# letters beyond ASCII of the languages that the data is in, which a right encoding shows within words
LETTERS = frozenset("’ÁÉÍÓÚÜÑáéíóúüñÀÂÃÇÊÔÕàâãçêôõ")
GUESSES = ("cp1252", "cp850", "mac-roman")  # what is taken for latin-1
# 0xA0 is a no-break space of latin-1 or an á of cp850: within a word only before a small letter
IN_WORD = re.compile(rb"(?<=[A-Za-z])[\x80-\x9f\xa1-\xff]|[\x80-\x9f\xa1-\xff](?=[A-Za-z])|\xa0(?=[a-z])")
CONTROL = re.compile(rb"[\x80-\x9f]")  # control characters of latin-1 that no text has
MOST = 0.9  # share of the lines beyond ASCII above which a text is said to be UTF-8
UTF8, CONTROLS, OTHER = "_lines.utf8", "_lines.controls", "_lines.other"  # counters
STRAY = "quotes.unquoted"  # the counter of records in which a quote within an unquoted field was taken for a letter


def is_in(data: bytes, encoding: str) -> bool:
    """Return whether bytes are text in an encoding."""
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
    is_utf8 = is_in(block, "utf-8")
    if encoding == "utf-8":
        return "" if is_utf8 else _best_guess(block, ("latin-1", *GUESSES))
    if is_utf8:
        return "utf-8"
    control = encoding == "iso8859-1" and CONTROL.search(block)
    if control or not is_in(block, encoding):
        return _best_guess(block, GUESSES)
    letters, others = _letters(block, encoding)
    best = _best_guess(block, ("latin-1", *GUESSES)) if others > letters else ""
    return best if best and _letters(block, best)[0] > letters else ""


def _best_guess(block: bytes, encodings: Sequence[str]) -> str:
    """Return the encoding in which the most bytes within words are letters; of equal ones the first."""
    able = [encoding for encoding in encodings if is_in(block, encoding)]
    return max(able, key=lambda encoding: _letters(block, encoding)[0], default="")


def _letters(block: bytes, encoding: str) -> tuple[int, int]:
    """Return how many bytes within words are letters in an encoding, and how many are something else."""
    decoded = [byte.decode(encoding, "replace") for byte in IN_WORD.findall(block)]
    letters = sum(character in LETTERS for character in decoded)
    return letters, len(decoded) - letters


def count_doubts(data: bytes, ends: np.ndarray, codec: str, position: int, longest: int) -> dict[str, int]:
    """Count, of lines that are read in an encoding of one byte a character, those that speak against it.

    `data`, `ends`: of `cut_lines`. `codec`: Python's name of the encoding. `position`: of the first line. `longest`:
    bytes of a line; longer ones are not read, nor counted. Returns lines beyond ASCII: those that are valid UTF-8, of
    the rest those with control characters, and the rest.
    """
    if codec == "utf-8" or data.isascii():
        return {}
    values = np.frombuffer(data, np.uint8)
    beyond = np.flatnonzero(values >= 0x80)
    numbers = np.searchsorted(ends, beyond, side="right")
    short = (np.diff(ends, prepend=0) - 1 <= longest)[numbers]
    lines = np.unique(numbers[short])
    # without a byte from 0x80 to 0xBF a line is neither UTF-8 nor has it a control character
    doubtful = np.unique(numbers[short & (values[beyond] < 0xC0)])
    found: dict[str, list[int]] = {UTF8: [], CONTROLS: []}
    for number in doubtful.tolist():
        line = data[ends[number - 1] if number else 0 : ends[number]]
        if is_in(line, "utf-8"):
            found[UTF8].append(number)
        elif codec == "iso8859-1" and CONTROL.search(line):
            found[CONTROLS].append(number)
    rest = len(lines) - sum(map(len, found.values()))
    counts: dict[str, int] = {OTHER: rest} if rest else {}
    return counts | {name: Sighting(len(held), position + held[0]) for name, held in found.items() if held}


def warn_of_text(counters: Mapping[str, int], *, encoding: str, command: CommandLine) -> list[DataWarning]:
    """Return what is doubtful about delimited text that was read: what its lines say against the encoding, and quotes.

    `counters`: of the run, with those of `count_doubts`.
    """
    utf8, controls, other, stray = (int(counters.get(name, 0)) for name in (UTF8, CONTROLS, OTHER, STRAY))
    beyond = utf8 + controls + other
    warnings = []
    if utf8 > MOST * beyond:
        told = f"of {beyond:,} lines beyond ASCII, read as {encoding}, {utf8:,} are valid UTF-8"
        remedy = f"right would be: {command.again(encoding='utf-8')}"
        warnings.append(DataWarning("text.encoding", told, utf8, example_of(counters, UTF8), remedy))
    if controls:
        told = f"lines with characters that latin-1 has for no text (0x80 to 0x9F): {controls:,}"
        remedy = "is it cp1252, cp850 or mac-roman? Choose --encoding"
        warnings.append(DataWarning("text.encoding", told, controls, example_of(counters, CONTROLS), remedy))
    if stray:
        told = f"{stray:,} records have a quote within a field that is not quoted; it was taken for a letter"
        remedy = "write it twice, in a quoted field"
        warnings.append(DataWarning("text.quotes", told, stray, example_of(counters, STRAY), remedy))
    return warnings

"""Write a made-up file of product titles in the shape of the MeLi Data Challenge of 2019.

Products are invented, of the nouns, brands and features in words/. What is kept is all that a job has to cope with:
commas, quotes and line ends inside quoted fields; categories and words whose frequency falls with their rank, and model
numbers that hardly repeat; Spanish and Portuguese, with accents as often as not, punctuation, spaces, emoji; the same
title twice, or nearly, or under two categories; labels of poor quality. It is made in blocks: memory does not grow.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from molino.transforms.files import storage

HEADER = ("title", "label_quality", "language", "category")
LANGUAGES = ("spanish", "portuguese")
BLOCK_ROWS = 20_000
EXPONENT = 0.8  # of the categories' sizes

COPIES = 0.02  # of the rows; so are the next two
NEAR_COPIES = 0.015
CONFLICTS = 0.004
RELIABLE = 0.35  # of those that are no copies
WRONG_LABELS = 0.08  # of those that are not reliable

UNACCENTED = str.maketrans("áéíóúñçãõâêôàüÁÉÍÓÚÑÇÃÕÂÊÔÀÜ", "aeiouncaoaeoauAEIOUNCAOAEOAU")

# What no job can read, by the reason to reject it.
HOSTILE = {
    "too_few_fields": [b"Mesa Ratona,reliable,spanish\n", b"Mesa\n"],
    "too_many_fields": [b"Mesa, Silla Y Banco,reliable,spanish,SOFAS\n"],
    "empty_line": [b"\n"],
    "bad_quoting": [b'"Tv 32" Led",reliable,spanish,TELEVISIONS\n'],
    "bad_encoding": [b"Sof\xe1 Cama,unreliable,spanish,SOFAS\n"],
    "nul_byte": [b"Sofa\0Cama,unreliable,spanish,SOFAS\n"],
    "line_too_long": [b"Sofa " * 20_000 + b",unreliable,spanish,SOFAS\n"],
    "no_category": [b"Sofa Cama,unreliable,spanish,\n"],
}
# At the end of the file: what is never closed is not closed by a quote of the next row either.
UNCLOSED = {"unclosed_quote": [b'"Tv Led,reliable,spanish,TELEVISIONS\n']}


def _lines(name: str) -> list[str]:
    """Return the lines of a file of words/.

    `categories`: name, kinds of features, nouns in Spanish, nouns in Portuguese. `brands`: kinds of features, and the
    brands of such products. `features`: a kind, and its features. `extras`: what any title may have. What is the same
    in both languages stands alone, else Spanish~Portuguese.
    """
    return (Path(__file__).parent / "words" / f"{name}.txt").read_text(encoding="utf-8").splitlines()


class _Words:
    """The lists, parsed: one entry a category, and in it one a language."""

    def __init__(self) -> None:
        features: dict[str, list] = {}
        brands: dict[str, list] = {}
        for line in _lines("features"):
            kind, *texts = line.split("|")
            features[kind] = [_by_language(text) for text in texts]
        for line in _lines("brands"):
            kinds, names = line.split("|")
            brands |= dict.fromkeys(kinds.split(","), names.split(","))
        self.extras = [_by_language(text) for text in _lines("extras")]
        self.categories: list[str] = []
        self.nouns: list[tuple[list[str], list[str]]] = []
        self.features: list[list[tuple[str, str]]] = []
        self.brands: list[list[str]] = []
        for line in _lines("categories"):
            name, kinds, spanish, portuguese = line.split("|")
            self.categories.append(name)
            self.nouns.append((spanish.split(","), portuguese.split(",")))
            self.features.append([text for kind in kinds.split(",") for text in features[kind]])
            # the same brands, each category with others in front
            listed, first = brands[kinds.split(",")[0]], len(self.categories) * 5
            self.brands.append([listed[(first + i) % len(listed)] for i in range(len(listed))])
        sizes = np.arange(1, len(self.categories) + 1) ** -EXPONENT
        self.shares = np.cumsum(sizes / sizes.sum())


def _by_language(text: str) -> tuple[str, str]:
    spanish, _, portuguese = text.partition("~")
    return spanish, portuguese or spanish


def _pick(texts: Sequence, chance: float) -> Any:
    """Return one of the texts; the first are drawn more often, as words are."""
    return texts[int(chance * chance * len(texts))]


def _title(words: _Words, category: int, language: int, chances: Sequence[float]) -> str:
    """Return a made-up title of a category; `chances` are 18 numbers from 0 to 1."""
    parts = [_pick(words.nouns[category][language], chances[0])]
    if chances[1] < 0.7:
        parts.append(_pick(words.brands[category], chances[2]).replace("-", " " if chances[3] < 0.8 else "-"))
    if chances[4] < 0.55:
        number = int(chances[5] * 26 * 26 * 9000)  # of a model: a few letters and digits that few others have
        parts.append(f"{chr(65 + number % 26)}{chr(97 + number // 26 % 26)}{1000 + number // 676}")
    for place in (6, 7, 8):
        if chances[place] < (0.9, 0.6, 0.3)[place - 6]:
            feature = _pick(words.features[category], chances[place + 3])[language]
            if feature not in parts:
                parts.append(feature)
    if chances[12] < 0.3:
        parts.append(_pick(words.extras, chances[13])[language])
    text = "  ".join(parts) if chances[14] < 0.08 else ("-" if chances[14] > 0.99 else " ").join(parts)
    if chances[15] < 0.4:
        text = text.translate(UNACCENTED)
    if chances[16] < 0.08:
        text = f" {text}" if chances[16] < 0.03 else f"{text} "
    if chances[17] < 0.1:
        text = text.replace(" ", ", ", 1) if chances[17] < 0.06 else f"{text}." if chances[17] < 0.097 else f"{text}\n"
    return text


def _nearly(title: str, chance: float) -> str:
    """Return a title with the same words: in other case, without accents, turned round, or with other marks."""
    words = title.split()
    turned = " ".join([*words[1:], words[0]])
    bare, plain = title.translate(UNACCENTED), " ".join(words)
    ways = (title.upper(), title.lower(), bare, turned, f"{title}!", f"* {title}", plain)
    return ways[int(chance * len(ways))]


def _block(words: _Words, number: int, count: int, seed: int, counts: Counter[str]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of one block; copies are of rows of the same block."""
    chances = np.random.Generator(np.random.PCG64([seed, number])).random((count, 24))
    categories = np.searchsorted(words.shares[:-1], chances[:, 18], side="right").tolist()
    earlier: list[tuple[str, ...]] = []
    for category, drawn in zip(categories, chances.tolist(), strict=True):
        language = int(drawn[19] < 0.5)
        copied, which, trust, wrong = drawn[20:24]
        name = words.categories[category]
        if copied < COPIES + NEAR_COPIES + CONFLICTS and earlier:
            title, quality, spoken, name = earlier[int(which * len(earlier))]
            if copied < COPIES:
                counts["copies"] += 1
            elif copied < COPIES + NEAR_COPIES:
                counts["near_copies"] += 1
                title = _nearly(title, trust)
            else:
                counts["conflicts"] += 1
                name = words.categories[(words.categories.index(name) + 1) % len(words.categories)]
            row = (title, quality, spoken, name)
        else:
            quality = "reliable" if trust < RELIABLE else "unreliable"
            if trust >= RELIABLE and wrong < WRONG_LABELS:
                name = words.categories[int(wrong / WRONG_LABELS * len(words.categories))]
            row = (_title(words, category, language, drawn), quality, LANGUAGES[language], name)
        earlier.append(row)
        yield row


def sample_titles(path: str, *, rows: int = 200_000, seed: int = 2019, hostile: bool = False) -> dict[str, Any]:
    """Write a made-up file of `rows` titles; return what it holds.

    The bytes depend only on `rows`, `seed` and `hostile`. The file appears under its name when it is complete. Takes
    about 10 seconds for each million rows. `hostile`: also write rows that a job has to reject, in the middle of the
    file and at its end.

    Returned are `rows`, of which `copies`, `near_copies` and `conflicts` repeat a title with its category, nearly, and
    with another one, `hostile` (rows to be rejected, by reason), and `files`.
    """
    if rows < 0:
        raise ValueError(f"rows={rows} must be 0 or more")
    words, counts, rejects, target = _Words(), Counter[str](), Counter[str](), Path(path)
    blocks = -(-rows // BLOCK_ROWS)
    target.parent.mkdir(parents=True, exist_ok=True)
    with storage.published([target]) as [part], part.open("wb") as out:
        out.write(f"{','.join(HEADER)}\n".encode())
        for number in range(blocks):
            text = io.StringIO()
            count = min(BLOCK_ROWS, rows - number * BLOCK_ROWS)
            csv.writer(text, lineterminator="\n").writerows(_block(words, number, count, seed, counts))
            out.write(text.getvalue().encode())
            if hostile and number == blocks // 2:
                _write_hostile(out, HOSTILE, rejects)
        if hostile:
            _write_hostile(out, HOSTILE | UNCLOSED, rejects)
    return {
        "rows": rows,
        **{name: counts[name] for name in ("copies", "near_copies", "conflicts")},
        "hostile": dict(rejects),
        "files": [str(target)],
    }


def _write_hostile(out: BinaryIO, hostile: dict[str, list[bytes]], rejects: Counter[str]) -> None:
    for reason, lines in hostile.items():
        out.writelines(lines)
        rejects[reason] += len(lines)

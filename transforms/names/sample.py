"""Write a made-up payroll file in the shape of the SEP payroll of 2012.

The people, their CURPs and their pay are invented: nothing here comes from a real person or a published table. What is
kept of the real file is what a job that counts names has to cope with: latin-1, fields parted by "|" without quoting, a
header in each file; names whose frequency falls with their rank, with a long tail; an Ñ that offices wrote as N, `!`,
`%`, `Ã¿`..., while the CURP tells the truth; surnames that are none; people with two or three posts, whose names are
not always written alike.

The CURPs follow RENAPO's rule (see `curp.py` and `repair.py`); a rude word of four letters gets an X as its second
letter. The seventeenth character, 0 to 9 for those born before 2000, parts people who would else have the same CURP.

The file is made in blocks, so memory does not grow with it.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms.files import storage
from molino.transforms.names.curp import STATES, weigh
from molino.transforms.names.repair import cut_to_word

HEADER = "ENTIDAD|RFC|CURP|PRIMERAPELLIDO|SEGUNDOAPELLIDO|NOMBRESTRABAJADOR|CLAVEPLAZA|CLAVECT|HORAS|PERCEPCIONES"
BLOCK_ROWS = 200_000

REPEATS = 0.028  # of the rows: further posts of people
MISSPELT = {"lost": 0.2, "shortened": 0.2, "respelled": 0.3}  # of the repeats: how their names differ
WOMEN_SHARE = 0.6
NO_SECOND = 0.015  # of the people
# What is wrong with a CURP and how often: the check digit, small letters, a character too few or too many, 0 as O.
SPOILED = {"digit": 0.002, "lower": 0.00025, "missing": 0.00025, "doubled": 0.00025, "letter": 0.00025}
RANK_OFFSET, EXPONENT = 10, 1.3  # of the law of Zipf and Mandelbrot that the frequencies of names follow
BEARERS_OF_RARE = 20  # people for each name that is made of two others
RESTS = 20_000  # of a row behind the names

# How an Ñ is written and how often.
STYLES = {"Ñ": 0.5, "N": 0.22, "!": 0.1, "%": 0.06, "#": 0.05, "?": 0.03, "Ã¿": 0.02, "Ï¿½": 0.012, "Ð": 0.008}
JUNK = ("NULL", "", "-", ".", "0", "/", "\\", "_")


def _list(name: str) -> list[str]:
    """Return the names in a file of words/, which stand there with commas between them, the most frequent first."""
    text = (Path(__file__).parent / "words" / f"{name}.txt").read_text(encoding="utf-8")
    return [" ".join(each.split()) for each in text.split(",")]


RUDE = _list("rude")  # RENAPO's annex of words that must not begin a CURP
# The last surnames are twins of others with or without Ñ, which must not become one name, and foreign particles.
SURNAMES, MEN, WOMEN = map(_list, ("surnames", "men", "women"))
BIRTHDAYS = np.arange("1937-01-01", "1995-01-01", dtype="datetime64[D]")  # 18 to 75 years old in 2012
MAX_BLOCKS = len(BIRTHDAYS) // 4

DATES = pa.array([day[2:4] + day[5:7] + day[8:10] for day in np.datetime_as_string(BIRTHDAYS).tolist()])
ENTIDADES = pa.array([str(state) for state in range(1, 33)])
HOMOCLAVES = pa.array(map("".join, itertools.product("ABCDEFGHIJKLMNPQRSTUVWXYZ", "123456789", "ABCDEFGHI123456789")))

# A row whose day of birth, first surname, what follows the given name and what follows the school are open.
ROW = "9|XXXX8001{0}AB1|XXXX8001{0}HDFXXX00|{1}|LOPEZ|JUAN{2}|09E0281000001|09DPR0001A|20{3}\n"
# What a job must reject, by reason. None of these CURPs belongs to anyone in the file.
HOSTILE = {
    "too_few_fields": (ROW.format("01", "GARCIA", "", ""), "9|XXXX800101AB1\n", "TOTAL\n"),
    "trailing_delimiter": (ROW.format("02", "GARCIA", "", "|1000.00|"),),
    "too_many_fields": (ROW.format("03", "GARCIA", "|PABLO", "|1000.00|0|0"),),
    "nul_byte": (ROW.format("04", "GAR\0CIA", "", "|1000.00"), ROW.format("05", "GARCIA", "", "|\0\0\0\0")),
    "empty_line": ("\n", "\n", "\n"),
}


def curp_letters(names: pa.Array, *, is_given: bool) -> pa.Array:
    """Return what a CURP has of each name: first letter, inner vowel and inner consonant, X for Ñ and for none."""
    words = pc.replace_substring(cut_to_word(names, is_given=is_given), "Ñ", "X")
    inner = ("^.[^AEIOU ]*([AEIOU]?).*", "^.[AEIOU]*([^AEIOU ]?).*")
    found = (pc.replace_substring_regex(words, pattern, r"\1X") for pattern in inner)
    return _join(*(pc.utf8_slice_codeunits(each, 0, 1) for each in (words, *found)))


class _Names:
    """Names, CURPs' letters of them, and their shares: those listed, then as many pairs as `people` people have."""

    def __init__(self, listed: Sequence[str], people: float, rng: np.random.Generator, *, is_given: bool):
        single = [name for name in listed if " " not in name]
        pairs = sorted({f"{one} {other}" for one, other in itertools.permutations(single, 2)}.difference(listed))
        rare = rng.permutation(len(pairs))[: max(20, int(people / BEARERS_OF_RARE))]
        self.texts = pa.array([*listed, *(pairs[place] for place in rare.tolist())])
        self.letters = curp_letters(self.texts, is_given=is_given)
        weights = np.cumsum((np.arange(1.0, len(self.texts) + 1) + RANK_OFFSET) ** -EXPONENT)
        self.shares = weights / weights[-1]

    def draw(self, count: int, rng: np.random.Generator) -> tuple[pa.Array, pa.Array]:
        """Return names and their letters."""
        places = pa.array(np.searchsorted(self.shares, rng.random(count), side="right"))
        return self.texts.take(places), self.letters.take(places)


def _make_rests(rng: np.random.Generator) -> pa.Array:
    """Return what rows may have behind the names: post, school, hours and pay, with the line end."""
    states, numbers, hours = (rng.integers(*span, RESTS).tolist() for span in ((1, 33), (0, 10**6), (0, 49)))
    pay = (1000 * 90 ** rng.random(RESTS)).tolist()
    return pa.array(
        f"{state:02d}E0281{number:06d}|{state:02d}DPR{number % 10**4:04d}K|{worked}|{paid:.2f}\n"
        for state, number, worked, paid in zip(states, numbers, hours, pay, strict=True)
    )


def _choose(shares: dict[str, float], count: int, rng: np.random.Generator) -> np.ndarray:
    """Return which of the keys each row gets, by their shares: their places, or one more for the rest."""
    return np.searchsorted(np.cumsum(list(shares.values())), rng.random(count), side="right")


def _pick(texts: pa.Array, count: int, rng: np.random.Generator) -> pa.Array:
    return texts.take(pa.array(rng.integers(0, len(texts), count)))


def _join(*texts: pa.Array, by: str = "") -> pa.Array:
    return pc.binary_join_element_wise(*texts, by)


def _digits(numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers).cast(pa.string())


def _spell(names: pa.Array, styles: np.ndarray) -> pa.Array:
    """Return names with their Ñ as each style, a place in STYLES, writes it."""
    marks, has_mark = list(STYLES), pc.match_substring(names, "Ñ")
    own = styles[has_mark.to_numpy(zero_copy_only=False)].tolist()
    spelt = [
        name.replace("Ñ", marks[style]) for name, style in zip(names.filter(has_mark).to_pylist(), own, strict=True)
    ]
    return pc.replace_with_mask(names, has_mark, pa.array(spelt, pa.string()))


def _spoil(curps: pa.Array, rng: np.random.Generator) -> pa.Array:
    """Break a few CURPs as clerks do: none is another's then, as only a month's 0 becomes O in what parts people."""
    last = pc.utf8_slice_codeunits(curps, 17)
    other = _digits((last.cast(pa.int64()).to_numpy() + rng.integers(1, 10, len(curps))) % 10)
    spoiled = {
        "digit": _join(pc.utf8_slice_codeunits(curps, 0, 17), other),
        "lower": pc.utf8_lower(curps),
        "missing": pc.utf8_slice_codeunits(curps, 0, 17),
        "doubled": _join(curps, last),
        "letter": pc.replace_substring_regex(curps, "^(.{6})0", r"\1O"),
    }
    return pc.choose(pa.array(_choose(SPOILED, len(curps), rng)), *(spoiled[fault] for fault in SPOILED), curps)


def distinct_dates(who: np.ndarray, block: int, blocks: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return birthday and homonym digit, with `who` distinct in the file: a block owns every `blocks`-th day."""
    days = np.arange(block, len(BIRTHDAYS), blocks)
    # the youngest are 18 years old, the oldest 76
    turns = ((1 - rng.beta(2.6, 3.3, len(who))) * len(days)).astype(np.int64)
    digits = rng.integers(0, 10, len(who))
    while True:
        _, first = np.unique((who * len(days) + turns) * 10 + digits, return_index=True)
        alike = np.setdiff1d(np.arange(len(who)), first, assume_unique=True)
        if not len(alike):
            return days[turns], digits
        turns[alike], digits[alike] = rng.integers(0, len(days), len(alike)), rng.integers(0, 10, len(alike))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _People:
    """Distinct people, each with a value in every array."""

    rfc: pa.Array
    curp: pa.Array
    names: list[pa.Array]  # as they truly are: first and second surname, which may be junk, and given name
    written: list[pa.Array]  # the same as the first post has them

    def lines(self, who: np.ndarray, names: Sequence[pa.Array], rests: pa.Array, rng: np.random.Generator) -> pa.Array:
        """Return one line, with its end, for each post: of the person `who`, under `names`."""
        own = (column.take(pa.array(who)) for column in (self.rfc, self.curp))
        return _join(_pick(ENTIDADES, len(who), rng), *own, *names, _pick(rests, len(who), rng), by="|")

    def misspell(self, who: np.ndarray, rng: np.random.Generator) -> list[pa.Array]:
        """Return the names of further posts, which are not always those of the first."""
        places, count = pa.array(who), len(who)
        first, second, given = (names.take(places) for names in self.written)
        way = _choose(MISSPELT, count, rng)
        second = pc.if_else(pa.array(way == 0), _pick(pa.array(JUNK), count, rng), second)
        # MARIA ELENA is MA. ELENA, ANA LAURA is ANA
        short = pc.replace_substring_regex(given, "^(?:(MA)RIA|(J)OSE) ", r"\1\2. ")
        short = pc.if_else(pc.equal(short, given), pc.replace_substring_regex(given, " .*", ""), short)
        given = pc.if_else(pa.array(way == 1), short, given)
        styles, respelled = _choose(STYLES, count, rng), pa.array(way == 2)
        others = (_spell(names.take(places), styles) for names in self.names)
        return [pc.if_else(respelled, *pair) for pair in zip(others, (first, second, given), strict=True)]


def _make_people(tables: Sequence[_Names], count: int, block: int, blocks: int, rng: np.random.Generator) -> _People:
    """Return people of whom no two of the whole file have one CURP; `tables` are of surnames, of men and of women."""
    woman = pa.array(rng.random(count) < WOMEN_SHARE)
    surnames, men, women = tables
    (first, of_first), (second, of_second) = (surnames.draw(count, rng) for _ in range(2))
    given, of_given = (
        pc.if_else(woman, *pair) for pair in zip(women.draw(count, rng), men.draw(count, rng), strict=True)
    )
    none = pa.array(rng.random(count) < NO_SECOND)
    second = pc.if_else(none, _pick(pa.array(JUNK), count, rng), second)
    letters = (of_first, pc.if_else(none, "XXX", of_second), of_given)

    born = _pick(pa.array(STATES), count, rng)
    head = _join(*(pc.utf8_slice_codeunits(of, 0, stop) for of, stop in zip(letters, (2, 1, 1), strict=True)))
    head = pc.if_else(pc.is_in(head, pa.array(RUDE)), pc.utf8_replace_slice(head, 1, 2, "X"), head)
    rest = _join(pc.if_else(woman, "M", "H"), born, *(pc.utf8_slice_codeunits(of, 2, 3) for of in letters))
    who = _join(head, rest).dictionary_encode().indices.to_numpy().astype(np.int64)
    days, digits = distinct_dates(who, block, blocks, rng)
    begin = _join(head, DATES.take(pa.array(days)))
    curps = _join(begin, rest, _digits(digits))
    check = -weigh(np.frombuffer(curps.buffers()[2], np.uint8).reshape(count, 17)) % 10
    styles = _choose(STYLES, count, rng)
    names = [first, second, given]
    return _People(
        rfc=_join(begin, _pick(HOMOCLAVES, count, rng)),
        curp=_spoil(_join(curps, _digits(check)), rng),
        names=names,
        written=[_spell(each, styles) for each in names],
    )


def _blocks(rows: int, seed: int, counts: Counter[str]) -> Iterator[pa.Array]:
    """Yield the lines, block by block, and add to `counts`. Half of the further posts stand in the next block."""
    blocks = -(-rows // BLOCK_ROWS)
    if blocks > MAX_BLOCKS:
        raise ValueError(f"rows={rows:,} is more than {MAX_BLOCKS * BLOCK_ROWS:,}: CURPs would not stay distinct")
    rng = np.random.default_rng([seed, 0])
    tables = (
        _Names(SURNAMES, rows, rng, is_given=False),
        _Names(MEN, rows * (1 - WOMEN_SHARE), rng, is_given=True),
        _Names(WOMEN, rows * WOMEN_SHARE, rng, is_given=True),
    )
    rests = _make_rests(rng)
    waiting = pa.array([], pa.string())
    for block in range(blocks):
        rng = np.random.default_rng([seed, 1 + block])
        size = rows * (block + 1) // blocks - rows * block // blocks
        repeats = round(size * REPEATS)
        now = repeats if block == blocks - 1 else repeats - repeats // 2
        count = size - len(waiting) - now
        people, everyone = _make_people(tables, count, block, blocks, rng), np.arange(count)
        who = rng.integers(0, count, repeats)
        again = people.misspell(who, rng)
        differ = pc.not_equal(_join(*again, by="|"), _join(*people.written, by="|").take(pa.array(who)))
        counts.update(people=count, duplicates=repeats, conflicts=pc.sum(differ).as_py() or 0)
        first, further = people.lines(everyone, people.written, rests, rng), people.lines(who, again, rests, rng)
        # Each row's place: a person's is his number, a repeat's lies behind the person's, a waiting row's is anywhere.
        behind = who[:now] + (count - who[:now]) * rng.random(now)
        places = np.concatenate([everyone, behind, rng.random(len(waiting)) * count])
        lines = pa.concat_arrays([first, further.slice(0, now), waiting])
        waiting = further.slice(now)
        yield lines.take(pa.array(np.argsort(places, kind="stable")))


def target_files(path: str, files: int) -> list[Path]:
    """Return the names of the files.

    >>> [target.name for target in target_files("out/payroll.txt", 2)]
    ['payroll-00000-of-00002.txt', 'payroll-00001-of-00002.txt']
    """
    whole = Path(path)
    if files == 1:
        return [whole]
    return [whole.with_name(f"{whole.stem}-{i:05d}-of-{files:05d}{whole.suffix}") for i in range(files)]


def sample_names(
    path: str, *, rows: int = 1_256_438, seed: int = 2012, files: int = 1, hostile: bool = False
) -> dict[str, Any]:
    """Write a made-up payroll of `rows` rows to `path`, or to `files` files named after it; return what it holds.

    The bytes depend only on `rows`, `seed` and `hostile`; more files part the same rows. Files appear under their names
    when all are complete, in place of what had those names; until then they are hidden files beside them. Takes about 3
    seconds for each million rows, and 400 to 700 MB. At most about a billion rows. `hostile`: also write rows that a
    job has to reject, in the middle and at the end of each file.

    Returned are `rows`, which are `people` (distinct CURPs) and `duplicates` (rows whose CURP came before), `conflicts`
    (duplicates whose names differ from the first row's), `hostile` (rows to be rejected, by reason), and `files`.
    """
    if rows < 0 or files < 1:
        raise ValueError(f"rows={rows} must be 0 or more and files={files} at least 1")
    targets = target_files(path, files)
    counts, insertions, at = Counter(people=0, duplicates=0, conflicts=0), files * hostile, 0
    insertion = "".join(line for lines in HOSTILE.values() for line in lines if hostile).encode()
    bounds = [rows * i // files for i in range(files + 1)]
    targets[0].parent.mkdir(parents=True, exist_ok=True)
    with storage.published(targets) as parts:
        for part in parts:
            part.write_text(f"{HEADER}\n", encoding="latin-1")
        for block in _blocks(rows, seed, counts):
            for part, start, end in zip(parts, bounds, bounds[1:], strict=False):
                lines = block.slice(max(0, start - at), max(0, end - max(start, at))).to_pylist()
                if lines:
                    middle = len(lines) // 2
                    halves = ("".join(half).encode("latin-1") for half in (lines[:middle], lines[middle:]))
                    with part.open("ab") as out:
                        out.write(insertion.join(halves))
                    insertions += hostile
            at += len(block)
        for part in parts:
            with part.open("ab") as out:
                out.write(insertion)
    rejects = {reason: len(lines) * insertions for reason, lines in HOSTILE.items()}
    return {"rows": rows, **counts, "hostile": rejects, "files": [str(target) for target in targets]}

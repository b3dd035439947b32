"""Write a made-up payroll file in the shape of the SEP payroll of 2012.

The people, their CURPs and their pay are invented: nothing here comes from a real person or a published table. What is
kept of the real file is what a job that counts names has to cope with: latin-1, fields parted by "|" without quoting, a
header in each file; names whose frequency falls with their rank, with a long tail; an Ñ that offices wrote as N, `!`,
`%`, `Ã¿`..., while the CURP tells the truth; surnames that are none; people with two or three posts, whose names are
not always written alike.

The CURPs follow RENAPO's rule (see `curp.py`). Particles (DE LA CRUZ is CRUZ) and a leading MARIA or JOSE are skipped,
Ñ and whatever is missing become X, and a rude word of four letters gets an X as its second letter. The seventeenth
character, 0 to 9 for those born before 2000, parts people who would otherwise have the same CURP.

The file is made in blocks, so memory does not grow with it: 400 MB for ten million rows, 700 MB at most.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms.files import storage

HEADER = "ENTIDAD|RFC|CURP|PRIMERAPELLIDO|SEGUNDOAPELLIDO|NOMBRESTRABAJADOR|CLAVEPLAZA|CLAVECT|HORAS|PERCEPCIONES"
BLOCK_ROWS = 200_000

# Shares of rows or people.
REPEATS = 0.028
CONFLICTS = 0.35  # of the repeats
EXACT_THIRD_POSTS = 0.05  # of the repeats
DELAYED = 0.5  # of the repeats: they wait for a later block
WOMEN_SHARE = 0.6
JUNK_SECOND = 0.015
JUNK_FIRST = 0.0002
WRONG_CHECK_DIGIT = 0.002
BROKEN_CURP = 0.001
BORN_ELSEWHERE = 0.15
RARE_SURNAMES = 0.12
RARE_GIVEN = 0.08
PAIRED_GIVEN = 0.25

BEARERS_OF_RARE = 8  # mean number of people per rare name
MOST_RARE = 250_000  # rare names at most: bounds the tables of a very large file

# How an Ñ is written and how often.
STYLES = {"Ñ": 0.5, "N": 0.22, "!": 0.1, "%": 0.06, "#": 0.05, "?": 0.03, "Ã¿": 0.02, "Ï¿½": 0.012, "Ð": 0.008}
JUNK = ("NULL", "", "-", ".", "0", "/", "\\", "_")

PARTICLES = frozenset({"DE", "DEL", "LA", "LAS", "LOS", "Y", "MC", "MAC", "VON", "VAN"})
SKIPPED_FIRST = frozenset({"MARIA", "MA.", "MA", "M.", "JOSE", "J.", "J"})


def _list(name: str) -> list[str]:
    """Return the names in a file of words/, which stand there with commas between them."""
    text = (Path(__file__).parent / "words" / f"{name}.txt").read_text(encoding="utf-8")
    return [" ".join(each.split()) for each in text.split(",")]


# RENAPO's annex of words that must not begin a CURP.
RUDE = _list("rude")

# Code of each state in its official order (1 to 32) and its share of the people, in percent. NE: born abroad.
STATES = {
    "AS": 1.1, "BC": 2.8, "BS": 0.6, "CC": 0.7, "CL": 2.4, "CM": 0.6, "CS": 4.3, "CH": 3.0, "DF": 7.9, "DG": 1.5,
    "GT": 4.9, "GR": 3.0, "HG": 2.4, "JC": 6.5, "MC": 13.5, "MN": 3.9, "MS": 1.6, "NT": 1.0, "NL": 4.1, "OC": 3.4,
    "PL": 5.1, "QT": 1.6, "QR": 1.2, "SP": 2.3, "SL": 2.5, "SR": 2.4, "TC": 2.0, "TS": 2.9, "TL": 1.0, "VZ": 6.8,
    "YN": 1.7, "ZS": 1.3, "NE": 0.2,
}  # fmt: skip

# From the most frequent to the least, by guess.
SURNAMES = _list("surnames")
# Few people each: twins of a name with or without Ñ, which must not become one name, and foreign particles.
SCARCE_SURNAMES = _list("scarce_surnames")
SCARCE = 0.0001

MEN = _list("men")
WOMEN = _list("women")

# Stems and endings of the rare names. An onset is all that stands between two vowels, so each choice of stems and
# ending gives another name.
ONSETS = ["B", "C", "D", "F", "G", "J", "L", "M", "N", "Ñ", "P", "R", "S", "T", "V", "Y", "Z", "CH", "TL", "TZ", "QU"]
STEMS = [onset + vowel for onset in ONSETS for vowel in ("EI" if onset == "QU" else "AEIO")]
SURNAME_ENDINGS = ("", "N", "S", "L", "R", "Z", "C", "T")
MEN_ENDINGS = ("N", "L", "R", "S", "NO", "TO")
WOMEN_ENDINGS = ("", "NA", "LA", "RA", "LIA", "TH")

BIRTHDAYS = np.arange("1937-01-01", "1995-01-01", dtype="datetime64[D]")  # 18 to 75 years old in 2012
MAX_BLOCKS = len(BIRTHDAYS) // 4

ALPHABET = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"  # of the check digit: Ñ counts, though no CURP has one
HOMOCLAVE = np.frombuffer(b"ABCDEFGHIJKLMNPQRSTUVWXYZ123456789", np.uint8)
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


def curp_word(name: str, *, is_given: bool = False) -> str:
    """Return the word of a name from which the CURP takes its letters.

    >>> curp_word("DE LA CRUZ"), curp_word("MARIA DEL CARMEN", is_given=True), curp_word("JOSE", is_given=True)
    ('CRUZ', 'CARMEN', 'JOSE')
    """
    words = name.split()
    if is_given and len(words) > 1 and words[0] in SKIPPED_FIRST:
        words = words[1:]
    return next((word for word in words if word not in PARTICLES), words[0])


def curp_letters(word: str) -> str:
    """Return first letter, first inner vowel and first inner consonant of a word, X for what it lacks and for Ñ.

    >>> curp_letters("MUÑOZ"), curp_letters("CANO"), curp_letters("O")
    ('MUX', 'CAN', 'OXX')
    """
    word = word.replace("Ñ", "X")
    vowel = next((c for c in word[1:] if c in "AEIOU"), "X")
    consonant = next((c for c in word[1:] if c not in "AEIOU"), "X")
    return word[0] + vowel + consonant


def shorten(name: str) -> str:
    """Return a given name as a hurried clerk writes it; a name of one word stays as it is.

    >>> shorten("MARIA GUADALUPE"), shorten("JOSE LUIS"), shorten("ANA LAURA")
    ('MA. GUADALUPE', 'J. LUIS', 'ANA')
    """
    first, _, rest = name.partition(" ")
    if not rest:
        return name
    return {"MARIA": f"MA. {rest}", "JOSE": f"J. {rest}", "MA.": f"MA {rest}", "J.": f"J {rest}"}.get(first, first)


def _cdf(weights: Iterable[float]) -> np.ndarray:
    sums = np.cumsum(list(weights))
    return sums / sums[-1]


def _draw(rng: np.random.Generator, cdf: np.ndarray, count: int) -> np.ndarray:
    return np.searchsorted(cdf, rng.random(count), side="right")


def _zipf(count: int, *, offset: float, exponent: float) -> np.ndarray:
    """Zipf-Mandelbrot weights of `count` ranks; they sum to 1."""
    weights = (np.arange(1.0, count + 1) + offset) ** -exponent
    return weights / weights.sum()


def _add_rare(
    names: dict[str, float], people: float, share: float, endings: Sequence[str], rng: np.random.Generator
) -> dict[str, float]:
    """Return the names and, with weights that sum to `share`, others that 1 to about 100 of `people` people bear each.

    These are of three stems and an ending.
    """
    count = int(np.clip(people * share / BEARERS_OF_RARE, 20, MOST_RARE))
    base = len(STEMS)
    numbers = rng.choice(base**3 * len(endings), count + len(names), replace=False).tolist()
    made = (
        STEMS[i % base] + STEMS[i // base % base] + STEMS[i // base**2 % base] + endings[i // base**3] for i in numbers
    )
    new = [name for name in made if name not in names][:count]
    return names | dict(zip(new, (share * _zipf(count, offset=count / 50, exponent=1)).tolist(), strict=True))


def _surname_weights(people: float, rng: np.random.Generator) -> dict[str, float]:
    common = (1 - RARE_SURNAMES) * _zipf(len(SURNAMES), offset=8, exponent=1.15)
    known = dict(zip(SURNAMES, common.tolist(), strict=True)) | dict.fromkeys(SCARCE_SURNAMES, SCARCE)
    return _add_rare(known, people, RARE_SURNAMES, SURNAME_ENDINGS, rng)


def _given_weights(
    listed: list[str], endings: Sequence[str], people: float, rng: np.random.Generator
) -> dict[str, float]:
    """Listed names, pairs of two listed names of one word, and rare names."""
    weights = _zipf(len(listed), offset=6, exponent=1)
    known = dict(zip(listed, (weights * (1 - PAIRED_GIVEN - RARE_GIVEN)).tolist(), strict=True))
    single = [(name, weight) for name, weight in zip(listed, weights.tolist(), strict=True) if " " not in name]
    pairs = {f"{a} {b}": v * w for a, v in single for b, w in single if a != b}
    scale = PAIRED_GIVEN / sum(pairs.values())
    for name, weight in pairs.items():
        known[name] = known.get(name, 0) + weight * scale
    return _add_rare(known, people, RARE_GIVEN, endings, rng)


class _Names:
    """Name tables: everything that depends on a name and not on a row.

    Attributes:
      cdfs: for each group of names, the cumulative weights; group g has the names from `starts[g]` on.
      letters: `(names, 3) uint8`, as `curp_letters` gives them; the last are of those who have no name.
      spelled, short: `(names, styles) int32`, rows of `written` for the full and the shortened name.
      written: binary array of the texts, in latin-1.
      junk: rows of `written`.
    """

    def __init__(self, *groups: dict[str, float], is_given: bool):
        numbers: dict[str, int] = {}  # of the distinct texts: equal numbers mean equal texts

        def numbered(texts: Iterable[str]) -> list[int]:
            return [numbers.setdefault(text, len(numbers)) for text in texts]

        def spellings(names: Iterable[str]) -> np.ndarray:
            return np.array([numbered(name.replace("Ñ", style) for style in STYLES) for name in names], np.int32)

        names = [name for group in groups for name in group]
        letters = [curp_letters(curp_word(name, is_given=is_given)) for name in names]
        self.cdfs = [_cdf(group.values()) for group in groups]
        self.starts = np.cumsum([0] + [len(group) for group in groups]).tolist()
        self.letters = _letters_of([*letters, "XXX"])
        self.spelled = spellings([*names, ""])
        self.short = spellings([*map(shorten, names), ""]) if is_given else self.spelled
        self.junk = np.array(numbered(JUNK), np.int32)
        self.written = pa.array([text.encode("latin-1") for text in numbers], pa.binary())

    def draw(self, rng: np.random.Generator, count: int, group: int = 0) -> np.ndarray:
        return self.starts[group] + _draw(rng, self.cdfs[group], count)


class _Tables:
    """All tables of a run.

    Attributes:
      youth: exponent per given name; its bearers are younger than most above 1, older below.
    """

    def __init__(self, rows: int, rng: np.random.Generator):
        self.surnames = _Names(_surname_weights(rows, rng), is_given=False)
        men = _given_weights(MEN, MEN_ENDINGS, rows * (1 - WOMEN_SHARE), rng)
        women = _given_weights(WOMEN, WOMEN_ENDINGS, rows * WOMEN_SHARE, rng)
        self.given = _Names(men, women, is_given=True)
        self.youth = np.exp(rng.normal(0, 0.2, len(self.given.letters)))

    def spell(self, names: np.ndarray, style: np.ndarray) -> np.ndarray:
        """Return the `(n, 3)` numbers of the texts of names when their Ñ is written in `style`."""
        surnames = self.surnames.spelled[names[:, :2], style[:, None]]
        return np.column_stack([surnames, self.given.spelled[names[:, 2], style]])


def _letters_of(texts: Iterable[str]) -> np.ndarray:
    """`(texts, width) uint8` of texts of one width."""
    texts = list(texts)
    return np.frombuffer("".join(texts).encode("ascii"), np.uint8).reshape(len(texts), -1)


DATES = _letters_of(day[2:4] + day[5:7] + day[8:10] for day in np.datetime_as_string(BIRTHDAYS).tolist())
STATE_CODES = _letters_of(STATES)
CATEGORIES = _letters_of(["E0281", "E0221", "E0363", "E0365", "E0181", "S0180"])
SCHOOLS = _letters_of(["DPR", "DES", "DJN", "DST", "DTV", "FZP"])
BIRTH_CDF = _cdf(STATES.values())
HOME_CDF = _cdf(weight for state, weight in STATES.items() if state != "NE")
STYLE_CDF = _cdf(STYLES.values())

POWERS = 26 ** np.arange(7)  # seven letters make one number
RUDE_NUMBERS = (_letters_of(RUDE).astype(np.int64) - ord("A")) @ POWERS[:4]
CHECK_VALUES = np.array([max(ALPHABET.find(chr(code)), 0) for code in range(256)], np.int32)
CHECK_WEIGHTS = np.arange(18, 1, -1, dtype=np.int32)


def _rank_in_group(keys: np.ndarray) -> np.ndarray:
    """Number the equal values of `keys` 0, 1, 2...

    >>> _rank_in_group(np.array([7, 5, 7, 7])).tolist()
    [0, 0, 1, 2]
    """
    order = np.argsort(keys, kind="stable")
    first = np.flatnonzero(np.diff(keys[order], prepend=keys[order[0]] - 1))
    ranks = np.empty(len(keys), np.int64)
    ranks[order] = np.arange(len(keys)) - np.repeat(first, np.diff(first, append=len(keys)))
    return ranks


def _distinct_dates(
    who: np.ndarray, days: np.ndarray, block: int, blocks: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return birthday and homonym digit of people such that no two of the whole file have both and `who` in common.

    A block moves its people to the nearest of the days it owns, every `blocks`-th, so blocks need not know each other.
    Within the block the digit numbers those who are alike; an eleventh is given another day.
    """
    most = (len(BIRTHDAYS) - 1 - block) // blocks
    turns = np.clip((days - block + blocks // 2) // blocks, 0, most)
    while True:
        digits = _rank_in_group(who * (most + 1) + turns)
        crowded = np.flatnonzero(digits > 9)
        if not len(crowded):
            return block + turns * blocks, digits
        turns[crowded] = rng.integers(0, most + 1, len(crowded))


def _check_digits(curps: np.ndarray) -> np.ndarray:
    """Return the check digit, 0 to 9, of `(n, 17+) uint8` CURPs."""
    return -(CHECK_VALUES[curps[:, :17]] @ CHECK_WEIGHTS) % 10


def _digits(numbers: np.ndarray, width: int) -> np.ndarray:
    """`(n, width) uint8`: numbers in decimal, with leading zeros."""
    return (numbers[:, None] // 10 ** np.arange(width - 1, -1, -1) % 10 + ord("0")).astype(np.uint8)


def _spoil(curps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Break a few CURPs as clerks do; return `(n, 19) uint8`, with zeros behind the shorter ones.

    Each person keeps a CURP of his own: the first 17 characters still part him from the others, for the month is the
    only one changed, from 0 to the letter O.
    """
    count = len(curps)
    spoiled = np.pad(curps, ((0, 0), (0, 1)))
    wrong = rng.random(count) < WRONG_CHECK_DIGIT
    spoiled[wrong, 17] = (spoiled[wrong, 17] - ord("0") + rng.integers(1, 10, wrong.sum())) % 10 + ord("0")
    broken = np.flatnonzero(rng.random(count) < BROKEN_CURP)
    lower, missing, doubled, letter_o = (broken[i::4] for i in range(4))
    spoiled[lower, :18] |= 0x20  # digits have this bit already
    spoiled[missing, 17] = 0
    spoiled[doubled, 18] = curps[doubled, 17]
    spoiled[letter_o[spoiled[letter_o, 6] == ord("0")], 6] = ord("O")
    return spoiled


def _texts(rows: np.ndarray) -> pa.Array:
    """Return the rows of `(n, width) uint8` as texts, without their zeros."""
    filled = rows > 0
    offsets = np.append(0, np.cumsum(np.count_nonzero(filled, axis=1))).astype(np.int32)
    return pa.Array.from_buffers(
        pa.binary(), len(rows), [None, pa.py_buffer(offsets), pa.py_buffer(rows if filled.all() else rows[filled])]
    )


NUMBERS = pa.array([b"%d" % i for i in range(49)], pa.binary())
# Pay follows a table of levels, as in any payroll; the line end goes with the last field.
PAY_TEXTS = pa.array([b"%.2f\n" % (1000 * 1.0007**i) for i in range(6500)], pa.binary())


class _People:
    """Distinct people of one block, one row of each array per person.

    Attributes:
      names: `(people, 3)` numbers of first and second surname and given name, as they truly are.
      written: `(people, 3)` numbers of the texts written for them; `style`: how each writes Ñ.
      home: state of the school, 0 to 31.
      rfc: `(people, 13) uint8`; curp: `(people, 19) uint8`, zero behind its end.
    """

    def __init__(self, tables: _Tables, count: int, block: int, blocks: int, rng: np.random.Generator):
        self.tables, self.rng = tables, rng
        woman = rng.random(count) < WOMEN_SHARE
        self.names = np.empty((count, 3), np.int64)
        self.names[:, 0] = tables.surnames.draw(rng, count)
        self.names[:, 1] = tables.surnames.draw(rng, count)
        for group, those in enumerate((~woman, woman)):
            self.names[those, 2] = tables.given.draw(rng, those.sum(), group)
        # Of those whose second surname is junk, half have none, and their CURP says so; of the others it got lost.
        no_second = rng.random(count) < JUNK_SECOND
        self.names[no_second & (rng.random(count) < 0.5), 1] = len(tables.surnames.letters) - 1

        self.home = _draw(rng, HOME_CDF, count)
        birth_state = np.where(rng.random(count) < BORN_ELSEWHERE, _draw(rng, BIRTH_CDF, count), self.home)
        curps = self._curps(woman, birth_state, block, blocks)
        self.rfc = np.column_stack([curps[:, :10], HOMOCLAVE[rng.integers(0, len(HOMOCLAVE), (count, 3))]])

        self.style = _draw(rng, STYLE_CDF, count)
        self.written = tables.spell(self.names, self.style)
        junk = tables.surnames.junk
        self.written[no_second, 1] = junk[rng.integers(0, len(junk), no_second.sum())]
        no_first = rng.random(count) < JUNK_FIRST
        self.written[no_first, 0] = junk[rng.integers(0, len(junk), no_first.sum())]
        self.curp = _spoil(curps, rng)

    def _curps(self, woman: np.ndarray, birth_state: np.ndarray, block: int, blocks: int) -> np.ndarray:
        """Return the right CURPs, `(people, 18) uint8`; all are distinct, in this block and across blocks."""
        first, second = (self.tables.surnames.letters[self.names[:, place]] for place in (0, 1))
        given = self.tables.given.letters[self.names[:, 2]]
        letters = np.column_stack([first[:, :2], second[:, 0], given[:, 0], first[:, 2], second[:, 2], given[:, 2]])
        rude = np.isin((letters[:, :4].astype(np.int64) - ord("A")) @ POWERS[:4], RUDE_NUMBERS)
        letters[rude, 1] = ord("X")

        numbers = letters.astype(np.int64) - ord("A")
        who = (numbers @ POWERS * 2 + woman) * len(STATES) + birth_state
        # 0: 18 years old, 1: 76
        age = self.rng.beta(2.6, 3.3, len(woman)) ** self.tables.youth[self.names[:, 2]]
        born = ((1 - age) * len(BIRTHDAYS)).astype(np.int64)
        born, homonym = _distinct_dates(who, born, block, blocks, self.rng)

        sex = np.where(woman, ord("M"), ord("H"))
        parts = [letters[:, :4], DATES[born], sex, STATE_CODES[birth_state], letters[:, 4:], homonym + ord("0")]
        curps = np.column_stack(parts).astype(np.uint8)
        return np.column_stack([curps, (_check_digits(curps) + ord("0")).astype(np.uint8)])

    def repeat(self, count: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Draw `count` further posts; return whose they are, the names written, and how many differ from the first's.

        A third post repeats the first one's names, so differing rows and people with differing rows are equally many.
        """
        third = int(count * EXACT_THIRD_POSTS)
        second = self.rng.choice(len(self.home), count - third, replace=False)
        source = np.concatenate([second, second[:third]])
        alter = self.rng.random(count) < CONFLICTS
        alter[len(second) :] = False
        order = self.rng.permutation(count)
        source, alter = source[order], alter[order]
        return source, np.where(alter[:, None], self._alter(source), self.written[source]), int(alter.sum())

    def _alter(self, source: np.ndarray) -> np.ndarray:
        """Return other names than those written for the people `source`.

        Ñ in another style, a shortened given name, or a second surname that is missing.
        """
        count, before, names = len(source), self.written[source], self.names[source]
        junk = self.tables.surnames.junk
        respelled = self.tables.spell(names, _draw(self.rng, STYLE_CDF, count))
        respelled[:, :2] = np.where(np.isin(before[:, :2], junk), before[:, :2], respelled[:, :2])
        shortened = before.copy()
        shortened[:, 2] = self.tables.given.short[names[:, 2], self.style[source]]
        choice = self.rng.integers(0, 3, (count, 1))
        after = np.select([choice == 0, choice == 1], [respelled, shortened], before)
        # What has no Ñ cannot be respelled, nor one word shortened: these lose their second surname, or another junk.
        same = (after == before).all(axis=1)
        pick = self.rng.integers(0, len(junk), count)
        lost = np.where(junk[pick] == before[:, 1], junk[(pick + 1) % len(junk)], junk[pick])
        after[same, 1] = lost[same]
        return after

    def lines(self, source: np.ndarray, written: np.ndarray) -> pa.Array:
        """Return one line, with its end, for each post: of the person `source`, under the names `written`."""
        count, home, draw = len(source), self.home[source], self.rng.integers
        state, category = _digits(home + 1, 2), CATEGORIES[draw(0, len(CATEGORIES), count)]
        post = np.column_stack([state, category, _digits(draw(0, 10**6, count), 6)])
        school = [state, SCHOOLS[draw(0, len(SCHOOLS), count)], _digits(draw(0, 10**4, count), 4)]
        school.append(draw(ord("A"), ord("Z") + 1, count).astype(np.uint8))
        return pc.binary_join_element_wise(
            NUMBERS.take(pa.array(home + 1)),
            _texts(self.rfc[source]),
            _texts(self.curp[source]),
            *(self.tables.surnames.written.take(pa.array(written[:, place])) for place in (0, 1)),
            self.tables.given.written.take(pa.array(written[:, 2])),
            _texts(post),
            _texts(np.column_stack(school)),
            NUMBERS.take(pa.array(draw(0, len(NUMBERS), count))),
            PAY_TEXTS.take(pa.array(draw(0, len(PAY_TEXTS), count))),
            b"|",
        )


def _blocks(rows: int, seed: int, counts: Counter[str]) -> Iterator[pa.Array]:
    """Yield the lines of the file, block by block, and add to `counts`.

    Rows of a person's further posts come after his first, half of them in a later block.
    """
    blocks = -(-rows // BLOCK_ROWS)
    if blocks > MAX_BLOCKS:
        raise ValueError(f"rows={rows:,} is more than {MAX_BLOCKS * BLOCK_ROWS:,}: CURPs would not stay distinct")
    tables = _Tables(rows, np.random.default_rng([seed, 0]))
    waiting = pa.array([], pa.binary())
    for block in range(blocks):
        rng = np.random.default_rng([seed, 1 + block])
        last = block == blocks - 1
        size = rows * (block + 1) // blocks - rows * block // blocks
        repeats = round(size * REPEATS)
        delayed = 0 if last else int(repeats * DELAYED)
        now = rng.random(len(waiting)) < (2 if last else 0.5)
        released, waiting = waiting.filter(pa.array(now)), waiting.filter(pa.array(~now))

        count = size - len(released) - (repeats - delayed)
        people, everyone = _People(tables, count, block, blocks, rng), np.arange(count)
        source, written, conflicts = people.repeat(repeats)
        counts.update(people=count, duplicates=repeats, conflicts=conflicts)

        lines = people.lines(np.concatenate([everyone, source]), np.concatenate([people.written, written]))
        here = len(lines) - delayed
        # Each row's place: a person's is his number, a repeat's lies behind the person's, a released row's is anywhere.
        behind = source[: repeats - delayed]
        behind = behind + (count - behind) * rng.random(len(behind))
        places = np.concatenate([everyone, behind, rng.random(len(released)) * count])
        waiting = pa.concat_arrays([waiting, lines.slice(here).take(pa.array(np.arange(delayed)))])
        yield pa.concat_arrays([lines.slice(0, here), released]).take(pa.array(np.argsort(places, kind="stable")))


def target_files(path: str, files: int) -> list[Path]:
    """Return the names of the files.

    >>> [target.name for target in target_files("out/payroll.txt", 2)]
    ['payroll-00000-of-00002.txt', 'payroll-00001-of-00002.txt']
    """
    whole = Path(path)
    if files == 1:
        return [whole]
    return [whole.with_name(f"{whole.stem}-{i:05d}-of-{files:05d}{whole.suffix}") for i in range(files)]


def _text(lines: pa.Array) -> memoryview:
    """Return the bytes of all lines, one after the other, without a copy."""
    _, offsets, data = lines.buffers()
    ends = np.frombuffer(offsets, np.int32, len(lines) + 1, lines.offset * 4)
    return memoryview(data)[ends[0] : ends[-1]]


def _pieces(blocks: Iterator[pa.Array], count: int, rest: list[pa.Array]) -> Iterator[pa.Array]:
    """Yield the next `count` lines of `blocks`; what is left of a block waits in `rest`."""
    while count:
        lines = rest.pop() if rest else next(blocks)
        piece = lines.slice(0, count)
        if len(piece) < len(lines):
            rest.append(lines.slice(len(piece)))
        count -= len(piece)
        yield piece


def sample_names(
    path: str, *, rows: int = 1_256_438, seed: int = 2012, files: int = 1, hostile: bool = False
) -> dict[str, Any]:
    """Write a made-up payroll of `rows` rows to `path`, or to `files` files named after it; return what it holds.

    The bytes depend only on `rows`, `seed` and `hostile`; more files part the same rows. Files appear under their
    names when all are complete, in place of what had those names; until then they are hidden files beside them. Takes
    about 2 seconds for each million rows, and 400 to 700 MB. At most about a billion rows.

    Args:
      hostile: also write rows that a job has to reject, in the middle and at the end of each file.

    Returns:
      rows: without header and hostile rows; rows = people + duplicates.
      people: distinct CURPs.
      duplicates: rows whose CURP came before.
      conflicts: duplicates whose names differ from the first row's; also the number of CURPs with differing names.
      hostile: rows to be rejected, by reason.
      files: names of the files written.
    """
    if rows < 0 or files < 1:
        raise ValueError(f"rows={rows} must be 0 or more and files={files} at least 1")
    targets = target_files(path, files)
    counts, insertions = Counter(people=0, duplicates=0, conflicts=0), 0
    insertion = "".join(line for lines in HOSTILE.values() for line in lines if hostile).encode()
    blocks, rest = _blocks(rows, seed, counts), list[pa.Array]()
    targets[0].parent.mkdir(parents=True, exist_ok=True)
    with storage.published(targets) as parts:
        for i, part in enumerate(parts):
            with part.open("wb") as out:
                out.write(f"{HEADER}\n".encode("latin-1"))
                for piece in _pieces(blocks, rows * (i + 1) // files - rows * i // files, rest):
                    middle = len(piece) // 2
                    out.writelines([_text(piece.slice(0, middle)), insertion, _text(piece.slice(middle))])
                    insertions += hostile
                out.write(insertion)
                insertions += hostile
    rejects = {reason: len(lines) * insertions for reason, lines in HOSTILE.items()}
    return {"rows": rows, **counts, "hostile": rejects, "files": [str(target) for target in targets]}

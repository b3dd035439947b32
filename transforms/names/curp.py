"""The CURP, the key of Mexico's population registry: what it says of a person, and whether it can be right.

Eighteen characters: four letters of the names, birth date (yymmdd), sex (H, M or X), two letters of the state, three
consonants of the names, a character that tells homonyms apart (a digit for births before 2000, a letter after) and a
check digit. Source: Instructivo normativo para la asignación de la CURP, RENAPO, 2006.
"""

import hmac
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms.rows.batches import lengths_and_bytes
from molino.transforms.text.lines import MARKS
from molino.transforms.text.position import POSITION, LineTable
from molino.transforms.warnings import Sighting

LENGTH = 18
STATES = tuple(
    # two letters a state, in the order of their names
    "AS BC BS CC CL CM CS CH DF DG GT GR HG JC MC MN MS NT NL OC PL QT QR SP SL SR TC TS TL VZ YN ZS NE".split()  # noqa: SIM905
)
ALPHABET = (
    "0123456789ABCDEFGHIJKLMN\0OPQRSTUVWXYZ"  # values of the check digit; Ñ has a place but never stands in a CURP
)
# A registry key, whole or cut short, wherever a shifted column or a file name has put it.
CURP = r"(?i)[A-ZÑ]{4}\d{6}[HMX][A-Z]{5}[A-Z0-9]{0,2}"

# What stands for a CURP that is not known. Compared without blanks and signs: S/N is SN, and \N is N.
PLACEHOLDER = "^(?:{})$".format(
    "|".join(
        [
            "NULL|NULO|NONE|NAN|NIL|NA|ND|SN|SC|SD|CURP|SINCURP|SINDATOS?|SINREGISTRO|SININFORMACION|NOTIENE|NOTIENECURP|REF|VALOR",
            "NOAPLICA|NODISPONIBLE|NOREGISTRAD[AO]|NOCUENTA|PENDIENTE|ENTRAMITE|DESCONOCID[AO]|NINGUN[AO]|VACIO",
            "EXTRANJER[AO]|UNKNOWN|MISSING|[X0]+|1?234567890?.*",
            *(f"{c}+" for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ123456789"),
            "X[AE]XX010101.*",  # of the tax office, for whoever has none; XEXX010101HNEXXXA4 is even valid
        ]
    )
)
EMPTY, FILLER, SYMBOLS, INVALID = 1, 2, 3, 4

_UPPER, _DIGIT = set(range(ord("A"), ord("Z") + 1)), set(range(ord("0"), ord("9") + 1))
_VOWELS = {ord(c) for c in "AEIOUX"}
# what may stand at each of the 18 places; dates and states are looked at as a whole besides
PLACES = [_UPPER, _VOWELS, _UPPER, _UPPER, *[_DIGIT] * 6, {ord("H"), ord("M"), ord("X")}, _UPPER, _UPPER]
PLACES += [_UPPER - {ord(c) for c in "AEIOU"}] * 3 + [_UPPER | _DIGIT, _DIGIT]
ALLOWED = np.array([[byte in place for byte in range(256)] for place in PLACES])
FORBIDDEN = 1 << 20
_VALUES = np.array([max(0, ALPHABET.find(chr(byte))) for byte in range(256)], np.int32)
# (18, 256) int32: what each byte adds to the sum of the check digit at a place, and FORBIDDEN where it may not stand
WEIGHTS = np.where(ALLOWED, np.outer([*range(LENGTH, 1, -1), 0], _VALUES), FORBIDDEN).astype(np.int32)
MONTH, DAY, STATE = 6, 8, 11
MONTH_DAYS = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] + [0] * 87)  # by any two digits
# of two bytes as a number, the first the lower one
STATE_CODES = np.isin(np.arange(1 << 16), [ord(s[0]) | ord(s[1]) << 8 for s in STATES])


def curp_matrix(curps: pa.Array) -> np.ndarray:
    """Return the first 18 characters of CURPs, none of them null: (n, 18) uint8; "?" outside ASCII, 0 for none."""
    lengths, text = lengths_and_bytes(curps)
    odd, wide = np.flatnonzero(lengths != LENGTH), (text > 127).any()
    if not len(odd) and not wide:
        return text.reshape(-1, LENGTH)
    m = np.zeros((len(curps), LENGTH), np.uint8)
    starts, first = np.append(0, np.cumsum(lengths)), 0
    for place in [*odd.tolist(), len(curps)]:  # few are odd, and what lies between two is copied at once
        m[first:place] = text[starts[first] : starts[place]].reshape(-1, LENGTH)
        first = place + 1
    if wide:
        odd = np.union1d(odd, np.flatnonzero((m > 127).any(axis=1)))
    rows = [curp[:LENGTH].encode("ascii", "replace").ljust(LENGTH, b"\0") for curp in curps.take(odd).to_pylist()]
    m[odd] = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, LENGTH)
    return m


def normalize_curp(curps: pa.Array) -> tuple[pa.Array, int]:
    """Return the CURPs in upper case without white space and byte order marks around them, and how many changed."""
    text = np.frombuffer(curps.buffers()[2] or b"", np.uint8)
    if not (text - np.uint8(0x21) >= 0x40).any():  # nothing but "!" to "`": neither blanks nor lower case
        return curps, 0
    clean = pc.ascii_upper(pc.utf8_trim_whitespace(pc.utf8_trim(curps, "".join(MARKS))))
    changed = pc.sum(pc.not_equal(clean, curps)).as_py() or 0
    return (clean, changed) if changed else (curps, 0)


def weigh(m: np.ndarray) -> np.ndarray:
    """Return the sums that check digits follow from, (n,) int32, of the first characters of CURPs, (n, any) uint8."""
    total = np.zeros(len(m), np.int32)
    for weights, characters in zip(WEIGHTS, np.ascontiguousarray(m.T), strict=False):
        total += np.take(weights, characters)
    return total


def curp_faults(curps: pa.Array) -> np.ndarray:
    """Return what is wrong with each CURP: (n,) uint8, 0 nothing, 1 the format, 2 only the check digit.

    >>> curp_faults(pa.array(["HEGG560427MVZRRL04", "HEGG560427MVZRRL05", "HEGG561327MVZRRL04", ""])).tolist()
    [0, 2, 1, 1]
    """
    m = curp_matrix(curps)
    total = weigh(m)
    ok = np.asarray(pc.equal(pc.utf8_length(curps), LENGTH).to_numpy(zero_copy_only=False)) & (total < FORBIDDEN)
    ok &= np.take(STATE_CODES, m[:, STATE] | m[:, STATE + 1].astype(np.uint16) << 8)
    month, day = (np.where(ok, _number(m, place), 0) for place in (MONTH, DAY))
    ok &= (day > 0) & (day <= MONTH_DAYS[month])
    digit = (10 - total % 10) % 10 == m[:, LENGTH - 1] - ord("0")
    return np.where(ok, np.where(digit, 0, 2), 1).astype(np.uint8)


def missing_kinds(curps: pa.Array, faults: np.ndarray) -> np.ndarray:
    """Return why a CURP tells of nobody: (n,) uint8, 0 it tells, EMPTY, FILLER, SYMBOLS or INVALID.

    SYMBOLS is a filler of nothing but signs: a ruler, a comment. INVALID is of a wrong form or check digit.

    >>> curps = pa.array(["HEGG560427MVZRRL04", "", "SIN CURP", "------", "XEXX010101HNEXXXA4", "HEGG560427MVZRRL05"])
    >>> missing_kinds(curps, curp_faults(curps)).tolist()
    [0, 1, 2, 3, 2, 4]
    """
    kinds = np.where(faults > 0, INVALID, 0).astype(np.uint8)
    doubtful = np.flatnonzero((faults > 0) | (curp_matrix(curps)[:, 0] == ord("X")))
    if not len(doubtful):
        return kinds
    texts = curps.take(pa.array(doubtful))
    words = pc.replace_substring_regex(texts, r"[^\pL\pN]+", "")
    filler = pc.match_substring_regex(words, PLACEHOLDER).to_numpy(zero_copy_only=False)
    signs = pc.or_(pc.equal(words, ""), pc.starts_with(texts, "#"))
    kinds[doubtful[signs.to_numpy(zero_copy_only=False)]] = SYMBOLS
    kinds[doubtful[filler]] = FILLER
    kinds[doubtful[pc.equal(texts, "").to_numpy(zero_copy_only=False)]] = EMPTY
    return kinds


def key_missing(rows: pa.RecordBatch, lines: LineTable) -> pa.RecordBatch:
    """Return rows without a CURP under keys of their own: what there is of it, line and file, parted by zero bytes."""
    labels, numbers = lines.locate(rows[POSITION])
    parts = zip(curp_matrix(rows["curp"]), numbers.to_pylist(), labels.to_pylist(), strict=True)
    keys = pa.array([f"{bytes(text).decode()}\0{line}\0{label}" for text, line, label in parts], pa.string())
    return rows.set_column(0, rows.schema.field("curp"), keys)


def mask_curps(rows: pa.RecordBatch) -> tuple[pa.RecordBatch, int]:
    """Return rows with [CURP] for every CURP that stands in another column, and how many rows have one."""
    masked = np.zeros(rows.num_rows, bool)
    for place, name in enumerate(rows.schema.names):
        if name in ("curp", POSITION):
            continue
        _, text = lengths_and_bytes(rows[name])
        if not (text - np.uint8(ord("0")) < 10).any():  # names have no digits
            continue
        masked |= pc.match_substring_regex(rows[name], CURP).to_numpy(zero_copy_only=False)
        rows = rows.set_column(place, rows.schema.field(name), pc.replace_substring_regex(rows[name], CURP, "[CURP]"))
    return rows, int(masked.sum())


def _number(m: np.ndarray, place: int) -> np.ndarray:
    """Return the number that two digits are; nonsense where they are none."""
    return (m[:, place].astype(np.int32) - ord("0")) * 10 + m[:, place + 1] - ord("0")


def parse_curp(curps: pa.Array, *, reference_year: int, century: bool) -> tuple[dict[str, pa.Array], Counter[str]]:
    """Return sex (string), birth_year and age (int16) of every CURP, null where unknown, and counts of the nulls.

    `reference_year`: the year in which ages are wanted. `century`: take the century from character 17 (a letter: 2000
    or later); else everyone was born in the 1900s.
    """
    m = curp_matrix(curps)
    man, woman = m[:, 10] == ord("H"), m[:, 10] == ord("M")
    digits = ALLOWED[4][m[:, 4]] & ALLOWED[5][m[:, 5]]
    either = (m[:, 10] == ord("X")) & digits  # and not XXXX...
    year = 1900 + _number(m, 4)
    if century:
        later = (m[:, 16] >= ord("A")) & (m[:, 16] <= ord("Z"))
        year = np.where(later, year + 100, year)
        digits &= later | ((m[:, 16] >= ord("0")) & (m[:, 16] <= ord("9")))
    age = reference_year - year
    negative = digits & (age < 0)
    sexes = pa.DictionaryArray.from_arrays(
        pa.array(np.where(man, 0, 1).astype(np.int8), mask=~(man | woman)), pa.array(["H", "M"])
    )
    columns = {
        "sex": sexes,
        "birth_year": pa.array(year.astype(np.int16), mask=~digits),
        "age": pa.array(age.astype(np.int16), mask=~digits | negative),
    }
    counts = {"sex.x": either, "sex.unknown": ~(man | woman | either), "birth_year.unknown": ~digits}
    counts |= {"age.negative": negative, "age.over_100": digits & (age > 100)}
    return columns, Counter({name: int(rows.sum()) for name, rows in counts.items()})


def protect_curp(curps: pa.Array, mode: str, key: bytes) -> pa.Array:
    """Return what the output shows of the CURPs: themselves (keep), their HMAC-SHA256 in hex (hash) or nulls (drop)."""
    if mode == "keep":
        return curps
    if mode == "drop":
        return pa.nulls(len(curps), pa.string())
    return pa.array([hmac.digest(key, curp.encode(), "sha256").hex() for curp in curps.to_pylist()], pa.string())


def count_curps(batch: pa.RecordBatch, faults: np.ndarray, kinds: np.ndarray) -> dict[str, int]:
    """Return what is wrong with the CURPs of a batch, by kind, with the position of the first of each kind."""

    def sighted(which: np.ndarray) -> int:
        return Sighting(int(which.sum()), batch[POSITION][int(which.argmax())].as_py()) if which.any() else 0

    counters = {"curp.format": int((faults == 1).sum()), "curp.check_digit": int((faults == 2).sum())}
    counters |= {
        "curp.empty": sighted(kinds == EMPTY),
        "curp.placeholder": sighted((kinds == FILLER) | (kinds == SYMBOLS)),
        "curp.symbols": sighted(kinds == SYMBOLS),
        "curp.invalid": sighted(kinds == INVALID),
    }
    if counters["curp.invalid"]:
        quoted = pc.match_substring_regex(batch["curp"], "^(\".*\"|'.*')$").to_numpy(zero_copy_only=False)
        counters["curp.quoted"] = sighted((kinds == INVALID) & quoted)
    counters["curp.letter_17"] = sighted((kinds == 0) & (curp_matrix(batch["curp"])[:, 16] >= ord("A")))
    return counters

"""The CURP, the key of Mexico's population registry: what it says of a person, and whether it can be right.

Eighteen characters: four letters of the names, birth date (yymmdd), sex (H or M), two letters of the state, three
consonants of the names, a character that tells homonyms apart (a digit for births before 2000, a letter after) and a
check digit. Source: Instructivo normativo para la asignación de la CURP, RENAPO, 2006.
"""

import dataclasses
import hmac
from collections import Counter
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms.rows.partition import lengths_and_bytes
from molino.transforms.text.lines import RAW_REJECTS, show_shape
from molino.transforms.text.position import POSITION

LENGTH = 18
STATES = tuple(
    # two letters a state, in the order of their names
    "AS BC BS CC CL CM CS CH DF DG GT GR HG JC MC MN MS NT NL OC PL QT QR SP SL SR TC TS TL VZ YN ZS NE".split()  # noqa: SIM905
)
ALPHABET = (
    "0123456789ABCDEFGHIJKLMN\0OPQRSTUVWXYZ"  # values of the check digit; Ñ has a place but never stands in a CURP
)
SEX = {"H": "H", "M": "M"}

_UPPER, _DIGIT = set(range(ord("A"), ord("Z") + 1)), set(range(ord("0"), ord("9") + 1))
_VOWELS = {ord(c) for c in "AEIOUX"}
# what may stand at each of the 18 places; dates and states are looked at as a whole besides
PLACES = [_UPPER, _VOWELS, _UPPER, _UPPER, *[_DIGIT] * 6, {ord("H"), ord("M")}, _UPPER, _UPPER]
PLACES += [_UPPER - {ord(c) for c in "AEIOU"}] * 3 + [_UPPER | _DIGIT, _DIGIT]
ALLOWED = np.array([[byte in place for byte in range(256)] for place in PLACES])
# Characters are looked up in pairs: half as many steps over all rows. A pair is the number that its two bytes are in
# memory, the first the lower one.
PAIRS = range(0, LENGTH, 2)
FIRST, SECOND = np.arange(1 << 16) & 255, np.arange(1 << 16) >> 8
FORBIDDEN = 1 << 20
MONTH_DAYS = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
MONTH, DAY, STATE = 6, 8, 11


def _number_of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the two-digit numbers that bytes stand for; nonsense where they are no digits."""
    return (first.astype(np.int32) - ord("0")) * 10 + second - ord("0")


def _weigh(place: int, byte: np.ndarray) -> np.ndarray:
    """Return what each byte adds to the sum of the check digit at a place, and FORBIDDEN where it may not stand."""
    values = np.array([max(0, ALPHABET.find(chr(b))) for b in range(256)])
    return np.where(ALLOWED[place], values * (LENGTH - place) * (place < LENGTH - 1), FORBIDDEN)[byte]


PAIR_WEIGHTS = np.array([_weigh(place, FIRST) + _weigh(place + 1, SECOND) for place in PAIRS], np.int32)
for _place, _most in ((MONTH, 12), (DAY, 31)):
    _numbers = _number_of(FIRST, SECOND)
    PAIR_WEIGHTS[_place // 2][(_numbers < 1) | (_numbers > _most)] = FORBIDDEN
STATE_CODES = np.isin(np.arange(1 << 16), [ord(s[0]) | ord(s[1]) << 8 for s in STATES])


def curp_matrix(curps: pa.Array) -> np.ndarray:
    """Return the first 18 characters of every CURP: (n, 18) uint8, one byte a character.

    A character outside ASCII becomes "?", a missing one 0. `curps` is a string array without nulls.
    """
    lengths, text = lengths_and_bytes(curps)
    right = lengths == LENGTH
    if right.all() and not (text > 127).any():
        return text.reshape(-1, LENGTH)
    m = np.zeros((len(curps), LENGTH), np.uint8)
    m[right] = text[np.repeat(right, lengths)].reshape(-1, LENGTH)
    odd = np.flatnonzero(~right | (m > 127).any(axis=1))
    rows = [curp[:LENGTH].encode("ascii", "replace").ljust(LENGTH, b"\0") for curp in curps.take(odd).to_pylist()]
    m[odd] = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, LENGTH)
    return m


def normalize_curp(curps: pa.Array) -> tuple[pa.Array, int]:
    """Return the CURPs in upper case without white space around them, and how many that changed."""
    text = np.frombuffer(curps.buffers()[2] or b"", np.uint8)
    if not (text - np.uint8(0x21) >= 0x40).any():  # nothing but "!" to "`": neither blanks nor lower case
        return curps, 0
    clean = pc.ascii_upper(pc.utf8_trim_whitespace(curps))
    changed = pc.sum(pc.not_equal(clean, curps)).as_py() or 0
    return (clean, changed) if changed else (curps, 0)


def curp_faults(curps: pa.Array) -> np.ndarray:
    """Return what is wrong with each CURP: (n,) uint8, 0 nothing, 1 the format, 2 only the check digit.

    >>> curp_faults(pa.array(["HEGG560427MVZRRL04", "HEGG560427MVZRRL05", "HEGG561327MVZRRL04", ""])).tolist()
    [0, 2, 1, 1]
    """
    m = np.ascontiguousarray(curp_matrix(curps))
    total = np.zeros(len(m), np.int32)
    for weights, pairs in zip(PAIR_WEIGHTS, m.view("<u2").T, strict=True):
        total += np.take(weights, pairs)
    ok = np.asarray(pc.equal(pc.utf8_length(curps), LENGTH).to_numpy(zero_copy_only=False)) & (total < FORBIDDEN)
    ok &= np.take(STATE_CODES, m[:, STATE] | m[:, STATE + 1].astype(np.uint16) << 8)
    late = np.flatnonzero(ok & (m[:, DAY] >= ord("3")))
    ok[late] = _number(m[late], DAY) <= MONTH_DAYS[_number(m[late], MONTH)]
    digit = (10 - total % 10) % 10 == m[:, LENGTH - 1] - ord("0")
    return np.where(ok, np.where(digit, 0, 2), 1).astype(np.uint8)


def _number(m: np.ndarray, place: int) -> np.ndarray:
    return _number_of(m[:, place], m[:, place + 1])


def parse_curp(curps: pa.Array, *, reference_year: int, century: bool) -> tuple[dict[str, pa.Array], Counter[str]]:
    """Return sex (string), birth_year and age (int16) of every CURP, null where unknown, and counts of the nulls.

    Args:
      reference_year: the year in which ages are wanted.
      century: take the century from character 17 (a letter: 2000 or later); else everyone was born in the 1900s.
    """
    m = curp_matrix(curps)
    man, woman = m[:, 10] == ord("H"), m[:, 10] == ord("M")
    digits = ALLOWED[4][m[:, 4]] & ALLOWED[5][m[:, 5]]
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
    counts = Counter(
        {
            "sex.unknown": int((~(man | woman)).sum()),
            "birth_year.unknown": int((~digits).sum()),
            "age.negative": int(negative.sum()),
        }
    )
    return columns, counts


def protect_curp(curps: pa.Array, mode: str, key: bytes) -> pa.Array:
    """Return what the output shows of the CURPs: themselves (keep), their HMAC-SHA256 in hex (hash) or nulls (drop)."""
    if mode == "keep":
        return curps
    if mode == "drop":
        return pa.nulls(len(curps), pa.string())
    return pa.array([hmac.digest(key, curp.encode(), "sha256").hex() for curp in curps.to_pylist()], pa.string())


class _Verify(beam.DoFn):
    def __init__(self, reject: bool):
        self.reject = reject

    def process(self, batch: pa.RecordBatch) -> Iterator[object]:
        curps, changed = normalize_curp(batch["curp"])
        if changed:
            batch = batch.set_column(0, batch.schema.field("curp"), curps)
        faults = curp_faults(curps)
        format_, check = int((faults == 1).sum()), int((faults == 2).sum())
        counters = {"curp.normalized": changed, "curp.format": format_, "curp.check_digit": check}
        yield beam.pvalue.TaggedOutput("counters", counters)
        if self.reject and faults.any():
            yield beam.pvalue.TaggedOutput("rejects", _reject_faulty(batch, faults))
            batch = batch.filter(pa.array(faults == 0))
        if batch.num_rows:
            yield batch


def _reject_faulty(batch: pa.RecordBatch, faults: np.ndarray) -> pa.RecordBatch:
    bad = batch.filter(pa.array(faults > 0))
    reasons = pa.array(["", "curp_format", "curp_check_digit"]).take(pa.array(faults[faults > 0]))
    texts = zip(*(bad[name].to_pylist() for name in bad.schema.names if name != POSITION), strict=True)
    shapes = pa.array([show_shape("|".join(text).encode(), "utf-8") for text in texts], pa.string())
    return pa.RecordBatch.from_arrays([bad[POSITION], reasons, shapes], schema=RAW_REJECTS)


@dataclasses.dataclass(kw_only=True)
class VerifyCurp(beam.PTransform):
    """Bring CURPs to one spelling, and count those whose format or check digit is wrong.

    Input: batches whose first column is `curp`. Output: `rows`, `rejects` and `counters`.

    Attributes:
      reject: send rows with a wrong CURP to the rejects.
    """

    reject: bool = False

    def expand(self, rows: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        return rows | "Verify" >> beam.ParDo(_Verify(self.reject)).with_output_types(
            pa.RecordBatch, rejects=pa.RecordBatch
        ).with_outputs("rejects", "counters", main="rows")

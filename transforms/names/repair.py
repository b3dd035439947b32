"""Merge the spellings of a name with Ñ which the data itself proves to be one name.

MUÑOZ reaches the data as MU!OZ, MU%OZ, MUÃ¿OZ, MUÏ¿½OZ or MUNOZ. Three things in the data tell which are MUÑOZ:

* symbol: no Spanish name holds the sequence, and Ñ in its place gives a name that other people bear;
* curp: characters 14, 15 and 16 of a CURP keep the first internal consonant (the first consonant after the first
  letter) of the first surname, the second surname and the given name, and Ñ counts there as X. Bearers of MUNOZ with
  X are MUÑOZ written without its tilde, and bearers with N are MUNOZ;
* same_person: CURPs which are found with both spellings.

Names are expected in capitals, composed (NFC) and trimmed. Which word of a name a CURP keeps, and that Ñ is X in it:
RENAPO, Instructivo Normativo para la Asignación de la Clave Única de Registro de Población, "criterios de excepción".
"""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.schemas.names import REPAIRS
from molino.transforms.rows.batches import sum_rows

# What stands for Ñ in the data after wrong conversions: Ð is its latin-1 byte read as code page 850, ¤ and ¥ are the
# bytes of ñ and Ñ in that page read as latin-1, Ã\x91 and Ã‘ its UTF-8 read as latin-1 and cp1252, Ï¿½ the UTF-8 of the
# replacement character, read as latin-1 and capitalised. The others were seen beside them. None holds or overlaps
# another, so their order does not matter.
BROKEN = ("!", "%", "#", "?", "¤", "Ð", "Ã¿", "Ï¿½", "Ã\x91", "Ã‘", "¥", "\ufffd")

SAME_PERSON_MIN = 2
MIN_EVIDENCE = 5  # bearers whose CURP must tell before the CURPs decide
REPAIRS_ORDER = [("repaired_people", "descending"), ("repaired", "ascending"), ("written", "ascending")]

_BROKEN = "|".join(map(re.escape, BROKEN))
# What RENAPO passes over: these words at the start of a compound name, and these given names when another follows.
_PARTICLE = "(?:(?:DA|DAS|DD|DE|DEL|DER|DI|DIE|EL|LA|LAS|LE|LES|LOS|MAC|MC|MI|VAN|VON|Y) +)"
_COMMON = r"(?:(?:MARIA|MARÍA|MA|MA\.|M\.|JOSE|JOSÉ|J|J\.) +)"
# What stands before the first internal consonant: a letter, then vowels. A dot or a hyphen is neither and stops the
# match, because a CURP has X for it, which says nothing of Ñ.
_BEFORE_KEPT = f"^(?:{_BROKEN}|.)[AEIOUÁÉÍÓÚÜ]*"


def skeleton(names: pa.Array) -> pa.Array:
    """Return the names with N for each Ñ and each broken sequence, which all spellings of a name share; nulls stay."""
    return _replace(names, f"Ñ|{_BROKEN}", "N")


def cut_to_word(names: pa.Array, *, is_given: bool) -> pa.Array:
    """Return names from the word on that a CURP takes its letters from.

    >>> cut_to_word(pa.array(["DE LA CRUZ", "MARIA DEL CARMEN", "JOSE"]), is_given=True).to_pylist()
    ['CRUZ', 'CARMEN', 'JOSE']
    """
    passed_over = f"^{_COMMON}?{_PARTICLE}*" if is_given else f"^{_PARTICLE}*"
    return pc.replace_substring_regex(names, passed_over, "", max_replacements=1)


def curp_evidence(
    names: pa.Array, codes: np.ndarray, letters: np.ndarray, *, is_given: bool
) -> tuple[np.ndarray, np.ndarray]:
    r"""Return per name how many of its rows have X, and how many N, where a CURP keeps the name's doubtful letter.

    Both are (len(names),) int64, and 0 where a CURP keeps another letter than the doubtful one: N or a broken sequence.
    `names` are distinct; `codes` are each row's index in them, `letters`, (rows,) uint8, its character 14, 15 or 16 of
    the CURP as ASCII. Of given names (`is_given`) RENAPO passes over a first MARIA or JOSE.
    """
    doubtful = _curp_keeps(names, f"N|{_BROKEN}", is_given=is_given)[codes]
    codes, letters = codes[doubtful], letters[doubtful]
    x, n = (np.bincount(codes[letters == ord(letter)], minlength=len(names)) for letter in "XN")
    return x.astype(np.int64, copy=False), n.astype(np.int64, copy=False)


def same_person_counts(kept: pa.Array, dropped: pa.Array) -> pa.Table:
    r"""Return (name, people), sorted: how many pairs hold a name with Ñ and, as `name`, the same name without its Ñ.

    Pairs of any other kind do not count: equal names, different names, two spellings without the Ñ. `kept` and
    `dropped` are aligned spellings found with one CURP, each pair once.
    """
    differs = pc.not_equal(kept, dropped)
    kept, dropped = kept.filter(differs), dropped.filter(differs)
    written = [kept.filter(_is_misspelt(kept, dropped)), dropped.filter(_is_misspelt(dropped, kept))]
    names, people = pa.concat_arrays(written).value_counts().flatten()
    schema = pa.schema([pa.field("name", kept.type, nullable=False), pa.field("people", pa.int64(), nullable=False)])
    return pa.table([names, people], schema=schema).sort_by("name")


def plan_repairs(counts: pa.Table, *, kind: str, min_count: int = 5) -> pa.Table:
    r"""Return the REPAIRS of one table: each name that a name with Ñ may have been, merged or not.

    Rows are sorted by `repaired_people` (most first), `repaired`, `written`. Each depends only on the names of one
    skeleton, so any partition that keeps a skeleton together gives the same rows. No `repaired` is also a `written`.
    `counts`: a row per distinct name, no nulls: `name`, and as int64 `a` and `b` (who add up to the people who bear it:
    as first and second surname, or men and women), `curp_x`, `curp_n` (`curp_evidence`) and `same_person`. `kind`:
    apellido or nombre. `min_count`: people who must bear the name with Ñ before anything is compared with it.
    """
    names = counts["name"].combine_chunks()
    people = _numpy(counts["a"]) + _numpy(counts["b"])
    written, repaired, symbol = _candidates(names, people, min_count)
    # Letters were counted where the written name is doubtful, but with NUÑEZ or ÑUNEZ the Ñ may stand elsewhere.
    tells = _curp_keeps(names.take(pa.array(repaired)), "Ñ", is_given=kind == "nombre")
    x, n = (np.where(tells, _numpy(counts[column])[written], 0) for column in ("curp_x", "curp_n"))
    same_person = _numpy(counts["same_person"])[written]
    # of several proofs the first in the order of the module's docstring
    enough = x + n >= MIN_EVIDENCE
    decided = [enough & (10 * n > x + n), symbol, enough, same_person >= SAME_PERSON_MIN]
    evidence = np.select(decided, ["contradicted", "symbol", "curp", "same_person"], "insufficient")
    columns = {
        "kind": pa.repeat(pa.scalar(kind), len(written)),
        "written": names.take(pa.array(written)),
        "repaired": names.take(pa.array(repaired)),
        "merged": np.isin(evidence, ["symbol", "curp", "same_person"]),
        "evidence": pa.array(evidence.tolist(), pa.string()),
        "written_people": people[written],
        "repaired_people": people[repaired],
        "curp_x": x,
        "curp_n": n,
        "same_person": same_person,
    }
    return pa.table(columns, schema=REPAIRS).sort_by(REPAIRS_ORDER)


def apply_repairs(counts: pa.Table, repairs: pa.Table) -> pa.Table:
    r"""Return the counts with each merged name under its repaired one, sorted by name.

    The schema and the total of every column, int64 that add up over people, stay. All `repairs` are of the kind of name
    that `counts` holds.
    """
    merged = repairs.filter(repairs["merged"])
    row = pc.index_in(counts["name"], value_set=merged["written"])
    name = pc.coalesce(merged["repaired"].take(row), counts["name"])
    renamed = counts.set_column(counts.column_names.index("name"), "name", name)
    return sum_rows([renamed.cast(counts.schema)], counts.schema, ["name"])


def _candidates(names: pa.Array, people: np.ndarray, min_count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows of the written names, the rows of the names with Ñ they may be, and whether by symbol."""
    broken = _holds(names, _BROKEN)
    row = np.flatnonzero(_holds(names, "Ñ") & ~broken & (people >= min_count))
    targets = pa.table({"row": row, "people": people[row], "name": names.take(pa.array(row))})
    # The last row of a skeleton is the one that the dict keeps: the commonest name, the first by name among equals.
    targets = targets.sort_by([("people", "ascending"), ("name", "descending")])
    row, target_names = _numpy(targets["row"]), targets["name"].combine_chunks()
    commonest = dict(zip(skeleton(target_names).to_pylist(), row.tolist(), strict=True))

    by_symbol, target = _look_up(_restore(names.filter(pa.array(broken))), target_names)
    by_letter, group = _look_up(names, pa.array(list(commonest), names.type))
    written = np.concatenate([np.flatnonzero(broken)[by_symbol], by_letter])
    repaired = np.concatenate([row[target], np.array(list(commonest.values()), np.int64)[group]])
    return written, repaired, np.arange(len(written)) < len(by_symbol)


def _curp_keeps(names: pa.Array, letter: str, *, is_given: bool) -> np.ndarray:
    """Return, as (len(names),) bool, whether a CURP keeps this letter, a regular expression, of the name."""
    # Cut first and match afterwards: one match of both could back off and take VAN for the word itself.
    return _holds(cut_to_word(names, is_given=is_given), f"{_BEFORE_KEPT}(?:{letter})")


def _is_misspelt(written: pa.Array, name: pa.Array) -> pa.Array:
    """Return whether each written name is, by symbol or by letter, the other name without its Ñ; the two differ."""
    by_symbol = pc.equal(_restore(written), name)
    by_letter = pc.and_not(pc.equal(written, skeleton(name)), pc.match_substring_regex(name, _BROKEN))
    return pc.or_(by_symbol, by_letter)


def _restore(names: pa.Array) -> pa.Array:
    return _replace(names, _BROKEN, "Ñ")


def _replace(names: pa.Array, pattern: str, letter: str) -> pa.Array:
    # Few names match, and a match is much cheaper than a replacement.
    matches = pc.fill_null(pc.match_substring_regex(names, pattern), False)
    return pc.replace_with_mask(names, matches, pc.replace_substring_regex(names.filter(matches), pattern, letter))


def _look_up(names: pa.Array, distinct: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the names that are in `distinct`, and where they are in it."""
    index = pc.index_in(names, value_set=distinct)
    return np.flatnonzero(_numpy(index.is_valid())), _numpy(index.drop_null())


def _holds(names: pa.Array, pattern: str) -> np.ndarray:
    return _numpy(pc.fill_null(pc.match_substring_regex(names, pattern), False))


def _numpy(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    # Booleans are bits in Arrow and bytes in NumPy: they are copied.
    return column.to_numpy(zero_copy_only=False)

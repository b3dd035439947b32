"""What decides a title's place: its id, the key that nearly equal titles share, its split, and its turn.

All are 64-bit hashes of the title and the options, the same in every process. The hot ones are compiled.
"""

import dataclasses
import functools
import unicodedata

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms.models.nnlm import buffers, compiled, fingerprint64, inlined

U = np.uint64
SPLITS = ("train", "validation", "test")
OWN = "own_split"  # of rows, int8, where the input says the splits
LOW = U(0xFFFFFFFF)
# code points that the compiled loop folds: of letters, or of more where a title has others (0.3 s); more yet are folded
# before it
TABLES = (0x2200, 1 << 16)
SEPARATOR = -1
PRIME = U(0x100000001B3)
GOLDEN = U(0x9E3779B97F4A7C15)


def title_ids(titles: pa.Array, categories: pa.Array) -> np.ndarray:
    """Return the id of every title with its category: (n,) int64.

    Fingerprint64 of the title, its low 32 bits XOR the low 32 of the category's fingerprint (0 for null). Rows of one
    title share the high half; ids of distinct rows may be equal, so whoever merges by id compares.
    """
    coded = categories if pa.types.is_dictionary(categories.type) else pc.dictionary_encode(categories)
    marks = np.append(fingerprint64(coded.dictionary) & LOW, U(0))  # the last one is of null
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return (fingerprint64(titles) ^ marks[codes]).view(np.int64)


def mix(values: np.ndarray, seed: int, use: int) -> np.ndarray:
    """Return a 64-bit permutation of the values for a seed and a use; distinct values stay distinct: (n,) uint64."""
    first = _mixed(np.array([seed], U) + np.array([use + 1], U) * GOLDEN)
    return _mixed(values.view(U) ^ first)


def _mixed(values: np.ndarray) -> np.ndarray:
    """Return the values after the finalizer of MurmurHash3, as splitmix64 has it."""
    values = (values ^ (values >> U(30))) * U(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> U(27))) * U(0x94D049BB133111EB)
    return values ^ (values >> U(31))


_finish = inlined(_mixed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draw:
    """How titles are shuffled and split: by their `id` and `near`, from `title_ids` and `near_keys`."""

    seed: int  # of the hashes that decide both
    validation: float
    test: float

    def block(self, rows: pa.RecordBatch) -> pa.Array:
        """Return what the rows' blocks follow from, uint64: rows of one title have the same, of the ids' high half."""
        return pa.array(mix(rows["id"].to_numpy().view(U) >> U(32), self.seed, 0))

    def turn(self, rows: pa.RecordBatch) -> np.ndarray:
        """Return what rows are ordered by within a block, uint64: distinct for distinct ids."""
        return mix(rows["id"].to_numpy(), self.seed, 1)

    def split(self, rows: pa.RecordBatch) -> np.ndarray:
        """Return the rows' splits, as indices of SPLITS: (n,) int8; those of the input where it has any."""
        if OWN in rows.schema.names:
            return rows[OWN].to_numpy()
        part = mix(rows["near"].to_numpy(), self.seed, 2) >> U(11)  # 53 bits, which a float holds
        held_out, tested = round((self.validation + self.test) * 2**53), round(self.test * 2**53)
        return (part < U(held_out)).astype(np.int8) + (part < U(tested)).astype(np.int8)


def fold(text: str) -> str:
    """Return what of a text counts when titles are compared: letters and digits, without case and accents.

    Compatible forms are one (ﬁ and fi, ² and 2); whatever is neither letter nor digit parts words.

    >>> fold("Sofá-Cama 2½ Plazas, STRAßE")
    'sofa cama 21 2 plazas  strasse'
    """
    return "".join(_fold_character(character) for character in text)


@functools.cache
def _fold_character(character: str) -> str:
    bare = character
    while (deeper := unicodedata.normalize("NFKD", bare).casefold()) != bare:
        bare = deeper
    kept = (c for c in bare if not unicodedata.category(c).startswith("M"))
    return "".join(c if c.isalnum() else " " for c in kept)


def near_keys(titles: pa.Array) -> np.ndarray:
    """Return a key that titles share when their folded words are the same, in whatever order: (n,) uint64.

    It is a hash: titles that differ may share it too, one pair in 2**64. `titles` has no nulls.
    """
    out, rows = np.empty(len(titles), U), np.arange(len(titles))
    for size in TABLES:
        part = titles if len(rows) == len(titles) else titles.take(pa.array(rows))
        keys, beyond = np.empty(len(rows), U), np.zeros(len(rows), np.bool_)
        _near_keys(*buffers(part), *_folding(size), keys, beyond)
        out[rows] = keys
        rows = rows[beyond]
        if not len(rows):
            return out
    folded = pa.array([fold(text) for text in titles.take(pa.array(rows)).to_pylist()], pa.string())
    keys = np.empty(len(rows), U)
    _near_keys(*buffers(folded), *_folding(TABLES[-1]), keys, np.zeros(len(rows), np.bool_))
    out[rows] = keys
    return out


@functools.cache
def _folding(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (starts, lengths, points): the folded code points of every code point below `size`."""
    starts, lengths = np.zeros(size, np.int32), np.zeros(size, np.int8)
    points: list[int] = []
    for code in range(size):
        if not 0xD800 <= code < 0xE000:
            folded = fold(chr(code))
            starts[code], lengths[code] = len(points), len(folded)
            points += [SEPARATOR if c == " " else ord(c) for c in folded]
    return starts, lengths, np.array(points, np.int32)


@compiled
def _near_keys(data, offsets, starts, lengths, points, out, beyond):
    """Add up the hashes of every title's folded words; mark titles with code points that the table lacks."""
    for i in range(len(out)):
        total, word = U(0), U(0)
        at, end = U(offsets[i]), U(offsets[i + 1])
        while at < end:
            lead = numba.int32(data[at])
            if lead < 0x80:  # each folds to one point, and they come first in the table
                code, at = lead, at + U(1)
                if points[code] >= 0:
                    word = (word ^ U(points[code])) * PRIME + GOLDEN
                elif word:
                    total, word = total + _finish(word), U(0)
                continue
            if lead < 0xE0:
                code, at = (lead & 0x1F) << 6 | (data[at + U(1)] & 0x3F), at + U(2)
            elif lead < 0xF0:
                code = (lead & 0x0F) << 12 | (data[at + U(1)] & 0x3F) << 6 | (data[at + U(2)] & 0x3F)
                at += U(3)
            else:
                code = (lead & 0x07) << 18 | (data[at + U(1)] & 0x3F) << 12
                code |= (data[at + U(2)] & 0x3F) << 6 | (data[at + U(3)] & 0x3F)
                at += U(4)
            if code >= len(starts):
                beyond[i] = True
                word = (word ^ U(code)) * PRIME + GOLDEN
                continue
            for place in range(starts[code], starts[code] + lengths[code]):
                if points[place] >= 0:
                    word = (word ^ U(points[place])) * PRIME + GOLDEN
                elif word:
                    total, word = total + _finish(word), U(0)
        if word:
            total += _finish(word)
        out[i] = total


def split_names(numbers: np.ndarray) -> pa.Array:
    """Return the names of splits as strings."""
    return pa.array(SPLITS, pa.string()).take(pa.array(numbers))

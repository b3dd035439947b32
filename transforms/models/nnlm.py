"""NNLM embeddings without TensorFlow: split titles, find the rows of their tokens, add the rows up.

Three compiled passes over Arrow buffers that give, bit for bit, what the SavedModel gives. Memory is slow: each pass
asks for the cache lines that it will need some tokens later. For little-endian machines, as TensorFlow's own builds.
"""

import dataclasses
import hashlib
import itertools
import json
import math
import mmap
import os
from typing import Any

import numpy as np
import pyarrow as pa
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from molino.transforms.compiled import compiler

CODE_POINTS = 0x110000
# a token of at most this many bytes lies in its slot whole; a longer one is compared with the vocabulary
INLINE_BYTES = 11
PADDING = 16  # readable bytes that must follow the last token
TITLES_AT_ONCE = 2048  # titles of one pass: what is known of their tokens stays in the second cache
ROWS_AT_ONCE = 1 << 14  # rows that are written at once
SLOTS_AHEAD, ROWS_AHEAD = 128, 24  # tokens whose slots, and tokens whose rows, are asked for ahead
HUGE = 1e30  # a title's vector is at most this times the root of its tokens
LINE_BYTES = 64
LINE_FLOATS = LINE_BYTES // 4
FILES = ("table", "slots", "words", "offsets", "punctuation")

compiled = compiler(error_model="numpy")
inlined = compiler(error_model="numpy", inline="always")


# --- memory


def _loader(bits: int) -> Any:
    """Return a compiled function that reads an unsigned integer at any address."""
    result = getattr(types, f"uint{bits}")

    @intrinsic
    def load(_, address):
        def generate(context, builder, signature, arguments):
            return builder.load(builder.inttoptr(arguments[0], ir.PointerType(ir.IntType(bits))), align=1)

        return result(types.uint64), generate

    return load


_load8, _load32, _load64 = _loader(8), _loader(32), _loader(64)


@intrinsic
def _prefetch(_, address):
    """Ask for the cache line of an address; any address will do."""

    def generate(context, builder, signature, arguments):
        pointer, number = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        reading, near, data = number(0), number(3), number(1)
        builder.call(function, [builder.inttoptr(arguments[0], pointer), reading, near, data])
        return context.get_dummy_value()

    return types.void(types.uint64), generate


# --- FarmHash Fingerprint64, which TensorFlow's hash buckets use: farmhashna::Hash64 of google/farmhash

U = np.uint64
K0, K1, K2 = U(0xC3A5C85C97CB3127), U(0xB492B66FBE98F273), U(0x9AE16A3B2F90404F)


@inlined
def _rotate(value, by):
    return (value >> U(by)) | (value << U(64 - by))


@inlined
def _shift_mix(value):
    return value ^ (value >> U(47))


@inlined
def _hash_pair(u, v, mul):
    a = _shift_mix((u ^ v) * mul)
    return _shift_mix((v ^ a) * mul) * mul


@compiled
def _fingerprint(start, size):
    length = U(size)
    end = start + length
    mul = K2 + length * U(2)
    if size > 64:
        return _fingerprint_long(start, size)
    if size > 32:
        a, b = _load64(start) * K2, _load64(start + U(8))
        c, d = _load64(end - U(8)) * mul, _load64(end - U(16)) * K2
        y = _rotate(a + b, 43) + _rotate(c, 30) + d
        z = _hash_pair(y, a + _rotate(b + K2, 18) + c, mul)
        e, f = _load64(start + U(16)) * mul, _load64(start + U(24))
        g, h = (y + _load64(end - U(32))) * mul, (z + _load64(end - U(24))) * mul
        return _hash_pair(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, mul)
    if size > 16:
        a, b = _load64(start) * K1, _load64(start + U(8))
        c, d = _load64(end - U(8)) * mul, _load64(end - U(16)) * K2
        return _hash_pair(_rotate(a + b, 43) + _rotate(c, 30) + d, a + _rotate(b + K2, 18) + c, mul)
    if size >= 8:
        a, b = _load64(start) + K2, _load64(end - U(8))
        return _hash_pair(_rotate(b, 37) * mul + a, (_rotate(a, 25) + b) * mul, mul)
    if size >= 4:
        return _hash_pair(length + (U(_load32(start)) << U(3)), U(_load32(end - U(4))), mul)
    if size > 0:
        first, middle, last = U(_load8(start)), U(_load8(start + U(size >> 1))), U(_load8(end - U(1)))
        return _shift_mix((first + (middle << U(8))) * K2 ^ (length + (last << U(2))) * K0) * K2
    return K2


@inlined
def _weak_pair(at, a, b):
    w, x, y, z = _load64(at), _load64(at + U(8)), _load64(at + U(16)), _load64(at + U(24))
    a += w
    b = _rotate(b + a + z, 21)
    c = a
    a += x + y
    return a + z, b + _rotate(a, 44) + c


@compiled
def _fingerprint_long(start, size):
    """As `_fingerprint`, of more than 64 bytes."""
    x, y = U(81), U(81) * K1 + U(113)
    z = _shift_mix(y * K2 + U(113)) * K2
    v0, v1, w0, w1 = U(0), U(0), U(0), U(0)
    x = x * K2 + _load64(start)
    at, last_block = start, start + U((size - 1) // 64 * 64)
    while at != last_block:
        x = _rotate(x + y + v0 + _load64(at + U(8)), 37) * K1
        y = _rotate(y + v1 + _load64(at + U(48)), 42) * K1
        x ^= w1
        y += v0 + _load64(at + U(40))
        z = _rotate(z + w0, 33) * K1
        v0, v1 = _weak_pair(at, v1 * K1, x + w0)
        w0, w1 = _weak_pair(at + U(32), z + w1, y + _load64(at + U(16)))
        z, x = x, z
        at += U(64)
    mul = K1 + ((z & U(0xFF)) << U(1))
    at = start + U(size - 64)  # the last 64 bytes, whatever they share with the last block
    w0 += U((size - 1) & 63)
    v0 += w0
    w0 += v0
    x = _rotate(x + y + v0 + _load64(at + U(8)), 37) * mul
    y = _rotate(y + v1 + _load64(at + U(48)), 42) * mul
    x ^= w1 * U(9)
    y += v0 * U(9) + _load64(at + U(40))
    z = _rotate(z + w0, 33) * mul
    v0, v1 = _weak_pair(at, v1 * mul, x + w0)
    w0, w1 = _weak_pair(at + U(32), z + w1, y + _load64(at + U(16)))
    z, x = x, z
    return _hash_pair(_hash_pair(v0, w0, mul) + _shift_mix(y) * K0 + z, _hash_pair(v1, w1, mul) + x, mul)


@compiled
def _fingerprints(data, offsets, out):
    base = U(data.ctypes.data)
    for i in range(len(out)):
        out[i] = _fingerprint(base + U(offsets[i]), offsets[i + 1] - offsets[i])


def fingerprint64(strings: pa.Array) -> np.ndarray:
    """Return FarmHash's Fingerprint64 of each string, `(n,) uint64`; TensorFlow's bucket is this modulo the buckets."""
    data, offsets = _padded(*buffers(strings))
    out = np.empty(len(strings), np.uint64)
    _fingerprints(data, offsets, out)
    return out


# --- Arrow


def buffers(strings: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return (bytes, offsets) of strings or binaries without nulls: views of uint8, and int64 of n + 1."""
    if strings.null_count:
        raise ValueError("titles must not be null")
    large = pa.types.is_large_string(strings.type) or pa.types.is_large_binary(strings.type)
    if not large and not pa.types.is_string(strings.type) and not pa.types.is_binary(strings.type):
        raise TypeError(f"titles must be strings, not {strings.type}")
    _, where, content = strings.buffers()
    data = np.frombuffer(content, np.uint8) if content is not None and content.size else np.zeros(1, np.uint8)
    if not len(strings):
        return _frozen(data), _frozen(np.zeros(1, np.int64))
    offsets = np.frombuffer(where, np.int64 if large else np.int32)[strings.offset : strings.offset + len(strings) + 1]
    return _frozen(data), _frozen(offsets.astype(np.int64))


def _padded(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bytes from the first offset on, with readable bytes behind them, and the offsets into them."""
    used = data[offsets[0] : offsets[-1]]
    return _frozen(np.concatenate([used, np.zeros(PADDING, np.uint8)])), _frozen(offsets - offsets[0])


def _frozen(array: np.ndarray) -> np.ndarray:
    """Return a read-only view: a compiled function takes all its inputs so, mapped files and buffers alike."""
    view = array.view()
    view.flags.writeable = False
    return view


# --- splitting


@compiled
def _split(data, offsets, punctuation, keep_empty, text, tokens, rows):
    """Write the tokens' bytes to `text`, their offsets to `tokens`, the titles' to `rows`; return their number.

    `punctuation` has a 1 for every code point that is removed. A title without tokens has one empty token.
    """
    count, end = 0, 0
    tokens[0] = 0
    rows[0] = 0
    for title in range(len(offsets) - 1):
        at, stop, first = offsets[title], offsets[title + 1], count
        start = end
        while at < stop:
            byte = data[at]
            if byte == 32:
                if end > start or keep_empty:
                    count += 1
                    tokens[count] = end
                    start = end
                at += 1
            elif byte < 128:
                text[end] = byte
                end += 1 - punctuation[byte]
                at += 1
            else:
                size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
                if at + size > stop:
                    size = stop - at  # not UTF-8: the bytes as they are
                code = int(byte) & (0x7F >> size)
                for i in range(1, size):
                    code = code << 6 | (data[at + i] & 0x3F)
                code = min(code, CODE_POINTS - 1)
                if not punctuation[code]:
                    for i in range(size):
                        text[end + i] = data[at + i]
                    end += size
                at += size
        if end > start or keep_empty or count == first:
            count += 1
            tokens[count] = end
        rows[title + 1] = count
    return count


# --- finding


@inlined
def _key(start, size):
    """Return the two words of a token's slot: its bytes and length, or fingerprint and length of a long one."""
    if size < 8:
        return _load64(start) & ((U(1) << U(8 * size)) - U(1)), U(size) << U(24)
    if size <= INLINE_BYTES:
        rest = U(_load32(start + U(8))) & ((U(1) << U(8 * (size - 8))) - U(1))
        return _load64(start), rest | U(size) << U(24)
    return _fingerprint(start, size), U(0xFF000000) | U(size & 0xFFFFFF)


@inlined
def _place(low, high):
    mixed = (low ^ high * K0) * K1
    return mixed ^ mixed >> U(32)


@compiled
def _fill(words, offsets, slots):
    """Put every word in its slot; a slot is (bytes or fingerprint, length and rest | (row + 1) << 32), or zeros."""
    base, mask = U(words.ctypes.data), U(len(slots) - 1)
    for row in range(len(offsets) - 1):
        low, high = _key(base + U(offsets[row]), offsets[row + 1] - offsets[row])
        slot = _place(low, high) & mask
        while slots[slot, 1] != 0:
            slot = (slot + U(1)) & mask
        slots[slot, 0] = low
        slots[slot, 1] = high | U(row + 1) << U(32)


@compiled
def _same(start, size, words, offsets, row):
    if offsets[row + 1] - offsets[row] != size:
        return False
    for i in range(size):  # noqa: SIM110  # compiled: no generators
        if _load8(start + U(i)) != words[offsets[row] + i]:
            return False
    return True


@compiled
def _find(text, tokens, slots, words, offsets, buckets, out):
    base, mask, vocabulary = U(text.ctypes.data), U(len(slots) - 1), len(offsets) - 1
    table = U(slots.ctypes.data)
    lows, highs = np.empty(SLOTS_AHEAD, np.uint64), np.empty(SLOTS_AHEAD, np.uint64)
    places = np.empty(SLOTS_AHEAD, np.uint64)
    for first in range(0, len(out), SLOTS_AHEAD):
        count = min(SLOTS_AHEAD, len(out) - first)
        for i in range(count):
            at = tokens[first + i]
            lows[i], highs[i] = _key(base + U(at), tokens[first + i + 1] - at)
            places[i] = _place(lows[i], highs[i]) & mask
            _prefetch(table + places[i] * U(16))
        for i in range(count):
            slot, low, high = places[i], lows[i], highs[i]
            start, size = base + U(tokens[first + i]), tokens[first + i + 1] - tokens[first + i]
            while True:
                entry = slots[slot, 1]
                if entry == 0:
                    out[first + i] = vocabulary + np.int64(_fingerprint(start, size) % U(buckets))
                    break
                if slots[slot, 0] == low and entry & U(0xFFFFFFFF) == high:
                    row = np.int64(entry >> U(32)) - 1
                    if size <= INLINE_BYTES or _same(start, size, words, offsets, row):
                        out[first + i] = row
                        break
                slot = (slot + U(1)) & mask


# --- adding


@compiled
def _sum(table, dim, rows, ends, out):
    """Write the sum of each title's rows over the square root of their number.

    As TensorFlow's SparseSegmentSqrtN rounds (segment_reduction_ops_impl.h): the first 2 to 9 rows are added one after
    the other, then every 8 are added up among themselves before they are added; fewer than 10 are multiplied by the
    root's reciprocal, more are divided by the root.
    """
    base, width = U(table.ctypes.data), U(table.shape[1] * 4)
    lines = (dim * 4 + LINE_BYTES - 1) // LINE_BYTES
    asked = 0
    for title in range(len(ends) - 1):
        at, end = ends[title], ends[title + 1]
        ahead = min(end + ROWS_AHEAD, len(rows))
        while asked < ahead:
            address = base + U(rows[asked]) * width
            for line in range(lines):
                _prefetch(address + U(line * LINE_BYTES))
            asked += 1
        count = end - at
        first = count if count < 10 else (count - 2) % 8 + 2
        row = table[rows[at]]
        for j in range(dim):
            out[title, j] = row[j]
        for i in range(at + 1, at + first):
            row = table[rows[i]]
            for j in range(dim):
                out[title, j] += row[j]
        for i in range(at + first, end, 8):
            r0, r1, r2, r3 = table[rows[i]], table[rows[i + 1]], table[rows[i + 2]], table[rows[i + 3]]
            r4, r5, r6, r7 = table[rows[i + 4]], table[rows[i + 5]], table[rows[i + 6]], table[rows[i + 7]]
            for j in range(dim):
                out[title, j] += r0[j] + r1[j] + r2[j] + r3[j] + r4[j] + r5[j] + r6[j] + r7[j]
        root = np.float32(math.sqrt(count))
        if count < 10:
            scale = np.float32(1) / root
            for j in range(dim):
                out[title, j] *= scale
        else:
            for j in range(dim):
                out[title, j] /= root


# --- the table


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """How a model splits titles: whether punctuation is removed before, and whether spaces part empty tokens."""

    strip_punctuation: bool
    keep_empty: bool


class TokenTable:
    """A vocabulary and its vectors, in files that all threads and processes share. Safe for threads."""

    def __init__(self, folder: str):
        """Map what `write_table` wrote: `vocabulary` tokens have a row of their own, all others share `buckets`."""
        with open(os.path.join(folder, "table.json"), encoding="utf-8") as file:
            about = json.load(file)
        self.dim, self.vocabulary, self.buckets = about["dim"], about["vocabulary"], about["buckets"]
        self.words_sha256 = about["words_sha256"]
        self._maps = [np.load(os.path.join(folder, f"{name}.npy"), mmap_mode="r") for name in FILES]
        self._table, self._slots, self._words, self._offsets, self._punctuation = map(np.asarray, self._maps)
        self._nothing = np.zeros(CODE_POINTS, np.uint8)

    def release(self) -> None:
        """Give back the memory of the vectors; what is needed again is read again."""
        self._maps[0].base.madvise(mmap.MADV_DONTNEED)

    def is_finite(self) -> bool:
        """Return whether every title has a finite vector: no number of the table is near what float32 cannot hold."""
        return bool(max(abs(float(self._table.min())), abs(float(self._table.max()))) < HUGE)

    def words(self) -> list[bytes]:
        """Return the vocabulary, in the order of its rows."""
        words = self._words.tobytes()
        return [words[start:end] for start, end in itertools.pairwise(self._offsets.tolist())]

    def embed(self, titles: pa.Array, rule: Split) -> np.ndarray:
        """Return the vectors of titles, `(n, dim) float32`."""
        out = np.empty((len(titles), self.dim), np.float32)
        for start in range(0, len(titles), TITLES_AT_ONCE):
            text, tokens, ends = self.split(titles.slice(start, TITLES_AT_ONCE), rule)
            self.add(self.find(text, tokens), ends, out[start : start + TITLES_AT_ONCE])
        return out

    def split(self, titles: pa.Array, rule: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Split titles on spaces; return (bytes, token offsets, title offsets).

        Token j is `bytes[tokens[j] : tokens[j + 1]]`, and title i has the tokens from `titles[i]` to `titles[i + 1]`:
        always one at least, an empty one where there is nothing else. `PADDING` bytes follow the last token.
        """
        data, offsets = buffers(titles)
        size = int(offsets[-1] - offsets[0])
        text = np.empty(size + PADDING, np.uint8)
        tokens = np.empty(size + len(titles) + 2, np.int64)
        rows = np.empty(len(titles) + 1, np.int64)
        punctuation = _frozen(self._punctuation if rule.strip_punctuation else self._nothing)
        count = _split(data, offsets, punctuation, rule.keep_empty, text, tokens, rows)
        return text, tokens[: count + 1], rows

    def find(self, text: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Return the row of each token of `split`, `(k,) int32`: below `vocabulary` when it has one of its own."""
        rows = np.empty(len(tokens) - 1, np.int32)
        _find(_frozen(text), _frozen(tokens), self._slots, self._words, self._offsets, self.buckets, rows)
        return rows

    def add(self, rows: np.ndarray, ends: np.ndarray, out: np.ndarray) -> None:
        """Write the vector of each title to `out`, `(n, dim) float32`; title i has `rows[ends[i] : ends[i + 1]]`."""
        _sum(self._table, self.dim, _frozen(rows), _frozen(ends), out)


def write_table(folder: str, words: pa.Array, vectors: np.ndarray, *, buckets: int, punctuation: np.ndarray) -> None:
    """Write the files of a `TokenTable`: the vectors at 64-byte boundaries, and the vocabulary as a hash table.

    `words`: distinct strings or binaries. `vectors`: `(len(words) + buckets, dim) float32`. `punctuation`:
    `(CODE_POINTS,) uint8`, 1 for what a model removes that removes punctuation.
    """
    rows, dim = vectors.shape
    data, offsets = _padded(*buffers(words))
    slots = np.zeros((1 << (2 * max(len(words), 8) - 1).bit_length(), 2), np.uint64)
    _fill(data, offsets, slots)
    for name, array in zip(FILES[1:], (slots, data, offsets, punctuation), strict=True):
        np.save(os.path.join(folder, f"{name}.npy"), array)
    path, width = os.path.join(folder, f"{FILES[0]}.npy"), -(-dim // LINE_FLOATS) * LINE_FLOATS
    table: Any = np.lib.format.open_memmap(path, "w+", np.float32, (rows, width))
    for row in range(0, rows, ROWS_AT_ONCE):
        table[row : row + ROWS_AT_ONCE, :dim] = vectors[row : row + ROWS_AT_ONCE]
        table.base.madvise(mmap.MADV_DONTNEED)  # the file has them
    table.flush()
    sha256 = hashlib.sha256(offsets.tobytes() + data.tobytes()).hexdigest()
    about = {"dim": dim, "vocabulary": len(words), "buckets": buckets, "words_sha256": sha256}
    with open(os.path.join(folder, "table.json"), "w", encoding="utf-8") as file:
        json.dump(about, file)

"""Fingerprint64 of FarmHash: a 64-bit hash of bytes that is the same everywhere and for ever.

BigQuery's FARM_FINGERPRINT is the same number, and TensorFlow's string-to-bucket hashes are it modulo the buckets.
Source: FarmHash 1.1 by Geoff Pike, farmhashna::Hash64; https://github.com/google/farmhash
"""

import numba
import numpy as np
import pyarrow as pa

U = np.uint64
K0, K1, K2 = U(0xC3A5C85C97CB3127), U(0xB492B66FBE98F273), U(0x9AE16A3B2F90404F)
INLINE = numba.njit(nogil=True, inline="always")
COMPILED = numba.njit(nogil=True, cache=True)


def fingerprint64(values: pa.Array) -> np.ndarray:
    """Return the fingerprint of every string's UTF-8 bytes: (n,) uint64. `values` has no nulls.

    >>> [hex(value) for value in fingerprint64(pa.array(["", "hola"]))]
    ['0x9ae16a3b2f90404f', '0xeed15e05fb55c99']
    """
    data, offsets = string_buffers(values)
    out = np.empty(len(values), U)
    _fingerprints(data, offsets, out)
    return out


def string_buffers(values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the bytes of a string array, and the (n + 1,) int32 offsets of its values among them."""
    n = len(values)
    if n == 0:
        return np.zeros(0, np.uint8), np.zeros(1, np.int32)
    _, places, data = values.buffers()
    offsets = np.frombuffer(places, np.int32)[values.offset : values.offset + n + 1]
    return np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8), offsets


@COMPILED
def _fingerprints(data, offsets, out):
    for i in range(len(out)):
        out[i] = hash_bytes(data, U(offsets[i]), U(offsets[i + 1] - offsets[i]))


@INLINE
def _fetch(data, at):
    word = U(data[at])
    for i in range(1, 8):
        word |= U(data[at + U(i)]) << U(8 * i)
    return word


@INLINE
def _fetch32(data, at):
    word = U(data[at])
    for i in range(1, 4):
        word |= U(data[at + U(i)]) << U(8 * i)
    return word


@INLINE
def _rotate(value, shift):
    return (value >> U(shift)) | (value << U(64 - shift))


@INLINE
def _shift_mix(value):
    return value ^ (value >> U(47))


@INLINE
def _hash_16(u, v, factor):
    a = _shift_mix((u ^ v) * factor)
    return _shift_mix((v ^ a) * factor) * factor


@COMPILED
def hash_bytes(data, at, n):
    """Return the fingerprint of `n` bytes of `data` from `at` on; all are unsigned."""
    if n > U(64):
        return _hash_long(data, at, n)
    factor = K2 + n * U(2)
    if n > U(32):
        return _hash_33_to_64(data, at, n, factor)
    if n > U(16):
        a, b = _fetch(data, at) * K1, _fetch(data, at + U(8))
        c, d = _fetch(data, at + n - U(8)) * factor, _fetch(data, at + n - U(16)) * K2
        return _hash_16(_rotate(a + b, 43) + _rotate(c, 30) + d, a + _rotate(b + K2, 18) + c, factor)
    if n >= U(8):
        a, b = _fetch(data, at) + K2, _fetch(data, at + n - U(8))
        return _hash_16(_rotate(b, 37) * factor + a, (_rotate(a, 25) + b) * factor, factor)
    if n >= U(4):
        return _hash_16(n + (_fetch32(data, at) << U(3)), _fetch32(data, at + n - U(4)), factor)
    if n > U(0):
        y = U(data[at]) + (U(data[at + (n >> U(1))]) << U(8))
        z = n + (U(data[at + n - U(1)]) << U(2))
        return _shift_mix((y * K2) ^ (z * K0)) * K2
    return K2


@COMPILED
def _hash_33_to_64(data, at, n, factor):
    end = at + n
    a, b = _fetch(data, at) * K2, _fetch(data, at + U(8))
    c, d = _fetch(data, end - U(8)) * factor, _fetch(data, end - U(16)) * K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d
    z = _hash_16(y, a + _rotate(b + K2, 18) + c, factor)
    e, f = _fetch(data, at + U(16)) * factor, _fetch(data, at + U(24))
    g, h = (y + _fetch(data, end - U(32))) * factor, (z + _fetch(data, end - U(24))) * factor
    return _hash_16(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, factor)


@INLINE
def _weak_32(data, at, a, b):
    w, x, y, z = _fetch(data, at), _fetch(data, at + U(8)), _fetch(data, at + U(16)), _fetch(data, at + U(24))
    a += w
    b = _rotate(b + a + z, 21)
    c = a
    a += x + y
    b += _rotate(a, 44)
    return a + z, b + c


@INLINE
def _round(data, at, x, y, z, v0, v1, w0, w1, factor, nine):
    x = _rotate(x + y + v0 + _fetch(data, at + U(8)), 37) * factor
    y = _rotate(y + v1 + _fetch(data, at + U(48)), 42) * factor
    x ^= w1 * nine
    y += v0 * nine + _fetch(data, at + U(40))
    z = _rotate(z + w0, 33) * factor
    v0, v1 = _weak_32(data, at, v1 * factor, x + w0)
    w0, w1 = _weak_32(data, at + U(32), z + w1, y + _fetch(data, at + U(16)))
    return z, y, x, v0, v1, w0, w1


@COMPILED
def _hash_long(data, at, n):
    last = at + n - U(64)
    end = at + (n - U(1)) // U(64) * U(64)
    y = U(81) * K1 + U(113)
    z = _shift_mix(y * K2 + U(113)) * K2
    x = U(81) * K2 + _fetch(data, at)
    v0 = v1 = w0 = w1 = U(0)
    while at != end:
        x, y, z, v0, v1, w0, w1 = _round(data, at, x, y, z, v0, v1, w0, w1, K1, U(1))
        at += U(64)
    factor = K1 + ((z & U(0xFF)) << U(1))
    w0 += (n - U(1)) & U(63)
    v0 += w0
    w0 += v0
    x, y, z, v0, v1, w0, w1 = _round(data, last, x, y, z, v0, v1, w0, w1, factor, U(9))
    return _hash_16(_hash_16(v0, w0, factor) + _shift_mix(y) * K0 + z, _hash_16(v1, w1, factor) + x, factor)

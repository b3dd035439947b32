"""XXH64: a hash of 64 bits that reads memory as fast as it comes; where a cryptographic one would cost too much.

Source: Yann Collet, the xxHash specification, version 0.1.1; https://github.com/Cyan4973/xxHash
"""

import numba
import numpy as np

U = np.uint64
P1, P2, P3 = U(0x9E3779B185EBCA87), U(0xC2B2AE3D27D4EB4F), U(0x165667B19E3779F9)
P4, P5 = U(0x85EBCA77C2B2AE63), U(0x27D4EB2F165667C5)
compiled = numba.njit(nogil=True, cache=True)
inlined = numba.njit(nogil=True, cache=True, inline="always")


def xxh64(data: np.ndarray) -> int:
    """Return the XXH64, with the seed 0, of the bytes of a contiguous array.

    >>> hex(xxh64(np.frombuffer(b"a", np.uint8)))
    '0xd24ec4f1a98c6e5b'
    """
    flat = data.reshape(-1).view(np.uint8)
    words = flat[: len(flat) // 8 * 8].view("<u8")
    return int(_hash(words, flat[len(words) * 8 :], len(flat)))


@inlined
def _rotate(value, by):
    return (value << U(by)) | (value >> U(64 - by))


@inlined
def _round(lane, word):
    return _rotate(lane + word * P2, 31) * P1


@inlined
def _merge(state, lane):
    return (state ^ _round(U(0), lane)) * P1 + P4


@compiled
def _hash(words, rest, size):
    """Hash 8-byte words, and the fewer than 8 bytes after them."""
    done = len(words) // 4 * 4
    if done:
        a, b, c, d = P1 + P2, P2, U(0), U(0) - P1
        for i in range(0, done, 4):
            a, b = _round(a, words[i]), _round(b, words[i + 1])
            c, d = _round(c, words[i + 2]), _round(d, words[i + 3])
        state = _rotate(a, 1) + _rotate(b, 7) + _rotate(c, 12) + _rotate(d, 18)
        state = _merge(_merge(_merge(_merge(state, a), b), c), d)
    else:
        state = P5
    state += U(size)
    for i in range(done, len(words)):
        state = _rotate(state ^ _round(U(0), words[i]), 27) * P1 + P4
    start = 0
    if len(rest) >= 4:
        word = U(rest[0]) | U(rest[1]) << U(8) | U(rest[2]) << U(16) | U(rest[3]) << U(24)
        state = _rotate(state ^ (word * P1), 23) * P2 + P3
        start = 4
    for i in range(start, len(rest)):
        state = _rotate(state ^ (U(rest[i]) * P5), 11) * P1
    state = (state ^ (state >> U(33))) * P2
    state = (state ^ (state >> U(29))) * P3
    return state ^ (state >> U(32))

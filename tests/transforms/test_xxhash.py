"""XXH64, held to its published values and to a plain reading of its specification."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.xxhash import xxh64

P1, P2, P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P4, P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
M = 2**64 - 1


def rotate(x, by):
    return (x << by | x >> 64 - by) & M


def round_(lane, word):
    return rotate((lane + word * P2) & M, 31) * P1 & M


def plain(data):
    """Hash with Python's own whole numbers."""
    size, at = len(data), 0
    if size >= 32:
        lanes = [(P1 + P2) & M, P2, 0, -P1 & M]
        while at + 32 <= size:
            for i in range(4):
                lanes[i] = round_(lanes[i], int.from_bytes(data[at : at + 8], "little"))
                at += 8
        state = sum(rotate(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & M
        for lane in lanes:
            state = ((state ^ round_(0, lane)) * P1 + P4) & M
    else:
        state = P5
    state = (state + size) & M
    while at + 8 <= size:
        state = (rotate(state ^ round_(0, int.from_bytes(data[at : at + 8], "little")), 27) * P1 + P4) & M
        at += 8
    if at + 4 <= size:
        state = (rotate(state ^ int.from_bytes(data[at : at + 4], "little") * P1 & M, 23) * P2 + P3) & M
        at += 4
    for byte in data[at:]:
        state = rotate(state ^ byte * P5 & M, 11) * P1 & M
    state = (state ^ state >> 33) * P2 & M
    state = (state ^ state >> 29) * P3 & M
    return state ^ state >> 32


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_published_values(data, value):
    assert xxh64(np.frombuffer(data, np.uint8)) == plain(data) == value


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data):
    assert xxh64(np.frombuffer(data, np.uint8)) == plain(data)


def test_numbers_are_hashed_as_they_lie_in_memory():
    values = np.arange(1000, dtype=np.float32).reshape(10, 100)
    assert xxh64(values) == plain(values.tobytes())
    assert xxh64(values[3:5]) == plain(values[3:5].tobytes())

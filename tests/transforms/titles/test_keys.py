"""Ids, near keys, splits and turns, held to plain Python."""

import subprocess
import sys
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from molino.transforms.models.nnlm import fingerprint64
from molino.transforms.titles.keys import SPLITS, Draw, fold, mix, near_keys, split_names, title_ids

M = 2**64 - 1
TITLES = st.lists(
    st.text(max_size=40) | st.sampled_from(["", " ", "Sofá-Cama", "  sofa cama!", "ﬁn ½ İ ß 한국", "🔥 𝐀 a"])
)


def plain_mix(value, seed, use):
    """Mix one value with Python's own whole numbers."""

    def step(x):
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & M
        x = (x ^ x >> 27) * 0x94D049BB133111EB & M
        return x ^ x >> 31

    return step(value ^ step(seed + 0x9E3779B97F4A7C15 * (use + 1) & M))


def plain_key(title):
    """Add up the hashes of a title's folded words with Python's own whole numbers."""
    total = 0
    for word in fold(title).split(" "):
        value = 0
        for character in word:
            value = ((value ^ ord(character)) * 0x100000001B3 + 0x9E3779B97F4A7C15) & M
        if word:
            value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & M
            value = (value ^ value >> 27) * 0x94D049BB133111EB & M
            total = (total + (value ^ value >> 31)) & M
    return total


@settings(deadline=None)
@given(TITLES, TITLES)
@example([], ["Ⓐ１ x̂ ẞ", "𝐀𝐁 ab", "ǅ 🇦🇷", "a\u0301 á", "\x00 \uffff"])
def test_near_keys_are_those_of_plain_python(before, titles):
    array = pa.array(before + titles, pa.string()).slice(len(before))
    assert near_keys(array).tolist() == [plain_key(title) for title in titles]


@pytest.mark.parametrize(
    "alike",
    [
        ["Sofá Cama 2 Plazas", "SOFA CAMA 2 PLAZAS", " sofa  cama,2-plazas!", "2 plazas sofa cama"],
        ["Sof\u00e1 Cama", "Sofa\u0301 Cama"],
        ["Alarma Positron Moto", "* alarma moto (positron) 🔥"],
        ["Straße", "STRASSE"],
        ["", " ", "¿¡!?"],
    ],
)  # fmt: skip
def test_nearly_the_same_titles_have_one_key(alike):
    assert len(set(near_keys(pa.array(alike)).tolist())) == 1


def test_other_titles_have_other_keys():
    others = ["iphone 6", "iphone 7", "iphone", "iphone 6 6", "i phone 6", "funda iphone 6", ""]
    assert len(set(near_keys(pa.array(others)).tolist())) == len(others)


@settings(deadline=None)
@given(st.text())
def test_folding_twice_changes_nothing(text):
    assert fold(fold(text)) == fold(text)
    assert fold(unicodedata.normalize("NFD", text)).split() == fold(text).split()


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(max_size=70), st.none() | st.text(max_size=5)), min_size=1))
def test_ids_are_the_documented_fingerprints(rows):
    titles = pa.array([title for title, _ in rows], pa.string())
    categories = pa.array([category for _, category in rows], pa.string())
    wanted = []
    for title, category in rows:
        one = int(fingerprint64(pa.array([title]))[0])
        other = 0 if category is None else int(fingerprint64(pa.array([category]))[0])
        wanted.append(one ^ (other & 0xFFFFFFFF))
    assert title_ids(titles, categories).view(np.uint64).tolist() == wanted
    assert title_ids(titles, categories.dictionary_encode()).view(np.uint64).tolist() == wanted


@settings(deadline=None)
@given(st.lists(st.integers(0, M)), st.integers(0, 2**63 - 1))
def test_mixing_is_that_of_plain_python(values, seed):
    array = np.array(values, np.uint64)
    for use in range(3):
        assert mix(array, seed, use).tolist() == [plain_mix(value, seed, use) for value in values]
    rows, draw = pa.record_batch({"id": array.view(np.int64)}), Draw(seed=seed, validation=0, test=0)
    assert draw.block(rows).to_pylist() == [plain_mix(value >> 32, seed, 0) for value in values]
    assert draw.turn(rows).tolist() == [plain_mix(value, seed, 1) for value in values]


def split_numbers(keys, seed, validation, test):
    return Draw(seed=seed, validation=validation, test=test).split(pa.record_batch({"near": keys}))


def test_splits_have_the_asked_shares():
    keys = np.arange(200_000, dtype=np.uint64)
    numbers = split_numbers(keys, 7, 0.05, 0.1)
    shares = np.bincount(numbers, minlength=3) / len(keys)
    np.testing.assert_allclose(shares, [0.85, 0.05, 0.1], atol=0.002)
    assert split_numbers(keys, 7, 0.0, 0.0).max() == 0
    assert set(split_numbers(keys, 7, 0.5, 0.5 - 1e-9).tolist()) == {1, 2}
    assert (split_numbers(keys, 8, 0.05, 0.1) != numbers).any()
    assert split_names(numbers[:3]).to_pylist() == [SPLITS[n] for n in numbers[:3]]


def test_a_larger_share_keeps_what_a_smaller_one_took():
    """So that a test title of one run is no training title of another that only holds out more."""
    keys = np.arange(50_000, dtype=np.uint64)
    small, large = split_numbers(keys, 7, 0.05, 0.05), split_numbers(keys, 7, 0.1, 0.1)
    assert set(np.flatnonzero(small == 2)) <= set(np.flatnonzero(large == 2))


@pytest.mark.slow
def test_keys_are_the_same_in_every_process():
    code = "import pyarrow as pa; from molino.transforms.titles.keys import near_keys as n; "
    code += "print(n(pa.array(['Sofá ½']))[0])"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1")
    }
    assert seen == {f"{plain_key('Sofá ½')}\n"}

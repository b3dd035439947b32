"""The three compiled passes: fingerprints and sums against TensorFlow, splitting and finding against plain Python."""

import itertools
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.transforms.models import nnlm
from tests.transforms.small_models import BUCKETS, WORDS

# letters, spaces, punctuation, other white space, several planes, combining marks
LETTERS = "ab Ñé  ¿¡!,.-'\t\n\xa0\0\u0301\u2009手📱🏽\U0010ffffx"
STRIPPED = nnlm.Split(strip_punctuation=True, keep_empty=False)
TITLES = st.lists(st.text(st.sampled_from(LETTERS) | st.characters(codec="utf-8"), max_size=40), max_size=12)


@pytest.fixture(scope="module")
def tf(hub):
    import tensorflow

    return tensorflow


@pytest.fixture(scope="module")
def punctuation():
    """What RE2, which Arrow has as well, finds to be punctuation."""
    codes = [code for code in range(nnlm.CODE_POINTS) if not 0xD800 <= code < 0xE000]
    found = pc.match_substring_regex(pa.array([chr(code) for code in codes]), r"^\pP$")
    table = np.zeros(nnlm.CODE_POINTS, np.uint8)
    table[np.array(codes)[np.asarray(found)]] = 1
    return table


def words_of(text, tokens):
    return [bytes(text[start:end]).decode() for start, end in itertools.pairwise(tokens)]


# --- fingerprints


def test_fingerprint_is_tensorflows(tf):
    random = np.random.default_rng(0)
    sizes = [*range(200), 255, 256, 1000, 4097, 1 << 20]
    strings = [random.integers(0, 256, size, dtype=np.uint8).tobytes() for size in sizes for _ in range(3)]
    found = nnlm.fingerprint64(pa.array(strings, pa.binary()))
    for buckets in (1, 7, 25_000, 2**62):
        expected = tf.strings.to_hash_bucket_fast(strings, buckets).numpy()
        assert np.array_equal(found % np.uint64(buckets), expected.astype(np.uint64))


def test_fingerprint_of_a_slice():
    strings = pa.array(["", "uno", "dos", "tres" * 30, "cuatro"])
    assert np.array_equal(nnlm.fingerprint64(strings.slice(1, 3)), nnlm.fingerprint64(strings)[1:4])
    assert len(nnlm.fingerprint64(strings.slice(5))) == 0
    assert np.array_equal(nnlm.fingerprint64(strings.cast(pa.large_string())), nnlm.fingerprint64(strings))


# --- splitting


def split_plainly(title, strip, keep_empty):
    if strip:
        title = pc.replace_substring_regex(pa.scalar(title), r"\pP", "").as_py()
    return [word for word in title.split(" ") if word or keep_empty] or [""]


@settings(deadline=None, max_examples=300)
@given(titles=TITLES, strip=st.booleans(), keep_empty=st.booleans(), start=st.integers(0, 3))
def test_split(table, titles, strip, keep_empty, start):
    array = pa.array(titles, pa.string()).slice(start)
    text, tokens, ends = table.split(array, nnlm.Split(strip_punctuation=strip, keep_empty=keep_empty))
    expected = [split_plainly(title, strip, keep_empty) for title in titles[start:]]
    assert words_of(text, tokens) == [word for words in expected for word in words]
    assert np.diff(ends).tolist() == [len(words) for words in expected]
    assert len(text) >= tokens[-1] + nnlm.PADDING


def test_split_survives_what_is_not_utf8(table):
    random = np.random.default_rng(0)
    broken = [random.integers(128, 256, size, dtype=np.uint8).tobytes() for size in range(40)]
    _, tokens, ends = table.split(pa.array(broken, pa.binary()), STRIPPED)
    assert ends[-1] == len(tokens) - 1 == 40
    assert tokens[-1] <= sum(map(len, broken))


def test_nulls_and_numbers_are_no_titles(table):
    with pytest.raises(ValueError, match="null"):
        table.split(pa.array(["a", None]), STRIPPED)
    with pytest.raises(TypeError, match="int64"):
        table.split(pa.array([1]), STRIPPED)


# --- finding


@pytest.fixture(scope="module")
def table(tmp_path_factory, punctuation):
    folder = tmp_path_factory.mktemp("table")
    vectors = np.random.default_rng(0).standard_normal((len(WORDS) + BUCKETS, 5), dtype=np.float32)
    nnlm.write_table(str(folder), pa.array(WORDS), vectors, buckets=BUCKETS, punctuation=punctuation)
    return nnlm.TokenTable(str(folder))


def find(table, tokens):
    text = np.frombuffer(b"".join(tokens) + bytes(nnlm.PADDING), np.uint8)
    return table.find(text, np.cumsum([0, *map(len, tokens)])).tolist()


def test_find(table):
    plain = {word.encode(): row for row, word in enumerate(WORDS)}
    tokens = [word.encode() for word in WORDS]
    # nearly a word: cut, longer, with another end, with NULs that padding could hide
    tokens += (
        [token[:-1] for token in tokens] + [token + b"\0" for token in tokens] + [token + b"z" for token in tokens]
    )
    tokens += [token[:-1] + b"z" for token in tokens] + [b"", b"\0", b"\0" * 11, b"\0" * 12]
    buckets = nnlm.fingerprint64(pa.array(tokens, pa.binary())) % np.uint64(BUCKETS)
    expected = [plain.get(t, len(WORDS) + int(bucket)) for t, bucket in zip(tokens, buckets, strict=True)]
    assert find(table, tokens) == expected
    assert find(table, []) == []


@settings(deadline=None)
@given(words=st.lists(st.binary(max_size=20), max_size=300), others=st.lists(st.binary(max_size=20), max_size=50))
def test_find_in_any_vocabulary(tmp_path_factory, punctuation, words, others):
    words = list(dict.fromkeys(words))
    folder = str(tmp_path_factory.mktemp("any"))
    vectors = np.zeros((len(words) + 3, 1), np.float32)
    nnlm.write_table(folder, pa.array(words, pa.binary()), vectors, buckets=3, punctuation=punctuation)
    table = nnlm.TokenTable(folder)
    assert table.words() == words
    plain = {word: row for row, word in enumerate(words)}
    found = find(table, [*words, *others])
    assert found[: len(words)] == list(range(len(words)))
    assert [row if row < len(words) else None for row in found[len(words) :]] == [plain.get(token) for token in others]


# --- adding


@pytest.mark.parametrize("dim", [1, 15, 16, 50, 128])
def test_sum_is_bit_for_bit_tensorflows(tf, dim, punctuation, tmp_path):
    random = np.random.default_rng(dim)
    vectors = random.standard_normal((500, dim), dtype=np.float32)
    nnlm.write_table(str(tmp_path), pa.array(WORDS), vectors, buckets=500 - len(WORDS), punctuation=punctuation)
    sizes = [*range(1, 90), 1000]
    ends = np.concatenate([[0], np.cumsum(sizes)])
    rows = random.integers(0, 500, ends[-1]).astype(np.int32)
    out = np.empty((len(sizes), dim), np.float32)
    nnlm.TokenTable(str(tmp_path)).add(rows, ends, out)
    segments = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    expected = tf.raw_ops.SparseSegmentSqrtN(data=vectors, indices=rows, segment_ids=segments).numpy()
    assert np.array_equal(out.view(np.uint32), expected.view(np.uint32))


# --- punctuation


def test_punctuation_is_arrows_and_nearly_pythons(hub, punctuation):
    from molino.transforms.models.saved_model import find_punctuation

    assert np.array_equal(find_punctuation(), punctuation)
    # Unicode of other versions: the assigned ones agree
    differing = [chr(code) for code in range(nnlm.CODE_POINTS) if _is_punctuation(chr(code)) != punctuation[code]]
    assert {unicodedata.category(code) for code in differing} <= {"Cn"}


def _is_punctuation(character):
    return unicodedata.category(character).startswith("P")

import collections
import unicodedata

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.training import tokens

LETTERS = "abcAñÉ  ..¿-_'\t\n\u0301\xa0日🙂"
TEXTS = st.lists(st.text(LETTERS, max_size=12), max_size=12)


def plain_tokens(text, normalization):
    if normalization:
        text = "".join(letter for letter in text if not unicodedata.category(letter).startswith("P"))
    return [token for token in text.split(" ") if token] or [""]


def make_titles(titles, categories=None):
    return pa.array(titles, pa.string()), pa.array(categories or [None] * len(titles), pa.string())


def spell(corpus):
    """Return the tokens of each title of a corpus."""
    words = corpus.words.to_pylist()
    return [[words[n] for n in title] for title in corpus.titles.to_pylist()]


@settings(deadline=None)
@given(texts=TEXTS, normalization=st.booleans(), cut=st.integers(0, 12))
def test_tokens_are_those_of_plain_python(texts, normalization, cut):
    array = pa.array(texts, pa.string())[min(cut, len(texts)) :]
    found, counts = tokens.split_tokens(array, normalization=normalization)
    wanted = [plain_tokens(text, normalization) for text in array.to_pylist()]
    assert found.to_pylist() == [token for each in wanted for token in each]
    assert counts.tolist() == [len(each) for each in wanted]


@settings(deadline=None)
@given(texts=TEXTS, cut=st.integers(0, 12))
def test_any_batching_gives_the_same_corpus(texts, cut):
    names = [text[:1] or None for text in texts]
    whole = tokens.tokenize([(*make_titles(texts, names), False)], normalization=True)
    parts = [(*make_titles(texts[:cut], names[:cut]), False), (*make_titles(texts[cut:], names[cut:]), True)]
    found = tokens.tokenize(parts, normalization=True)
    assert spell(found) == spell(whole) == [plain_tokens(text, True) for text in texts]
    assert found.words.equals(whole.words)
    assert found.labels.tolist() == whole.labels.tolist()
    assert found.validation.tolist() == [n >= cut for n in range(len(texts))]
    categories = [*found.categories.to_pylist(), None]
    assert [categories[label] for label in found.labels] == names
    assert categories[:-1] == sorted(set(names) - {None}, key=str.encode)


@settings(deadline=None)
@given(texts=TEXTS, kept=TEXTS, size=st.integers(1, 8), least=st.integers(1, 3))
def test_the_vocabulary_is_by_frequency_then_by_token(texts, kept, size, least):
    corpus = tokens.tokenize([(*make_titles(texts), False), (*make_titles(kept), True)], normalization=False)
    counts = tokens.count_tokens(corpus)
    places = tokens.choose_vocabulary(corpus, counts, size=size, least=least)
    plain = collections.Counter(token for text in texts for token in plain_tokens(text, False))
    wanted = [token for token, count in plain.items() if count >= least and token and "\n" not in token]
    wanted.sort(key=lambda token: (-plain[token], token.encode()))
    assert corpus.words.take(pa.array(places)).to_pylist() == wanted[:size]


def test_words_have_the_rows_of_tensorflows_table():
    import tensorflow as tf

    texts = ["mesa de luz", "mesa blanca", "día ñandú 日本", "otra\nlínea", ""]
    corpus = tokens.tokenize([(*make_titles(texts), False)], normalization=False)
    places = tokens.choose_vocabulary(corpus, tokens.count_tokens(corpus), size=3, least=1)
    vocabulary = corpus.words.take(pa.array(places)).to_pylist()
    table = tf.lookup.StaticVocabularyTable(
        tf.lookup.KeyValueTensorInitializer(vocabulary, tf.range(3, dtype=tf.int64)), num_oov_buckets=5
    )
    wanted = table.lookup(tf.constant(corpus.words.to_pylist())).numpy()
    found = tokens.number_words(corpus, places, buckets=5)
    assert found.dtype == np.int32
    assert found.tolist() == wanted.tolist()
    assert max(found) > 3


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.data())
def test_titles_are_taken_in_any_order(counts, data):
    ends = np.cumsum(counts)
    texts = tokens.Texts(
        rows=tokens.lists_of(np.arange(ends[-1], dtype=np.int32), counts), labels=np.zeros(len(counts))
    )
    chosen = data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=10))
    found, segments = texts.take(np.array(chosen, np.int32))
    wanted = [list(range(ends[n] - counts[n], ends[n])) for n in chosen]
    assert found.tolist() == [token for each in wanted for token in each]
    assert segments.tolist() == [n for n, each in enumerate(wanted) for _ in each]


def plain_pieces(word):
    plain = "".join(c for c in unicodedata.normalize("NFD", word.lower()) if unicodedata.category(c) != "Mn")
    marked = f"<{plain}>"
    return {f"={plain}", f"^{plain[:4]}", *(marked[n : n + 4] for n in range(len(marked) - 3))}


@settings(deadline=None)
@given(st.lists(st.text("abÁáñ日", max_size=9), unique=True, max_size=12))
def test_pieces_are_those_of_plain_python(words):
    places, ends, count = tokens.find_pieces(pa.array(words, pa.string()))
    wanted = [plain_pieces(word) for word in words]
    shared = collections.Counter(piece for each in wanted for piece in each)
    wanted = [{piece for piece in each if shared[piece] > 1} for each in wanted]
    starts = [0, *ends[:-1]]
    found = [places[a:b].tolist() for a, b in zip(starts, ends, strict=False)]
    assert [len(each) for each in found] == [len(each) for each in wanted]
    # the same numbers for the same pieces
    names = {}
    for word, (numbers, pieces) in enumerate(zip(found, wanted, strict=True)):
        assert len(set(numbers)) == len(numbers)
        for number in numbers:
            names[number] = names.get(number, pieces) & pieces
            assert names[number], (word, number)
    assert count == len({piece for each in wanted for piece in each}) == len(names)


def test_a_side_follows_from_the_letters_alone():
    import tensorflow  # noqa: F401

    titles = [f"Mesa de Luz número {n}" for n in range(400)]
    others = [f" mesa  DE luz, ¡NÚMERO! {n}." for n in range(400)]
    sides = {}
    for seed in (0, 1):
        both = []
        for texts in (titles, others):
            parts = {
                kept: part.to_pylist() for part, _, kept in tokens.split_off(*make_titles(texts), share=0.25, seed=seed)
            }
            assert sorted(parts[True] + parts[False]) == sorted(texts)
            both.append([text in set(parts[True]) for text in texts])
        assert both[0] == both[1]
        assert 60 < sum(both[0]) < 140
        sides[seed] = both[0]
    assert sides[0] != sides[1]

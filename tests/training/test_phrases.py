import itertools
import unicodedata

import numpy as np
import pyarrow as pa
import pytest

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to load

TITLES = ["Mesa Ratona, De Luz", "  ÁRBOL-de   navidad 2x1!", "", "¡!", "a", "Ñandú ñandú ÑANDÚ", "日本 tv"]


def features_of(title):
    """Return the features of a title as texts, by kind, in plain Python."""
    lower = "".join(
        c
        for c in unicodedata.normalize("NFD", title.lower())
        if not unicodedata.combining(c) or c not in "\u0301\u0303\u0308\u0300\u0302\u0327"
    )
    words = "".join(c if c.isalnum() else " " for c in unicodedata.normalize("NFC", lower)).split() or [""]
    pairs = [f"{one} {other}" for one, other in itertools.pairwise(words)]
    groups = []
    for word in words:
        marked = b"<" + word.encode() + b">"
        groups += [marked[start : start + 4] for start in range(len(marked) - 3)]
    return [[f"w{w}".encode() for w in words], [f"p{p}".encode() for p in pairs], [b"g" + g for g in groups]]


def test_features_are_those_of_plain_python():
    import tensorflow as tf

    from molino.training.phrases import KINDS, find_features

    hashes, owners = find_features(tf.constant(TITLES), 20)
    found = {}
    for value, owner in zip(hashes.numpy().tolist(), owners.numpy().tolist(), strict=True):
        found.setdefault(owner, []).append(value)
    for number, title in enumerate(TITLES):
        for kind, wanted in enumerate(features_of(title)):
            expected = [int(tf.strings.to_hash_bucket_fast(text, 1 << 20)) for text in wanted]
            assert found.get(KINDS * number + kind, []) == expected, (title, kind)
    assert (np.diff(owners.numpy()) >= 0).all()


def test_rows_are_numbered_by_frequency_and_rare_ones_have_none():
    from molino.training.phrases import number_features

    places, rows = number_features(np.array([5, 3, 3, 7, 7, 7, 1]), bits=3, least=2)
    assert rows == 2
    assert places.tolist() == [-1, -1, -1, 1, -1, -1, -1, 0]


def test_the_layer_gives_what_training_adds_up():
    import tensorflow as tf

    from molino.training.phrases import BITS, KINDS, Phrases, number_features, number_texts, read_features, sum_features

    labels = np.arange(len(TITLES), dtype=np.int32)
    train = read_features(iter([(pa.array(TITLES[:4]), labels[:4]), (pa.array(TITLES[4:]), labels[4:])]))
    places, rows = number_features(train.rows.flatten(), bits=BITS, least=1)
    train = number_texts(train, places)
    layer = Phrases(rows, 5)
    layer.build()
    layer.places.assign(places)
    layer.table.assign(np.random.default_rng(0).normal(size=(rows, 5)))
    chosen = np.array([6, 0, 2, 1, 3, 4, 5], np.int32)
    used, owners = train.take((KINDS * chosen[:, None] + np.arange(KINDS)).ravel())
    summed = sum_features(
        tf.constant(layer.table.value), tf.constant(used), tf.constant(owners), tf.constant(len(chosen))
    )
    np.testing.assert_allclose(layer(tf.constant([TITLES[c] for c in chosen])).numpy(), summed.numpy(), atol=1e-5)
    for row, title in zip(summed.numpy(), (TITLES[c] for c in chosen), strict=True):
        wanted = np.zeros(5)
        for kind in features_of(title):
            ids = [places[int(tf.strings.to_hash_bucket_fast(text, 1 << BITS))] for text in kind]
            wanted += sum(layer.table.value.numpy()[i] for i in ids) / np.sqrt(max(len(ids), 1))
        np.testing.assert_allclose(row, wanted, atol=1e-5)

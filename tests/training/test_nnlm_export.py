"""Exported NNLM models: what TF Hub loads, against the contract in plain Python."""

import math
import os

import numpy as np
import pytest

from molino.training.nnlm_export import export_nnlm

VOCABULARY = ["hola", "mundo", "a", "b", "¿que", "que"]
TITLES = ["hola mundo", "", "  ", "a  b", " b", "a\tb", "¿que?", "Hola", "x " * 20, "a\xa0b\n"]


def export(folder, **options):
    table = np.random.default_rng(1).standard_normal((len(VOCABULARY) + 3, 4), dtype=np.float32)
    export_nnlm(str(folder), VOCABULARY, table, buckets=3, **options)
    return table


def expected(title, table, normalization, keep_empty):
    """The contract, word by word; the bucket is TensorFlow's own."""
    import tensorflow as tf

    text = title.replace("¿", "").replace("?", "") if normalization else title
    tokens = [token for token in text.split(" ") if token or keep_empty] or [""]
    bucket = [int(tf.strings.to_hash_bucket_fast(token, 3)) for token in tokens]
    rows = [VOCABULARY.index(t) if t in VOCABULARY else 6 + n for t, n in zip(tokens, bucket, strict=True)]
    return table[rows].sum(axis=0) / math.sqrt(len(rows))


@pytest.mark.parametrize("keep_empty", [False, True])
@pytest.mark.parametrize("normalization", [False, True])
def test_hub_loads_it(tmp_path, hub, normalization, keep_empty):
    table = export(tmp_path / "model", normalization=normalization, keep_empty=keep_empty)
    found = hub.load(str(tmp_path / "model"))(TITLES).numpy()
    wanted = [expected(title, table, normalization, keep_empty) for title in TITLES]
    assert found.dtype == np.float32
    assert np.allclose(found, wanted, atol=1e-6)
    assert os.listdir(tmp_path) == ["model"]


def test_two_models_in_one_process_keep_their_own_words(tmp_path, hub):
    one = export(tmp_path / "one", normalization=False)
    export_nnlm(str(tmp_path / "two"), VOCABULARY[::-1], one, buckets=3, normalization=False)
    models = [hub.load(str(tmp_path / name)) for name in ("one", "two")]
    assert np.array_equal(models[0](["hola"]).numpy()[0], one[0])
    assert np.array_equal(models[1](["hola"]).numpy()[0], one[5])


@pytest.mark.slow
def test_keras_layer_trains_it(tmp_path, hub):
    tf_keras = pytest.importorskip("tf_keras")
    table = export(tmp_path / "model", normalization=True)
    layer = hub.KerasLayer(str(tmp_path / "model"), input_shape=[], dtype="string", trainable=True)
    model = tf_keras.Sequential([layer, tf_keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.array(["hola", "b"], object), np.array([[1.0], [0.0]]), verbose=0)
    trained = layer.get_weights()[0]
    assert sorted(set(np.nonzero(trained != table)[0])) == [0, 3]

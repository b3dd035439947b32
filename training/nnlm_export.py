"""Write an NNLM table as the SavedModel that the published ones are: strings in, one vector for each out."""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

PUNCTUATION = r"\pP"


def export_nnlm(
    folder: str,  # of the SavedModel, which is not there yet
    vocabulary: Sequence[str],
    table: np.ndarray,  # `(len(vocabulary) + buckets, dim) float32`
    *,
    buckets: int,  # rows that tokens outside the vocabulary share, from 1
    normalization: bool,
    keep_empty: bool = False,
) -> None:
    """Write a SavedModel that `hub.load` and `hub.KerasLayer` load; its table can be trained on.

    The same arguments give the same bytes in a process that has traced no TensorFlow function before; functions that
    were traced shift the numbers in the names of these.

    It takes a 1-D string tensor and gives `(n, dim) float32`. A string is split on spaces; with `normalization` its
    punctuation (every character of the Unicode category P) is removed before; case is kept. A token's row is its place
    in the vocabulary, or that of its bucket: `len(vocabulary) + fingerprint64(token) % buckets`. The rows of a string
    are added and divided by the square root of their number. A string without tokens has the row of the empty token.
    `vocabulary`: distinct tokens in the order of the rows; not empty, no line ends: they stand in a file, one a line.
    `keep_empty`: whether two spaces in a row have an empty token between them, as in the later exporter of TF Hub; the
    earlier one drops empty tokens.
    """
    import tensorflow as tf

    place = os.path.dirname(os.path.abspath(folder))
    os.makedirs(place, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as work:
        tokens = os.path.join(work, "tokens.txt")
        with open(tokens, "wb") as file:
            file.writelines(f"{token}\n".encode() for token in vocabulary)
        model = _model(tokens, table, buckets, normalization=normalization, keep_empty=keep_empty)
        tf.saved_model.save(model, folder)
    _settle(os.path.join(folder, "fingerprint.pb"))


def _model(tokens: str, table: np.ndarray, buckets: int, *, normalization: bool, keep_empty: bool) -> Any:
    """Return the object that is saved; `tokens` is the path of the vocabulary's file."""
    import tensorflow as tf

    with open(tokens, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()

    class Words(tf.lookup.TextFileInitializer):
        # TensorFlow's own name holds an address of this process; tables of one name are one table in a process
        _shared_name = f"hash_table_{digest}"

    rows = tf.Variable(table, name="embeddings", trainable=True)
    words = Words(
        tf.saved_model.Asset(tokens),
        key_dtype=tf.string,
        key_index=tf.lookup.TextFileIndex.WHOLE_LINE,
        value_dtype=tf.int64,
        value_index=tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    ids = tf.lookup.StaticVocabularyTable(words, buckets)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="sentences")])
    def embed(sentences):
        text = tf.strings.regex_replace(sentences, PUNCTUATION, "") if normalization else sentences
        split = tf.strings.split(text, " ").to_sparse() if keep_empty else tf.compat.v1.string_split(text, " ")
        split, _ = tf.sparse.fill_empty_rows(split, tf.constant(""))
        split = tf.sparse.reset_shape(split)
        found = tf.SparseTensor(split.indices, ids.lookup(split.values), split.dense_shape)
        return tf.nn.embedding_lookup_sparse(rows, found, None, combiner="sqrtn")

    model = tf.train.Checkpoint(embeddings=rows)
    model.table = ids
    model.__call__ = embed
    # what hub.KerasLayer looks for
    model.variables = [rows]
    model.trainable_variables = [rows]
    model.regularization_losses = []
    return model


def _settle(path: str) -> None:
    """Give a model's fingerprint an id that follows from the model; TensorFlow draws one."""
    from tensorflow.core.protobuf import fingerprint_pb2

    with open(path, "rb") as file:
        fingerprint = fingerprint_pb2.FingerprintDef.FromString(file.read())
    fingerprint.uuid = str(fingerprint.saved_model_checksum)
    with open(path, "wb") as file:
        file.write(fingerprint.SerializeToString(deterministic=True))

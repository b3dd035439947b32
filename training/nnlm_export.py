"""Write an NNLM table as the SavedModel that the published ones are: strings in, one vector for each out."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np

PUNCTUATION = r"\pP"


def export_nnlm(
    folder: str,
    vocabulary: Sequence[str],
    table: np.ndarray,
    *,
    buckets: int,
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

    Args:
      folder: of the SavedModel; one that is there is replaced when the new one is complete.
      vocabulary: distinct tokens in the order of the rows; not empty, no line ends: they stand in a file, one a line.
      table: `(len(vocabulary) + buckets, dim) float32`.
      buckets: rows that tokens outside the vocabulary share, from 1.
      keep_empty: whether two spaces in a row have an empty token between them, as in the later exporter of TF Hub; the
        earlier one drops empty tokens.

    Raises:
      ValueError: the vocabulary cannot be written, or does not agree with the table.
    """
    _check(vocabulary, table, buckets)
    import tensorflow as tf

    target = os.path.abspath(folder)
    work = f"{target}.{uuid.uuid4().hex}"
    os.makedirs(work)
    try:
        tokens = os.path.join(work, "tokens.txt")
        with open(tokens, "wb") as file:
            file.writelines(f"{token}\n".encode() for token in vocabulary)
        saved = os.path.join(work, "saved")
        model = _model(tokens, table, buckets, normalization=normalization, keep_empty=keep_empty)
        tf.saved_model.save(model, saved)
        _settle(os.path.join(saved, "fingerprint.pb"))
        if os.path.isdir(target):
            os.rename(target, os.path.join(work, "replaced"))
        os.rename(saved, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _check(vocabulary: Sequence[str], table: np.ndarray, buckets: int) -> None:
    if buckets < 1:
        raise ValueError(f"buckets must be at least 1, not {buckets}")
    if table.ndim != 2 or table.dtype != np.float32:
        raise ValueError(f"the table must be 2-D float32, not {table.ndim}-D {table.dtype}")
    if len(table) != len(vocabulary) + buckets:
        raise ValueError(f"the table has {len(table)} rows, not {len(vocabulary)} tokens + {buckets} buckets")
    seen: set[str] = set()
    for line, token in enumerate(vocabulary, 1):
        if not token or "\n" in token or "\r" in token:
            raise ValueError(f"token {line} is empty or has a line end: {token[:60]!r}")
        if token in seen:
            raise ValueError(f"token {line} stands twice: {token[:60]!r}")
        seen.add(token)


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

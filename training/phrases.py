"""A classifier on titles themselves: vectors of words, of pairs of words and of groups of letters, and a softmax.

The architecture `phrases`. It needs TensorFlow: a step changes only the rows that its titles use, so its cost does not
grow with the table.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import tensorflow as tf

from molino.training.classifier import Learner, Report
from molino.training.tokens import Texts, lists_of
from molino.training.words import NUMBERS, Rows, combine

LETTERS = 4  # of a group
KINDS = 3  # words, pairs, groups of letters
BITS = 22  # of a feature's hash
ROWS = 16_384  # titles whose features are found at once
PLAIN = (("[áàäâã]", "a"), ("[éèëê]", "e"), ("[íìïî]", "i"), ("[óòöôõ]", "o"), ("[úùüû]", "u"), ("ñ", "n"), ("ç", "c"))


def find_features(titles: tf.Tensor, bits: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the hashes of the features of titles, int32, and for each the place of its title and kind, int32.

    A title is taken in lower case and without accents; what is neither letter nor digit parts its words. Its features
    are the words, the pairs of neighbouring words, and every four neighbouring bytes of a word with its ends marked.
    They come by title, then by kind: the place is three times the title's, plus the kind's.
    """
    text = tf.strings.lower(titles, encoding="utf-8")
    for letters, plain in PLAIN:
        text = tf.strings.regex_replace(text, letters, plain)
    words = tf.strings.split(tf.strings.strip(tf.strings.regex_replace(text, r"[^\pL\pN]+", " ")), " ")
    pairs = tf.strings.ngrams(words, 2)
    marked = tf.strings.bytes_split(tf.strings.join(["<", words, ">"]))
    groups = tf.strings.ngrams(marked, LETTERS, separator="").merge_dims(1, 2)
    # what kind a feature is goes into its hash
    named = [
        tf.strings.join([mark, kind.flat_values]) for mark, kind in zip("wpg", (words, pairs, groups), strict=True)
    ]
    hashes = tf.strings.to_hash_bucket_fast(tf.concat(named, 0), 1 << bits)
    owners = [KINDS * kind.value_rowids() + place for place, kind in enumerate((words, pairs, groups))]
    order = tf.argsort(tf.concat(owners, 0), stable=True)
    return tf.cast(tf.gather(hashes, order), tf.int32), tf.cast(tf.gather(tf.concat(owners, 0), order), tf.int32)


def sum_features(vectors: tf.Tensor, places: tf.Tensor, owners: tf.Tensor, titles: tf.Tensor) -> tf.Tensor:
    """Return the vectors of titles: the sum, over kinds, of their features' sum over the root of their number."""
    kinds = combine(vectors, places, owners, KINDS * titles)
    return tf.reduce_sum(tf.reshape(kinds, (titles, KINDS, tf.shape(vectors)[1])), 1)


class Phrases(keras.layers.Layer):
    """Strings in, `(n, dim) float32` out: the sum of the vectors of a title's features."""

    def __init__(self, rows: int, dim: int):
        super().__init__(name="phrases")
        self.rows, self.dim = rows, dim

    def build(self, _: Any = None) -> None:
        """Make the weights."""
        # the row of each hash, -1 where training has not seen it often enough
        self.places = self.add_weight(
            shape=(1 << BITS,), dtype="int32", initializer="zeros", trainable=False, name="places"
        )
        self.table = self.add_weight(shape=(self.rows, self.dim), dtype="float32", name="table")

    def call(self, titles: tf.Tensor) -> tf.Tensor:
        """Return the vectors of titles, (n,) or (n, 1)."""
        return sum_features(self.table.value, *self._find(titles), tf.size(titles))

    def _find(self, titles: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        hashes, owners = find_features(tf.reshape(titles, [-1]), BITS)
        places = tf.gather(self.places.value, hashes)
        return tf.boolean_mask(places, places >= 0), tf.boolean_mask(owners, places >= 0)

    def features(self, titles: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the rows of each title's features and what each weighs, (n, features): 0 and 0.0 behind the last."""
        places, owners = self._find(titles)
        counts = tf.math.unsorted_segment_sum(tf.ones_like(owners, tf.float32), owners, KINDS * tf.size(titles))
        weights = tf.math.rsqrt(tf.gather(counts, owners))
        count = tf.size(titles, out_type=tf.int64)
        rows, shares = (
            tf.RaggedTensor.from_value_rowids(of, tf.cast(owners // KINDS, tf.int64), count).to_tensor()
            for of in (places, weights)
        )
        return {"rows": rows, "weights": shares}

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, int]:
        """Return the shape of the vectors."""
        return (shape[0], self.dim)


def read_features(batches: Iterator[tuple[pa.Array, np.ndarray]]) -> Texts:
    """Return titles, given with their labels, as the hashes of their features: a list for each title and kind."""
    find = tf.function(lambda titles: find_features(titles, BITS), input_signature=[tf.TensorSpec([None], tf.string)])
    hashes, counts, labels = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    for titles, own in batches:
        found, owners = find(titles.to_numpy(zero_copy_only=False))
        hashes.append(found.numpy())
        counts.append(np.bincount(owners, minlength=KINDS * len(own)))
        labels.append(own)
    return Texts(rows=lists_of(np.concatenate(hashes), np.concatenate(counts)), labels=np.concatenate(labels))


def number_texts(texts: Texts, places: np.ndarray) -> Texts:
    """Return texts with rows for hashes, without those that have none."""
    rows = places[texts.rows.flatten()]
    known = rows >= 0
    ends = np.concatenate([[0], np.cumsum(known)])[texts.rows.offsets]
    return Texts(rows=pa.LargeListArray.from_arrays(ends, rows[known]), labels=texts.labels)


def number_features(hashes: np.ndarray, *, bits: int, least: int) -> tuple[np.ndarray, int]:
    """Return each hash's row, int32, the most frequent first, -1 where there are fewer than `least`; and the rows."""
    counts = np.bincount(hashes, minlength=1 << bits)
    order = np.argsort(-counts, kind="stable")
    rows = int(np.sum(counts >= least))
    places = np.full(1 << bits, -1, np.int32)
    places[order[:rows]] = np.arange(rows, dtype=np.int32)
    return places, rows


class ByPhrases(Learner):
    """Trains `phrases`.

    Several members, each with vectors and a softmax of its own, learn from the same batches; the finished model has the
    mean of their logits, which is one softmax on all their vectors. A share of a title's features is left out at random
    in each step, so that it does not learn to rely on one of them. `model`: titles in, logits out; up to date after
    `settle`.
    """

    columns: Sequence[str] = ("title",)

    def __init__(self, train: Texts, recipe: Any, prior: np.ndarray):
        """Build the model. `train`: as `read_features` gives them."""
        self.recipe, classes = recipe, len(prior)
        self.rows_an_epoch = len(train)
        self.steps = -(-len(train) // recipe.batch)
        places, rows = number_features(train.rows.flatten(), bits=BITS, least=recipe.min_count)
        self.train = number_texts(train, places)
        width = recipe.dim * recipe.members
        self.phrases = Phrases(max(rows, 1), width)
        self.phrases.build()
        self.phrases.places.assign(places)
        self.output = keras.layers.Dense(classes, name="logits")
        titles = keras.Input((), dtype="string", name="title")
        self.model = keras.Model(titles, self.output(self.phrases(titles)), name="phrases")
        self.table = Rows(max(rows, 1), width, recipe.seed)
        start = keras.initializers.GlorotUniform(recipe.seed + 1)
        self.kernel = tf.Variable(start((recipe.members, recipe.dim, classes)))
        self.bias = tf.Variable(tf.zeros((recipe.members, 1, classes)))
        self.heads = [self.kernel, self.bias]
        self.rate = recipe.make_schedule(self.steps)
        self.optimizer = keras.optimizers.Adam(self.rate, epsilon=1e-7)
        self.optimizer.build(self.heads)
        self.prior = tf.constant(prior, tf.float32)

    @tf.function(input_signature=[NUMBERS, NUMBERS, NUMBERS])
    def step(self, rows: tf.Tensor, owners: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Train on a batch and return its loss."""
        used, places = tf.unique(rows)
        number = self.optimizer.iterations
        rate, count = self.rate(number), tf.cast(number + 1, tf.float32)
        with tf.GradientTape() as tape:
            vectors = tf.gather(self.table.values, used)
            tape.watch(vectors)
            titles = sum_features(vectors, places, owners, tf.size(labels))
            parts = tf.transpose(tf.reshape(titles, (-1, self.recipe.members, self.recipe.dim)), (1, 0, 2))
            logits = tf.matmul(parts, self.kernel) + self.bias + self.prior
            wanted = tf.broadcast_to(labels, tf.shape(logits)[:2])
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, logits)
            # each member's own mean: they do not know of each other
            loss = tf.reduce_sum(tf.reduce_mean(losses, 1))
        gradient, *heads = tape.gradient(loss, [vectors, *self.heads])
        self.table.update(used, tf.convert_to_tensor(gradient), rate, count)
        self.optimizer.apply(heads)
        return loss / self.recipe.members

    def train_epoch(self, number: int, report: Report) -> dict[str, float]:
        numbers = np.random.default_rng([self.recipe.seed, number])
        order = numbers.permutation(np.arange(len(self.train), dtype=np.int32))
        losses: list[float] = []
        for at in range(0, len(order), self.recipe.batch):
            titles = order[at : at + self.recipe.batch]
            rows, owners = self.train.take((KINDS * titles[:, None] + np.arange(KINDS)).ravel())
            kept = numbers.random(len(rows), np.float32) >= self.recipe.leave_out
            losses.append(float(self.step(rows[kept], owners[kept], self.train.labels[titles])))
            report(len(losses), self.steps, float(np.mean(losses[-50:])))
        self.settle()
        return {"loss": float(np.mean(losses))}

    def settle(self) -> None:
        self.phrases.table.assign(self.table.values)
        self.output.kernel.assign(tf.reshape(self.kernel, (-1, self.kernel.shape[2])) / self.recipe.members)
        self.output.bias.assign(tf.reduce_mean(self.bias, (0, 1)))

    def plain_model(self) -> keras.Model:
        """Return a model of a title's features, as `Phrases.features` gives them: Keras has no layer for the title."""
        rows = keras.Input((None,), dtype="int32", name="rows")
        weights = keras.Input((None,), name="weights")
        table = keras.layers.Embedding(self.phrases.rows, self.phrases.dim, name="phrases")
        vectors = keras.ops.sum(table(rows) * keras.ops.expand_dims(weights, 2), 1)
        output = keras.layers.Dense(self.output.units, name="logits")
        model = keras.Model([rows, weights], output(vectors), name="phrases")
        table.set_weights([self.phrases.table.value])
        output.set_weights(self.output.get_weights())
        return model

    def ask(self, batch: Any) -> np.ndarray:
        return self._call(tf.constant(batch["title"].to_numpy(zero_copy_only=False), tf.string)).numpy()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def _call(self, titles: tf.Tensor) -> tf.Tensor:
        return self.model(titles, training=False)

    def variables(self) -> list[Any]:
        return [self.table.values, self.table.first, self.table.second, *self.heads, *self.optimizer.variables]

    def best_variables(self) -> list[Any]:
        return [self.table.values, *self.heads]

"""Train the vectors of words on titles, with Keras: by the titles' categories, or by the words beside them."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import numpy as np
import pyarrow.compute as pc
import tensorflow as tf

from molino.training.certainty import interval_over_titles
from molino.training.grow import GrowthOptions
from molino.training.scores import balanced_accuracy
from molino.training.tokens import Texts

BETA, GAMMA, TINY = 0.9, 0.999, 1e-7  # of Adam
SPREAD = 0.05  # of the vectors before training
NEGATIVES = 1024
PLENTY = 1e-4  # a word that is a larger share of all words is guessed less often
ASKED = 8192  # titles or rows at once where nothing is trained
NUMBERS = tf.TensorSpec([None], tf.int32)


def fill_unseen(table: np.ndarray, counts: np.ndarray, words: int) -> np.ndarray:
    """Return the table with a mean in untrained buckets: of the trained ones, or of as many of the rarest words."""
    buckets, unseen = table[words:], counts[words:] == 0
    like = buckets[~unseen] if not unseen.all() else table[max(0, words - len(buckets)) : words]
    buckets[unseen] = like.mean(0) if len(like) else 0
    return table


class Rows:
    """Vectors with Adam's moments, of which a step changes, and costs by, only the rows that it used."""

    def __init__(self, count: int, dim: int, seed: int):
        self.values = tf.Variable(keras.initializers.RandomUniform(-SPREAD, SPREAD, seed=seed)((count, dim)))
        self.first = tf.Variable(tf.zeros((count, dim)))
        self.second = tf.Variable(tf.zeros((count, dim)))

    def update(self, used: tf.Tensor, gradient: tf.Tensor, rate: tf.Tensor, step: tf.Tensor) -> None:
        """Change the rows `used`, each named once."""
        first = BETA * tf.gather(self.first, used) + (1 - BETA) * gradient
        second = GAMMA * tf.gather(self.second, used) + (1 - GAMMA) * tf.square(gradient)
        self.first.scatter_update(tf.IndexedSlices(first, used))
        self.second.scatter_update(tf.IndexedSlices(second, used))
        scale = rate * tf.sqrt(1 - GAMMA**step) / (1 - BETA**step)
        self.values.scatter_sub(tf.IndexedSlices(scale * first / (tf.sqrt(second) + TINY), used))


class Used(NamedTuple):
    """What the vectors of some rows of the table are made of."""

    rows: tf.Tensor  # int32, distinct
    own: tf.Tensor  # their own vectors
    pieces: tf.Tensor  # int32 pieces of theirs, distinct
    of_pieces: tf.Tensor  # the vectors of the pieces
    places: tf.Tensor  # places in `pieces`, row after row
    owners: tf.Tensor  # the place in `rows` for each of `places`


class Words:
    """A vector for each row of the table: its own, plus, while it is trained, the mean of those of its pieces."""

    def __init__(self, rows: int, pieces: tuple[np.ndarray, np.ndarray, int], options: GrowthOptions):
        places, ends, count = pieces
        # buckets have no pieces
        splits = np.concatenate([[0], ends, np.full(rows - len(ends), ends[-1] if len(ends) else 0)])
        self.rows = rows
        self.pieces_of = tf.RaggedTensor.from_row_splits(places, splits.astype(np.int64))
        self.own = Rows(rows, options.dim, options.seed)
        self.pieces = Rows(max(count, 1), options.dim, options.seed + 1)

    def gather(self, rows: tf.Tensor) -> Used:
        """Return what the vectors of some distinct rows are made of."""
        pieces = tf.gather(self.pieces_of, rows)
        used, places = tf.unique(pieces.values)
        own, of_pieces = tf.gather(self.own.values, rows), tf.gather(self.pieces.values, used)
        return Used(rows, own, used, of_pieces, places, tf.cast(pieces.value_rowids(), tf.int32))

    def join(self, used: Used) -> tf.Tensor:
        """Return the vectors."""
        return used.own + tf.raw_ops.SparseSegmentMeanWithNumSegments(
            data=used.of_pieces, indices=used.places, segment_ids=used.owners, num_segments=tf.size(used.rows)
        )

    def update(self, used: Used, own: tf.Tensor, of_pieces: tf.Tensor, rate: tf.Tensor, step: tf.Tensor) -> None:
        """Change vectors by the gradients of `used.own` and `used.of_pieces`."""
        self.own.update(used.rows, own, rate, step)
        self.pieces.update(used.pieces, of_pieces, rate, step)

    def table(self) -> np.ndarray:
        """Return all vectors, (rows, dim) float32."""
        starts = range(0, self.rows, ASKED)
        return np.concatenate([self.join(self.gather(tf.range(at, min(at + ASKED, self.rows)))) for at in starts])


def combine(vectors: tf.Tensor, places: tf.Tensor, segments: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Return the vector of each title: the sum of its tokens' over the square root of their number."""
    return tf.raw_ops.SparseSegmentSqrtNWithNumSegments(
        data=vectors, indices=places, segment_ids=segments, num_segments=count
    )


class ByCategory:
    """A linear softmax over the categories, on the titles' vectors.

    To its logits the logarithm of each category's share is added while it trains, and not when it is asked: the most
    likely category is then that of a world where all are as frequent, which is what balanced accuracy asks for
    (Menon et al., Long-tail learning via logit adjustment, 2021).
    """

    def __init__(self, words: Words, options: GrowthOptions, train: Texts, classes: int):
        self.words, self.options, self.train = words, options, train
        self.batch = options.batch or len(train)
        self.steps = -(-len(train) // self.batch)
        self.rate = keras.optimizers.schedules.PolynomialDecay(options.rate, options.epochs * self.steps, 0.0)
        self.head = keras.layers.Dense(classes, kernel_initializer=keras.initializers.GlorotUniform(options.seed + 2))
        self.head.build((None, options.dim))
        self.optimizer = keras.optimizers.Adam(self.rate, BETA, GAMMA, TINY)
        self.optimizer.build(self.head.trainable_variables)
        shares = np.bincount(train.labels, minlength=classes) / max(len(train), 1)
        self.prior = tf.constant(np.log(np.maximum(shares, 1e-9)), tf.float32)

    def batches(self, epoch: int) -> Iterator[tuple]:
        """Yield the arguments of the steps of an epoch."""
        titles = np.arange(len(self.train), dtype=np.int32)
        order = np.random.default_rng([self.options.seed, epoch]).permutation(titles)
        for at in range(0, len(order), self.batch):
            titles = order[at : at + self.batch]
            yield *self.train.take(titles), self.train.labels[titles]

    @tf.function(input_signature=[NUMBERS, NUMBERS, NUMBERS])
    def step(self, rows: tf.Tensor, segments: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Train on a batch and return its loss."""
        distinct, places = tf.unique(rows)
        used = self.words.gather(distinct)
        number = self.optimizer.iterations
        rate, count = self.rate(number), tf.cast(number + 1, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch([used.own, used.of_pieces])
            titles = combine(self.words.join(used), places, segments, tf.size(labels))
            logits = self.head(titles) + self.prior
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        own, of_pieces, *head = tape.gradient(loss, [used.own, used.of_pieces, *self.head.trainable_variables])
        self.words.update(used, own, of_pieces, rate, count)
        self.optimizer.apply(head)
        return loss

    def evaluate(self, texts: Texts) -> dict[str, float]:
        """Return loss, accuracy, balanced accuracy (the mean over the categories that are there) and its interval."""
        table, found, loss = self.words.table(), [], 0.0
        for at in range(0, len(texts), ASKED):
            titles = np.arange(at, min(at + ASKED, len(texts)))
            logits = self.head(combine(table, *texts.take(titles), len(titles)))
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(texts.labels[titles], logits + self.prior)
            loss += float(tf.reduce_sum(losses))
            found.append(np.argmax(logits, 1))
        predictions = np.concatenate(found)
        accuracy = float(np.mean(predictions == texts.labels))
        balanced = balanced_accuracy(texts.labels, predictions)
        low, high = interval_over_titles(texts.labels, predictions)
        figures = {"loss": loss / len(texts), "accuracy": accuracy, "balanced_accuracy": balanced}
        return {**figures, "low": low, "high": high}


class ByNeighbours:
    """A sampled softmax over the words: which word was taken out of the title?

    A title's word is taken out, rare ones more often than frequent ones, and guessed from the vector of those that
    stay, among itself and words drawn by their frequency to the power 0.75 (as in word2vec). Titles of one word teach
    nothing.
    """

    def __init__(self, words: Words, options: GrowthOptions, train: Texts):
        self.words, self.options, self.train = words, options, train
        self.able = _find_able(train)
        self.batch = options.batch or len(train)
        self.steps = -(-len(self.able) // self.batch)
        self.rate = keras.optimizers.schedules.PolynomialDecay(options.rate, max(1, options.epochs * self.steps), 0.0)
        self.iterations = tf.Variable(0, dtype=tf.int64)
        self.guessed = Rows(words.rows, options.dim, options.seed + 2)
        counts = np.bincount(train.rows.flatten(), minlength=words.rows)
        self.weights = np.minimum(1, np.sqrt(PLENTY * counts.sum() / np.maximum(counts, 1)))
        drawn = counts**0.75
        self.drawn = np.cumsum(drawn / max(drawn.sum(), 1))
        self.expected = tf.constant(np.log(np.maximum(NEGATIVES * drawn / max(drawn.sum(), 1), 1e-9)), tf.float32)

    def batches(self, epoch: int) -> Iterator[tuple]:
        """Yield the arguments of the steps of an epoch."""
        numbers = np.random.default_rng([self.options.seed, epoch])
        order = numbers.permutation(self.able)
        for at in range(0, len(order), self.batch):
            yield self._take_out(self.train, order[at : at + self.batch], numbers)

    def _take_out(self, texts: Texts, titles: np.ndarray, numbers: np.random.Generator) -> tuple:
        """Return the rows that stay, their titles, the row that was taken out of each title, and rows drawn."""
        rows, segments = texts.take(titles)
        # the largest of u ** (1 / weight) falls on each with a chance in proportion to its weight
        chances = np.log(numbers.random(len(rows))) / self.weights[rows]
        last = np.searchsorted(segments, np.arange(len(titles)), "right") - 1
        taken = np.lexsort((chances, segments))[last]
        stay = np.ones(len(rows), bool)
        stay[taken] = False
        drawn = np.searchsorted(self.drawn, numbers.random(NEGATIVES), "right")
        drawn = np.unique(np.minimum(drawn, self.words.rows - 1)).astype(np.int32)
        return rows[stay], segments[stay], rows[taken], drawn

    @tf.function(input_signature=[NUMBERS, NUMBERS, NUMBERS, NUMBERS])
    def step(self, rows: tf.Tensor, segments: tf.Tensor, taken: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        """Train on a batch and return its loss."""
        distinct, places = tf.unique(rows)
        used = self.words.gather(distinct)
        guessed, among = tf.unique(tf.concat([taken, drawn], 0))
        rate, count = self.rate(self.iterations), tf.cast(self.iterations + 1, tf.float32)
        with tf.GradientTape() as tape:
            outputs = tf.gather(self.guessed.values, guessed)
            tape.watch([used.own, used.of_pieces, outputs])
            titles = combine(self.words.join(used), places, segments, tf.size(taken))
            logits = self._logits(titles, tf.gather(outputs, among), taken, drawn)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(_first(logits), logits))
        own, of_pieces, output = tape.gradient(loss, [used.own, used.of_pieces, outputs])
        self.words.update(used, own, of_pieces, rate, count)
        self.guessed.update(guessed, tf.convert_to_tensor(output), rate, count)
        self.iterations.assign_add(1)
        return loss

    def _logits(self, titles: tf.Tensor, outputs: tf.Tensor, taken: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        """Return (n, 1 + drawn) logits, those of the words taken out first, corrected for how often each is drawn."""
        count = tf.size(taken)
        right = tf.reduce_sum(titles * outputs[:count], 1) - tf.gather(self.expected, taken)
        wrong = tf.matmul(titles, outputs[count:], transpose_b=True) - tf.gather(self.expected, drawn)
        wrong -= 1e9 * tf.cast(taken[:, None] == drawn[None, :], tf.float32)
        return tf.concat([right[:, None], wrong], 1)

    def evaluate(self, texts: Texts) -> dict[str, float]:
        """Return the loss, and how often the word that was taken out is the most likely of those drawn."""
        table, numbers = self.words.table(), np.random.default_rng([self.options.seed])
        able = _find_able(texts)
        loss = right = 0.0
        for at in range(0, len(able), ASKED):
            rows, segments, taken, drawn = self._take_out(texts, able[at : at + ASKED], numbers)
            titles = combine(table, rows, segments, len(taken))
            outputs = tf.gather(self.guessed.values, np.concatenate([taken, drawn]))
            logits = self._logits(titles, outputs, tf.constant(taken), tf.constant(drawn))
            loss += float(tf.reduce_sum(tf.nn.softmax_cross_entropy_with_logits(_first(logits), logits)))
            right += float(np.sum(np.argmax(logits, 1) == 0))
        return {"loss": loss / max(len(able), 1), "accuracy": right / max(len(able), 1)}


def _find_able(texts: Texts) -> np.ndarray:
    """Return the titles that have more than one word, int32."""
    return np.flatnonzero(pc.list_value_length(texts.rows).to_numpy() > 1).astype(np.int32)


def _first(logits: tf.Tensor) -> tf.Tensor:
    return tf.one_hot(tf.zeros(tf.shape(logits)[0], tf.int32), tf.shape(logits)[1])


def train_vectors(
    model: ByCategory | ByNeighbours, validation: Texts, report: Callable[[int, int, float], None]
) -> list[dict[str, float]]:
    """Train for all epochs; return the figures of each. `report` gets steps done, all steps, and the loss so far."""
    history, epochs = [], model.options.epochs
    for epoch in range(epochs):
        losses: list[float] = []
        for number, batch in enumerate(model.batches(epoch), 1):
            losses.append(float(model.step(*batch)))
            if number % 16 == 0 or number == model.steps:
                report(epoch * model.steps + number, epochs * model.steps, float(np.mean(losses)))
        figures = {"loss": float(np.mean(losses))} if losses else {}
        if len(validation):
            figures |= {f"validation_{name}": value for name, value in model.evaluate(validation).items()}
        history.append(figures)
    return history

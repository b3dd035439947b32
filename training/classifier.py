"""Classifiers on vectors, with Keras on any backend: architectures, losses, and how they are trained."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from molino.training.reader import Batch, Reader
from molino.training.recipe import Recipe
from molino.training.source import FLAG, read_flags, weigh

Report = Callable[[int, int, float], None]
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


class Learner(Protocol):
    """What trains a classifier, an epoch at a time."""

    model: Any  # the Keras model
    columns: Sequence[str]  # that it reads of a batch
    rows_an_epoch: int  # rows that an epoch trains on

    def train_epoch(self, number: int, report: Report) -> dict[str, float]:
        """Train for an epoch and return its figures, `loss` among them."""

    def settle(self) -> None:
        """Bring the model up to date after variables were set; nothing is to do where it has them itself."""
        return

    def plain_model(self) -> Any:
        """Return the model as plain Keras loads it: of Keras's own layers, without what training compiled into it."""

    def ask(self, batch: Batch) -> np.ndarray:
        """Return the logits of a batch, (n, classes) float32."""

    def variables(self) -> list[Any]:
        """Return all that training changes, always in the same order."""

    def best_variables(self) -> list[Any]:
        """Return what the finished model follows from."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """Dense layers with ReLU, dropout after each, and whether the language is joined before the output."""

    units: tuple[int, ...] = ()
    dropout: float = 0.0
    flag: bool = False


ARCHITECTURES = {
    "linear": Architecture(),
    "mlp-512": Architecture(units=(512, 512), dropout=0.25),  # that of the published comparison
    "mlp-2048": Architecture(units=(2048, 2048), dropout=0.5, flag=True),  # that of the challenge's entry
}


def sum_vectors(ids: Any, table: np.ndarray, name: str) -> Any:
    """Return the vectors of titles, (n, dim): the sum of their tokens' over the root of their number.

    Of Keras's own layers, so that a saved model loads without this program. `ids`: token ids (n, tokens), padded with
    -1. `table`: a vector for each token, from which training begins. `name`: of the layer that holds it.
    """
    layer = keras.layers.Embedding(*table.shape, name=name)
    vectors = layer(keras.ops.maximum(ids, 0))
    layer.set_weights([table])
    there = keras.ops.cast(keras.ops.greater_equal(ids, 0), layer.compute_dtype)
    count = keras.ops.maximum(keras.ops.sum(there, 1, keepdims=True), 1.0)
    return keras.ops.sum(vectors * keras.ops.expand_dims(there, 2), 1) / keras.ops.sqrt(count)


def build_model(
    recipe: Recipe, dims: dict[str, int], classes: int, tables: dict[str, np.ndarray] | None = None
) -> keras.Model:
    """Return an untrained model: an input for each embedding, and the flag where the architecture has one; logits out.

    `dims`: numbers of each embedding's vectors, by its name; of tokens, how many a title has. `tables`: vectors of
    tokens, by the embedding's name: then its input is token ids, and the table trains too.
    """
    shape, seeds = ARCHITECTURES[recipe.architecture], iter(range(recipe.seed, recipe.seed + 100))
    tokens = tables or {}
    inputs = [
        keras.Input((dim,), name=name, dtype="int32" if name in tokens else "float32") for name, dim in dims.items()
    ]
    parts = [
        sum_vectors(each, tokens[each.name], f"{each.name}_vectors") if each.name in tokens else each for each in inputs
    ]
    made = parts[0] if len(parts) == 1 else keras.layers.Concatenate()(parts)
    for units in shape.units:
        start = keras.initializers.GlorotUniform(next(seeds))
        made = keras.layers.Dense(units, activation="relu", kernel_initializer=start)(made)
        made = keras.layers.Dropout(shape.dropout, seed=next(seeds))(made)
    if shape.flag:
        inputs.append(keras.Input((1,), name=FLAG))
        made = keras.layers.Concatenate()([made, inputs[-1]])
    start = keras.initializers.GlorotUniform(next(seeds))
    logits = keras.layers.Dense(classes, kernel_initializer=start, dtype="float32", name="logits")(made)
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], logits, name=recipe.architecture.replace("-", "_"))


class ByVectors(Learner):
    """Trains an architecture on columns of a run."""

    def __init__(
        self,
        reader: Reader,
        recipe: Recipe,
        dims: dict[str, int],
        prior: np.ndarray,  # logarithm of each category's share; added to the logits while training
        *,
        language: str | None = None,  # train on its titles alone
        tables: dict[str, np.ndarray] | None = None,
        weighed: bool = False,  # whether some rows may not be trained on
    ):
        """Build the model; the reader has shuffled batches: of vectors or tokens, language where needed, and label."""
        keras.config.set_dtype_policy(POLICIES[recipe.precision])
        try:
            self.model = build_model(recipe, dims, len(prior), tables)
        finally:
            keras.config.set_dtype_policy("float32")
        self.inputs = tuple(each.name for each in self.model.inputs)
        self.columns: Sequence[str] = tuple(
            f"{name}_tokens" if name in (tables or {}) else name for name in self.inputs
        )
        self.reader, self.language, self.weighed = reader, language, weighed or language is not None
        self.rows_an_epoch = reader.own_rows
        self.model.compile(
            keras.optimizers.Adam(recipe.make_schedule(len(reader))), AdjustedCrossentropy(prior), jit_compile="auto"
        )
        self.model.optimizer.build(self.model.trainable_variables)

    def train_epoch(self, number: int, report: Report) -> dict[str, float]:
        """Train on every row once; return the loss, and the share of the time in which batches were waited for."""
        waited = total = rows = 0.0
        began = ended = time.monotonic()
        for done, batch in enumerate(self.reader.epoch(number), 1):
            waited += time.monotonic() - ended
            figures = self.model.train_on_batch(*self._prepare(batch), return_dict=True)
            rows, total = rows + len(batch["label"]), total + float(figures["loss"]) * len(batch["label"])
            ended = time.monotonic()
            report(done, len(self.reader), total / rows)
        return {"loss": total / rows, "waiting": waited / max(ended - began, 1e-9)}

    def _prepare(self, batch: Batch) -> tuple:
        x, labels = self._inputs(batch), batch["label"]
        if not self.weighed:
            return x, labels
        weights = weigh(batch, self.language)
        # the loss of a batch is the mean over its rows; those that are left out are none of them
        return x, np.maximum(labels, 0), weights * np.float32(len(weights) / max(1.0, weights.sum()))

    def _inputs(self, batch: Batch) -> Any:
        arrays = [read_flags(batch[name]) if name == FLAG else batch[name] for name in self.columns]
        return arrays[0] if len(arrays) == 1 else tuple(arrays)

    def plain_model(self) -> Any:
        return keras.Model(self.model.inputs, self.model.outputs, name=self.model.name)

    def ask(self, batch: Batch) -> np.ndarray:
        return np.asarray(self.model.predict_on_batch(self._inputs(batch)), np.float32)

    def variables(self) -> list[Any]:
        # the model's include the states of its random numbers
        return [*self.model.variables, *self.model.optimizer.variables]

    def best_variables(self) -> list[Any]:
        return list(self.model.weights)


class AdjustedCrossentropy(keras.losses.Loss):
    """Sparse categorical cross-entropy of logits to which `prior` is added: zeros leave it as it is.

    With the logarithm of each category's share the most likely category of the bare logits is the one that balanced
    accuracy asks for (Menon et al., Long-tail learning via logit adjustment, 2021).
    """

    def __init__(self, prior: np.ndarray):
        super().__init__(name="loss")
        self.prior = np.asarray(prior, np.float32)

    def call(self, labels: Any, logits: Any) -> Any:
        """Return the loss of each row."""
        labels = keras.ops.cast(keras.ops.reshape(labels, (-1,)), "int32")
        return keras.losses.sparse_categorical_crossentropy(labels, logits + self.prior, from_logits=True)

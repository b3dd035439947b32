"""The networks of a sweep in Keras, one after another: python shapes_keras.py SWEEP OUTPUT ROWS STEPS_A_CALL.

Plain Keras as a person writes it: a Sequential model, compile, fit over a tf.data.Dataset of batches in their order.
Initial weights and points are those of the job, so that the accuracies can be compared. Writes accuracies.json.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import keras
import numpy as np
import tensorflow as tf

from molino.transforms.shapes.points import GENERATED, Points, draw_split, label_points
from molino.transforms.shapes.sweep import expand_sweep, read_sweep
from molino.transforms.shapes.train_network import Network, draw_layers


def train(network: Network, points: Points, steps_a_call: int) -> float:
    """Return the accuracy on the test points."""
    data = {}
    for split in ("train", "test"):
        x, y = draw_split(points, split)
        data[split] = np.stack([x, y], axis=1).astype(np.float32), label_points(network.problem, x, y).astype(np.int32)
    penalty = keras.regularizers.L2(network.l2 / 2)
    hidden = [keras.layers.Dense(nodes, "relu", kernel_regularizer=penalty) for nodes in network.hidden]
    model = keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(2, kernel_regularizer=penalty)])
    model.set_weights([values for layer in draw_layers(network) for values in layer])
    rate = keras.optimizers.schedules.ExponentialDecay(network.rate, network.decay_steps, network.decay, staircase=True)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate), loss, metrics=["accuracy"], steps_per_execution=steps_a_call)
    positions, labels = (tf.constant(values) for values in data["train"])
    last = len(labels) - network.batch

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        start = step * network.batch % last
        return positions[start : start + network.batch], labels[start : start + network.batch]

    batches = tf.data.Dataset.range(network.steps).map(batch).prefetch(tf.data.AUTOTUNE)
    model.fit(batches, epochs=1, verbose=0)
    return float(model.evaluate(*data["test"], batch_size=10_000, verbose=0)[1])


def main(sweep: str, output: str, rows: str, steps_a_call: str) -> None:
    """Train all networks of the sweep."""
    networks, _ = expand_sweep(read_sweep(sweep), sweep)
    points = Points(kind=GENERATED, rows=int(rows), seed=1)
    found = []
    for network in networks:
        found.append(train(network, points, int(steps_a_call)))
        keras.backend.clear_session()
    Path(output, "accuracies.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

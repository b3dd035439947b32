"""Train a small network that tells two classes of points of the plane apart, as the published study does.

Hidden layers with ReLU, two logits, the mean cross-entropy of a batch plus l2 · ½Σw² of every matrix of weights, plain
gradient descent. Batches are taken in order: that of step s begins at s · batch mod (n − batch). Initial weights are of
a normal distribution, drawn again beyond two standard deviations; biases begin at zero. All in float32.

One hidden layer is trained by `one_layer`; any other network here, by matrix products of NumPy's BLAS with
one thread, whose last bits depend on the kind of processor.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable

import numpy as np

from molino.transforms.blas import pin_blas
from molino.transforms.shapes.one_layer import descend, margins
from molino.transforms.shapes.points import Problem

NOTES = 50  # of the loss, on the way
CHUNK_ROWS = 4096  # at a time, when a network is only asked

# (weights, biases) of every layer, the output's last: (inputs, nodes) and (nodes,) float32
Layers = list[tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """One network, and how it is trained."""

    problem: Problem  # what it learns
    hidden: tuple[int, ...]  # nodes of every hidden layer
    batch: int  # points in a step
    steps: int
    rate: float  # of learning; multiplied by `decay` after every `decay_steps` steps
    decay: float
    decay_steps: int
    l2: float  # beta, of the penalty
    deviation: float  # standard deviation of the initial weights
    seed: int  # of the initial weights

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Inputs and nodes of every layer."""
        return list(itertools.pairwise([2, *self.hidden, 2]))

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(inputs * nodes + nodes for inputs, nodes in self.shapes)

    @property
    def nanoseconds(self) -> int:
        """About the time that its training takes on one core of 2024; what to begin with follows from it."""
        if len(self.hidden) == 1:
            return self.steps * int(600 + 0.2 * self.batch * max(self.hidden[0], 4))
        products = 6 * self.batch * sum(inputs * nodes for inputs, nodes in self.shapes)
        passes = 2 * self.batch * sum(self.hidden)
        return self.steps * int(60_000 + products / 90 + passes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained network, and the loss on the way: before some of its steps, of their batch, penalty included."""

    layers: Layers
    curve_step: list[int]
    curve_loss: list[float]

    @property
    def diverged(self) -> bool:
        """Whether a weight or bias is infinite or no number."""
        return not all(np.isfinite(values).all() for layer in self.layers for values in layer)


def draw_layers(network: Network) -> Layers:
    """Return a network's initial weights and biases; they depend on seed, deviation and the layers' sizes."""
    generator = np.random.default_rng(network.seed)
    layers = []
    for shape in network.shapes:
        drawn = generator.standard_normal(shape)
        while (far := np.abs(drawn) > 2).any():
            drawn[far] = generator.standard_normal(np.count_nonzero(far))
        layers.append(((network.deviation * drawn).astype(np.float32), np.zeros(shape[1], np.float32)))
    return layers


def train_network(
    network: Network,
    x: np.ndarray,
    y: np.ndarray,
    label: np.ndarray,
    *,
    layers: Layers | None = None,  # initial weights, which are changed; drawn where they are not given
    report: Callable[[float], object] = float,
) -> Trained:
    """Return a network trained on points in their order.

    A network whose loss is no number any more is not trained further. `x`, `y`, `label`: (n,) float32, contiguous;
    labels are 0 or 1. There must be more points than a batch has. `report`: called now and then with the share of the
    steps that were taken since the last time.
    """
    layers = draw_layers(network) if layers is None else layers
    if len(layers) == 2:
        take = functools.partial(descend, x, y, label, *layers[0], *layers[1])
    else:
        pin_blas()
        take = functools.partial(descend_layers, np.stack([x, y], axis=1), label, layers)
    noted = range(0, network.steps, -(-network.steps // NOTES))
    stops = sorted({*noted, *range(0, network.steps, network.decay_steps), network.steps})
    steps, losses = [], []
    for start, stop in itertools.pairwise(stops):
        penalty = penalty_of(layers, network.l2)
        rate = network.rate * network.decay ** (start // network.decay_steps)
        loss = take(network.batch, (start, stop), np.float32(rate), np.float32(network.l2)) + penalty
        if start in noted:
            steps.append(start)
            losses.append(float(np.float32(loss)))
        report((stop - start) / network.steps)
        if not np.isfinite(loss):
            break
    return Trained(layers=layers, curve_step=steps, curve_loss=losses)


def penalty_of(layers: Layers, l2: float) -> float:
    """Return l2 · ½Σw² over the matrices of weights."""
    with np.errstate(over="ignore", invalid="ignore"):
        return 0.5 * l2 * sum(float(np.vdot(w, w)) for w, _ in layers)


def descend_layers(
    points: np.ndarray, label: np.ndarray, layers: Layers, batch: int, steps: tuple[int, int], rate: float, l2: float
) -> float:
    """Take some steps at one rate, in place; return the cross-entropy before the first of them.

    Any number of hidden layers; `points` is (n, 2) float32. What `one_layer.descend` does, by matrix
    products. Memory: about three times batch · nodes of all hidden layers, in float32.
    """
    loss = 0.0
    outputs = [np.empty((batch, w.shape[1]), np.float32) for w, _ in layers]
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(*steps):
            offset = step * batch % (len(points) - batch)
            truth = label[offset : offset + batch]
            inputs = [points[offset : offset + batch], *outputs[:-1]]
            for number, (w, b) in enumerate(layers):
                np.matmul(inputs[number], w, out=outputs[number])
                outputs[number] += b
                if number < len(layers) - 1:
                    np.maximum(outputs[number], 0, out=outputs[number])
            margin = outputs[-1][:, 1] - outputs[-1][:, 0]
            if step == steps[0]:
                loss = cross_entropy(margin, truth)
            slope = (probability_of(margin) - truth) / np.float32(batch)
            back = np.stack([-slope, slope], axis=1)
            for number in range(len(layers) - 1, -1, -1):
                w, b = layers[number]
                by_weights, by_biases = inputs[number].T @ back, back.sum(axis=0)
                if number:
                    back = back @ w.T
                    np.multiply(back, inputs[number] > 0, out=back)
                w -= rate * (by_weights + l2 * w)
                b -= rate * by_biases
    return loss


def probability_of(margin: np.ndarray) -> np.ndarray:
    """Return the probability of the second class, given by how much its logit is above the other; float32."""
    small = np.exp(-np.abs(margin))
    return np.where(margin >= 0, np.float32(1), small) / (1 + small)


def cross_entropy(margin: np.ndarray, label: np.ndarray) -> float:
    """Return the mean cross-entropy, of labels 0 or 1."""
    each = np.maximum(margin, 0) - label * margin + np.log1p(np.exp(-np.abs(margin)))
    return float(each.mean(dtype=np.float64))


def ask_network(layers: Layers, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return by how much the second logit is above the first, (n,) float32: above 0 the network says true."""
    if len(layers) > 2:
        pin_blas()
    out = np.empty(len(x), np.float32)
    for start in range(0, len(x), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        if len(layers) == 2:
            margins(x[rows], y[rows], *layers[0], *layers[1], out[rows])
            continue
        values = np.stack([x[rows], y[rows]], axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            for w, b in layers[:-1]:
                values = np.maximum(values @ w + b, 0)
            logits = values @ layers[-1][0] + layers[-1][1]
            out[rows] = logits[:, 1] - logits[:, 0]
    return out

"""Training, against a plain oracle in float64, against Keras, and the compiled way against the other."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.transforms.shapes.one_layer import descend, margins
from molino.transforms.shapes.points import STUDY, Points, draw_split, label_points, parse_problem
from molino.transforms.shapes.train_network import (
    NOTES,
    Network,
    ask_network,
    cross_entropy,
    descend_layers,
    draw_layers,
    penalty_of,
    probability_of,
    train_network,
)

CIRCLE = parse_problem("circle")


def network(**changes):
    usual = {"problem": CIRCLE, "hidden": (7,), "batch": 50, "steps": 60, "rate": 0.5, "decay": 1.0}
    usual |= {"decay_steps": 3500, "l2": 0.00125, "deviation": 0.5, "seed": 3}
    return Network(**usual | changes)


def points_of(rows=400, problem=CIRCLE):
    """Return (x, y, label), float32."""
    x, y = draw_split(Points(kind=STUDY, rows=rows, seed=0), "train")
    return x.astype(np.float32), y.astype(np.float32), label_points(problem, x, y).astype(np.float32)


def train_plainly(how, x, y, label):
    """Train in float64 by the book: two logits, softmax, every gradient on its own; return layers and losses."""
    layers = [(w.astype(np.float64), b.astype(np.float64)) for w, b in draw_layers(how)]
    points, truth = np.stack([x, y], axis=1).astype(np.float64), np.stack([1 - label, label], axis=1).astype(np.float64)
    losses = []
    for step in range(how.steps):
        offset = step * how.batch % (len(points) - how.batch)
        values, target = [points[offset : offset + how.batch]], truth[offset : offset + how.batch]
        for number, (w, b) in enumerate(layers):
            logits = values[-1] @ w + b
            values.append(np.maximum(logits, 0) if number < len(layers) - 1 else logits)
        raised = np.exp(values[-1] - values[-1].max(axis=1, keepdims=True))
        softmax = raised / raised.sum(axis=1, keepdims=True)
        penalty = how.l2 * sum((w**2).sum() / 2 for w, _ in layers)
        losses.append(-np.log((softmax * target).sum(axis=1)).mean() + penalty)
        back = (softmax - target) / how.batch
        rate = how.rate * how.decay ** (step // how.decay_steps)
        changed = []
        for number in range(len(layers) - 1, -1, -1):
            w, b = layers[number]
            changed.append((w - rate * (values[number].T @ back + how.l2 * w), b - rate * back.sum(axis=0)))
            back = (back @ w.T) * (values[number] > 0)
        layers = changed[::-1]
    return layers, losses


def assert_near(found, expected, *, within=2e-5):
    for (w, b), (v, c) in zip(found, expected, strict=True):
        assert np.abs(w - v).max() < within
        assert np.abs(b - c).max() < within


@pytest.mark.parametrize("hidden", [(1,), (3,), (4,), (30,), (600,), (5, 4), (6, 5, 4), (3, 3, 3, 3)])
@pytest.mark.parametrize("batch", [1, 50, 53])
def test_a_trained_network_is_that_of_the_oracle(hidden, batch):
    how = network(hidden=hidden, batch=batch, deviation=0.3, rate=0.2, decay=0.5, decay_steps=25)
    points = points_of()
    found = train_network(how, *points)
    layers, losses = train_plainly(how, *points)
    assert_near(found.layers, layers)
    assert found.curve_step == list(range(0, 60, 2))
    assert np.abs(np.array(found.curve_loss) - np.array(losses)[found.curve_step]).max() < 1e-5
    assert not found.diverged


@settings(max_examples=60, deadline=None)
@given(
    hidden=st.integers(1, 1100),
    batch=st.integers(1, 90),
    rows=st.integers(2, 200),
    start=st.integers(0, 50),
    steps=st.integers(1, 6),
    l2=st.sampled_from([0.0, 0.01]),
    seed=st.integers(0, 2**40),
)
def test_both_ways_train_one_layer_alike(hidden, batch, rows, start, steps, l2, seed):
    batch = min(batch, rows - 1)
    x, y, label = points_of(rows)
    one = draw_layers(network(hidden=(hidden,), seed=seed, deviation=0.1))
    other = [(w.copy(), b.copy()) for w, b in one]
    rate, l2 = np.float32(0.1), np.float32(l2)
    (w, b), (v, c) = one
    loss = descend(x, y, label, w, b, v, c, batch, (start, start + steps), rate, l2)
    plain = descend_layers(np.stack([x, y], axis=1), label, other, batch, (start, start + steps), rate, l2)
    assert loss == pytest.approx(plain, abs=1e-5)
    assert_near(one, other, within=1e-5)


@pytest.mark.parametrize("hidden", [1, 5, 513])
def test_margins_are_those_of_matrix_products(hidden):
    x, y, _ = points_of(100)
    layers = draw_layers(network(hidden=(hidden,)))
    (w, b), (v, c) = layers
    b += np.linspace(-1, 1, hidden, dtype=np.float32)
    c += np.float32([0.25, 1])
    out = np.empty(100, np.float32)
    margins(x, y, w, b, v, c, out)
    logits = np.maximum(np.stack([x, y], axis=1).astype(np.float64) @ w + b, 0) @ v.astype(np.float64) + c
    assert np.abs(out - (logits[:, 1] - logits[:, 0])).max() < 1e-4
    assert np.array_equal(ask_network(layers, x, y), out)


def test_a_deep_network_is_asked_in_chunks():
    x, y, _ = points_of(9000)
    layers = draw_layers(network(hidden=(6, 5), deviation=1.0))
    logits = np.stack([x, y], axis=1)
    for w, b in layers[:-1]:
        logits = np.maximum(logits @ w + b, 0)
    logits = logits @ layers[-1][0] + layers[-1][1]
    assert np.allclose(ask_network(layers, x, y), logits[:, 1] - logits[:, 0], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [(1,), (40,), (20, 10, 5)])
def test_keras_trains_the_same_network(hidden, hub):
    """From the same initial weights, after 150 steps: weights within 1e-4, losses within 1e-5."""
    import keras
    import tensorflow as tf

    how = network(hidden=hidden, steps=150, batch=64, deviation=0.3, rate=0.2, decay=0.86, decay_steps=60)
    x, y, label = points_of(1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        penalty = keras.regularizers.L2(how.l2 / 2)
        model = keras.Sequential(
            [
                keras.Input((2,)),
                *(keras.layers.Dense(nodes, "relu", kernel_regularizer=penalty) for nodes in hidden),
                keras.layers.Dense(2, kernel_regularizer=penalty),
            ]
        )
        model.set_weights([values for layer in draw_layers(how) for values in layer])
        rate = keras.optimizers.schedules.ExponentialDecay(how.rate, how.decay_steps, how.decay, staircase=True)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(rate), loss)
        starts = np.arange(how.steps) * how.batch % (len(x) - how.batch)
        rows = (starts[:, None] + np.arange(how.batch)).ravel()
        data = tf.data.Dataset.from_tensor_slices((np.stack([x, y], axis=1)[rows], label[rows])).batch(how.batch)
        losses = [float(model.train_on_batch(points, truth)) for points, truth in data.take(1)]
        model.set_weights([values for layer in draw_layers(how) for values in layer])
        model.optimizer.iterations.assign(0)
        model.fit(data, epochs=1, verbose=0, shuffle=False)
    found = train_network(how, x, y, label)
    weights = model.get_weights()
    assert_near(found.layers, list(zip(weights[::2], weights[1::2], strict=True)), within=1e-4)
    assert found.curve_loss[0] == pytest.approx(losses[0], abs=1e-5)
    said = model.predict(np.stack([x, y], axis=1), verbose=0)
    assert np.abs(ask_network(found.layers, x, y) - (said[:, 1] - said[:, 0])).max() < 1e-3


def test_the_study_s_networks_learn_what_they_learned():
    x, y = draw_split(Points(kind=STUDY, rows=200_000, seed=0), "test")
    asked = x.astype(np.float32), y.astype(np.float32)
    accuracies = {}
    for nodes, batch, steps in ((3, 100, 1000), (100, 100, 1000), (100, 1000, 2000)):
        how = network(hidden=(nodes,), batch=batch, steps=steps, deviation=0.0441, seed=1)
        trained = train_network(how, *points_of(200_000))
        accuracies[nodes, batch] = np.mean((ask_network(trained.layers, *asked) > 0) == label_points(CIRCLE, x, y))
    assert accuracies[3, 100] > 0.955  # the study: 96.2
    assert accuracies[100, 100] > 0.985  # 99.0
    assert accuracies[100, 1000] > 0.99  # 99.5, of five times as many steps


def test_initial_weights_are_normal_and_cut():
    how = network(hidden=(300, 200), deviation=0.0441)
    layers = draw_layers(how)
    assert [(w.shape, b.shape) for w, b in layers] == [((2, 300), (300,)), ((300, 200), (200,)), ((200, 2), (2,))]
    assert all(w.dtype == b.dtype == np.float32 and not b.any() for w, b in layers)
    values = layers[1][0].astype(np.float64) / 0.0441
    assert np.abs(values).max() <= 2.0001
    assert np.abs(values).max() > 1.99
    # of a normal distribution that is cut at two standard deviations
    inside = math.erf(2 / math.sqrt(2))
    assert values.std() == pytest.approx(math.sqrt(1 - 4 * math.exp(-2) / (math.sqrt(2 * math.pi) * inside)), abs=0.01)
    assert values.mean() == pytest.approx(0, abs=0.02)
    assert np.mean(np.abs(values) < 1) == pytest.approx(math.erf(1 / math.sqrt(2)) / inside, abs=0.01)


def test_initial_weights_depend_on_the_seed_and_not_on_what_is_learned():
    first = draw_layers(network())
    assert_near(first, draw_layers(network(batch=9, problem=parse_problem("cos"))), within=1e-12)
    assert np.abs(first[0][0] - draw_layers(network(seed=4))[0][0]).max() > 0.01


@pytest.mark.parametrize("hidden", [(20,), (20, 20)])
def test_a_network_that_diverges_says_so_and_stops(hidden):
    told = []
    trained = train_network(network(hidden=hidden, rate=1e30, steps=5000), *points_of(), report=told.append)
    assert trained.diverged
    assert len(trained.curve_step) < NOTES
    assert not np.isfinite(trained.curve_loss[-1])
    assert sum(told) < 1


def test_the_whole_of_the_training_is_told():
    told = []
    how = network(steps=997, decay=0.9, decay_steps=10)
    assert train_network(how, *points_of(), report=told.append).curve_step == list(range(0, 997, 20))
    assert sum(told) == pytest.approx(1)


def test_probabilities_and_entropy_of_large_margins():
    margin = np.float32([-200, -1, 0, 1, 200])
    assert probability_of(margin) == pytest.approx([0, 1 / (1 + math.e), 0.5, math.e / (1 + math.e), 1], abs=1e-6)
    assert np.isnan(probability_of(np.float32([np.nan]))).all()
    assert cross_entropy(np.float32([200, -200]), np.float32([1, 0])) == 0
    assert cross_entropy(np.float32([200, -200]), np.float32([0, 1])) == 200


def test_the_penalty_is_half_the_sum_of_squares():
    layers = [(np.float32([[1, 2], [3, 4]]), np.float32([9, 9])), (np.float32([[2], [0]]), np.float32([9]))]
    assert penalty_of(layers, 0.1) == pytest.approx(0.1 * (30 + 4) / 2)


def test_what_takes_longest_comes_first():
    networks = [network(steps=10), network(hidden=(500, 500)), network(steps=100_000), network(steps=10, seed=9)]
    assert sorted(range(4), key=lambda place: -networks[place].nanoseconds) == [2, 1, 0, 3]
    assert network(hidden=(10, 5)).parameters == 2 * 10 + 10 + 10 * 5 + 5 + 5 * 2 + 2

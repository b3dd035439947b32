"""The classifier that tells what components are worth: it learns what can be learned, and measures by class."""

import numpy as np
import pytest

from benchmarks.pca_titles import measure, train


@pytest.fixture(scope="module")
def titles():
    """Vectors around one centre a class, of very unequal sizes."""
    random = np.random.default_rng(0)
    labels = random.permutation(np.repeat(np.arange(5, dtype=np.int32), [3000, 600, 300, 100, 60]))
    centres = 3 * random.standard_normal((5, 8))
    return (centres[labels] + random.standard_normal((len(labels), 8))).astype(np.float32), labels


def test_it_learns_small_classes_too(titles):
    weights, scale = train(*titles, epochs=40)
    for figure, low, high in measure(weights, scale, *titles):
        assert 0.95 < low < figure < high < 1
    # without the numbers that tell the classes apart it cannot
    noise = np.random.default_rng(1).standard_normal(titles[0].shape).astype(np.float32)
    assert measure(weights, scale, noise, titles[1])[1][0] < 0.5


def test_balanced_accuracy_is_the_mean_over_classes():
    vectors, labels = np.array([[1.0], [1.0], [1.0], [-1.0]], np.float32), np.array([0, 0, 0, 1])
    always_first = np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)
    accuracy, balanced = measure(always_first, 1.0, vectors, labels)
    assert accuracy == pytest.approx((0.75, 0.301, 0.954), abs=5e-4)
    assert balanced == (0.5, 0.5, 0.5)  # all of a class are right, or none
    by_sign = np.array([[1.0, -1.0], [0.0, 0.0]], np.float32)
    assert [figure for figure, *_ in measure(by_sign, 1.0, vectors, labels)] == [1.0, 1.0]


def test_the_seed_decides(titles):
    one, other = (train(titles[0][:500], titles[1][:500], epochs=1, seed=3)[0] for _ in range(2))
    assert np.array_equal(one, other)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molino.training import scores


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=1, max_size=60))
def test_balanced_accuracy_is_the_mean_recall_over_the_classes_present(pairs):
    labels, predictions = np.array(pairs).T
    by_class = {}
    for label, prediction in pairs:
        by_class.setdefault(label, []).append(label == prediction)
    wanted = sum(sum(right) / len(right) for right in by_class.values()) / len(by_class)
    assert scores.balanced_accuracy(labels, predictions) == pytest.approx(wanted, abs=1e-12)


def test_a_class_that_is_only_predicted_does_not_count():
    assert scores.balanced_accuracy(np.array([0, 0]), np.array([0, 9])) == 0.5


def test_score_looks_at_all_that_are_given():
    top = np.array([[0, 1], [2, 1], [1, 0], [2, 0]])
    assert scores.score(np.array([0, 1, 2, 0]), top) == {
        "accuracy": 0.25,
        "top2_accuracy": 0.75,
        "balanced_accuracy": pytest.approx(1 / 6),
    }


def test_mistakes_come_worst_first_with_what_they_are_taken_for():
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    predictions = np.array([1, 1, 2, 1, 0, 2, 2, 2])
    assert scores.rank_mistakes(labels, predictions, "ABCD", 2) == [
        {"category": "A", "titles": 3, "right": 0, "taken_for": [["B", 2], ["C", 1]]},
        {"category": "B", "titles": 2, "right": 1, "taken_for": [["A", 1]]},
    ]


def test_the_temperature_is_that_by_which_labels_were_drawn():
    from molino.training.scores import fit_temperature

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 5)).astype(np.float32)
    for temperature in (0.5, 1.0, 3.0):
        chances = np.exp(logits / temperature)
        chances /= chances.sum(1, keepdims=True)
        labels = (chances.cumsum(1) < rng.random((len(logits), 1))).sum(1).clip(0, 4)
        found = fit_temperature(logits, labels)
        assert found == pytest.approx(temperature, rel=0.1)

        def entropy(t, labels=labels):
            moved = logits.astype(np.float64) / t
            return np.mean(np.log(np.exp(moved).sum(1)) - moved[np.arange(len(labels)), labels])

        assert entropy(found) <= min(entropy(found * 1.02), entropy(found / 1.02))


def test_the_calibration_error_is_that_of_a_loop():
    from molino.training.scores import calibration_error

    rng = np.random.default_rng(1)
    sure, right = rng.random(500).astype(np.float32), rng.random(500) < 0.5
    wanted = 0.0
    for low in np.arange(15) / 15:
        own = (sure >= low) & (sure < low + 1 / 15)
        if own.any():
            wanted += own.mean() * abs(sure[own].mean() - right[own].mean())
    assert calibration_error(sure, right) == pytest.approx(wanted, abs=1e-6)
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0

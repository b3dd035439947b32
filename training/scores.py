"""Figures of a classifier, from labels and predictions, in plain NumPy."""

from collections.abc import Sequence

import numpy as np


def count_right(labels: np.ndarray, predictions: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each class the titles of it, and those of them that were predicted right, (classes,) int64."""
    return np.bincount(labels, minlength=classes), np.bincount(labels[labels == predictions], minlength=classes)


def balanced_accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean recall over the classes that some label has; predictions of other classes are just wrong."""
    titles, right = count_right(labels, predictions, int(labels.max(initial=-1)) + 1)
    there = titles > 0
    return float(np.mean(right[there] / titles[there])) if there.any() else float("nan")


def score(labels: np.ndarray, top: np.ndarray) -> dict[str, float]:
    """Return accuracy, balanced accuracy, and how often the label is in `top`, (n, k) classes, the likeliest first."""
    hit = top == labels[:, None]
    return {
        "accuracy": float(hit[:, 0].mean()),
        f"top{top.shape[1]}_accuracy": float(hit.any(1).mean()),
        "balanced_accuracy": balanced_accuracy(labels, top[:, 0]),
    }


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Return the expected calibration error of the first predictions (Guo et al., 2017), over bins of equal width."""
    bin_of = np.minimum((confidence.astype(np.float64) * bins).astype(int), bins - 1)
    gaps = np.bincount(bin_of, right - confidence.astype(np.float64), bins)
    return round(float(np.abs(gaps).sum()) / max(len(right), 1), 12)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the number that logits are divided by for the least mean cross-entropy, from 1/20 to 20.

    (Guo et al., On calibration of modern neural networks, 2017.) Found by golden section: the entropy is convex in the
    inverse. Memory: the logits once more. `logits`: (n, classes).
    """
    own = logits[np.arange(len(labels)), labels].astype(np.float64)
    most = logits.max(1, keepdims=True)

    def entropy(power: float) -> float:
        inverse = np.float32(np.exp(power))
        whole = np.log(np.exp((logits - most) * inverse).sum(1, dtype=np.float64)) + most[:, 0] * inverse
        return float(np.mean(whole - own * inverse))

    low, high, ratio = -np.log(20.0), np.log(20.0), (np.sqrt(5) - 1) / 2
    while high - low > 1e-3:
        one, other = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, other) if entropy(one) <= entropy(other) else (one, high)
    return float(np.exp(-(low + high) / 2))


def rank_mistakes(labels: np.ndarray, predictions: np.ndarray, names: Sequence[str], count: int) -> list[dict]:
    """Return the classes of the lowest recall and what they are taken for.

    The least recall comes first, of equals the most titles. Each is `category`, `titles`, `right`, and `taken_for`: up
    to three [category, titles], the most frequent first. `names`: of the classes.
    """
    titles, right = count_right(labels, predictions, len(names))
    there = np.flatnonzero(titles)
    order = there[np.lexsort((there, -titles[there], right[there] / titles[there]))][:count]
    rows = []
    for label in order.tolist():
        taken, times = np.unique(predictions[(labels == label) & (predictions != label)], return_counts=True)
        first = np.lexsort((taken, -times))[:3]
        taken_for = [[names[other], number] for other, number in zip(taken[first], times[first].tolist(), strict=True)]
        numbers = {"titles": int(titles[label]), "right": int(right[label])}
        rows.append({"category": names[label], **numbers, "taken_for": taken_for})
    return rows

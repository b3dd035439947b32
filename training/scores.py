"""Figures of a classifier, from labels and predictions, in plain NumPy."""

import numpy as np


def count_right(labels: np.ndarray, predictions: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each class the titles of it, and those of them that were predicted right, (classes,) int64."""
    return np.bincount(labels, minlength=classes), np.bincount(labels[labels == predictions], minlength=classes)


def balanced_accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean recall over the classes that some label has; predictions of other classes are just wrong.

    >>> balanced_accuracy(np.array([0, 0, 0, 4]), np.array([0, 0, 1, 4]))
    0.8333333333333333
    """
    titles, right = count_right(labels, predictions, int(labels.max(initial=-1)) + 1)
    there = titles > 0
    return float(np.mean(right[there] / titles[there])) if there.any() else float("nan")


def score(labels: np.ndarray, top: np.ndarray) -> dict[str, float]:
    """Return accuracy, balanced accuracy and how often the label is among the first predictions.

    Args:
      top: (n, k) predicted classes, the most likely first.
    """
    hit = top == labels[:, None]
    return {
        "accuracy": float(hit[:, 0].mean()),
        f"top{top.shape[1]}_accuracy": float(hit.any(1).mean()),
        "balanced_accuracy": balanced_accuracy(labels, top[:, 0]),
    }


def rank_mistakes(labels: np.ndarray, predictions: np.ndarray, classes: int, count: int) -> list[dict]:
    """Return the classes of the lowest recall and what they are taken for.

    The least recall comes first, of equals the most titles. Each is `label`, `titles`, `right`, and `taken_for`: up to
    three (class, titles), the most frequent first.
    """
    titles, right = count_right(labels, predictions, classes)
    there = np.flatnonzero(titles)
    order = there[np.lexsort((there, -titles[there], right[there] / titles[there]))][:count]
    found = []
    for label in order:
        others = predictions[(labels == label) & (predictions != label)]
        taken, times = np.unique(others, return_counts=True)
        first = np.lexsort((taken, -times))[:3]
        pairs = [(int(taken[place]), int(times[place])) for place in first]
        found.append(
            {"label": int(label), "titles": int(titles[label]), "right": int(right[label]), "taken_for": pairs}
        )
    return found

"""What fewer components cost a classifier: balanced accuracy of a linear softmax on titles' vectors, before and after.

    molino pca --input out/titles --column NAME --output out/pca --max-cosine-error 0.01
    python benchmarks/pca_titles.py --titles out/titles --pca out/pca --column NAME --keep 64 32

It trains on the split train with the vectors of the titles run, with those of the pca run, and with the first so many
numbers of those, and prints a table of the accuracies on the split test, with 95 % intervals. Needs 2 GB of memory for
670,000 titles.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, Python looks only in this file's folder

BATCH, EPOCHS, RATE = 4096, 6, 0.03
DECAY_1, DECAY_2, TINY = 0.9, 0.999, 1e-8  # of Adam


def load(folder: str, dataset: str, column: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors and labels of a split, in order; rows without a label are left out."""
    from molino.training.reader import Reader
    from molino.training.runs import open_run

    run = open_run(folder, {dataset: None}, verify=False)
    reader = Reader(run.datasets[dataset], [column, "label"], split=split, shuffle=False, batch=65_536)
    parts = list(reader.epoch(0))
    vectors, labels = (np.concatenate([part[name] for part in parts]) for name in (column, "label"))
    return vectors[labels >= 0], labels[labels >= 0]


def train(vectors: np.ndarray, labels: np.ndarray, *, epochs: int = EPOCHS, seed: int = 0) -> tuple[np.ndarray, float]:
    """Return the weights of a linear softmax, (numbers + 1, classes), and what vectors are divided by.

    By Adam, with a rate that falls to 0. The logarithm of each class's share is added to its logit while training, so
    that the likeliest class is meant for balanced accuracy (Menon et al., 2021).
    """
    classes = int(labels.max()) + 1
    counts = np.bincount(labels, minlength=classes)
    prior = np.log(np.maximum(counts, 1) / counts.sum()).astype(np.float32)
    scale = float(np.sqrt((vectors[:65_536] ** 2).mean()))
    weights = np.zeros((vectors.shape[1] + 1, classes), np.float32)
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    random = np.random.default_rng(seed)
    steps, step = epochs * (-(-len(labels) // BATCH)), 0
    for _ in range(epochs):
        order = random.permutation(len(labels))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            inputs = _inputs(vectors[rows], scale)
            chances = inputs @ weights + prior
            chances -= chances.max(axis=1, keepdims=True)
            np.exp(chances, out=chances)
            chances /= chances.sum(axis=1, keepdims=True)
            chances[np.arange(len(rows)), labels[rows]] -= 1
            gradient = inputs.T @ chances / np.float32(len(rows))
            step += 1
            first += (1 - DECAY_1) * (gradient - first)
            second += (1 - DECAY_2) * (gradient**2 - second)
            mended = first / (1 - DECAY_1**step), np.sqrt(second / (1 - DECAY_2**step)) + TINY
            weights -= np.float32(RATE * (1 - step / (steps + 1))) * mended[0] / mended[1]
    return weights, scale


def _inputs(vectors: np.ndarray, scale: float) -> np.ndarray:
    return np.column_stack([vectors / np.float32(scale), np.ones(len(vectors), np.float32)])


def measure(weights: np.ndarray, scale: float, vectors: np.ndarray, labels: np.ndarray) -> list[tuple[float, ...]]:
    """Return accuracy and balanced accuracy, each with its 95 % interval: (figure, low, high).

    Balanced accuracy is the mean over classes of the share that is recognised. The intervals are Wilson's, and that of
    a bootstrap over titles within their class.
    """
    from benchmarks.whales_heads import wilson
    from molino.training.certainty import interval_over_titles
    from molino.training.scores import balanced_accuracy

    starts = range(0, len(labels), BATCH)
    found = np.concatenate([(_inputs(vectors[at : at + BATCH], scale) @ weights).argmax(axis=1) for at in starts])
    right = int((found == labels).sum())
    balanced = balanced_accuracy(labels, found), *interval_over_titles(labels, found)
    return [(right / len(labels), *wilson(right, len(labels))), balanced]


def main(arguments: Sequence[str]) -> None:
    """Train on each kind of vectors and print the table."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--titles", required=True, metavar="DIR", help="run of the titles job")
    made.add_argument("--pca", required=True, metavar="DIR", help="run of the pca job on it")
    made.add_argument("--column", required=True, metavar="NAME", help="column of the vectors")
    made.add_argument("--keep", type=int, nargs="*", default=[], metavar="K", help="also the first K of the pca run's")
    made.add_argument("--epochs", type=int, default=EPOCHS, metavar="N", help="(default %(default)s)")
    given = made.parse_args(arguments)
    from benchmarks import harness

    rows = [["vectors", "numbers", "accuracy", "balanced accuracy", "seconds of training"]]
    for name, folder, dataset in (("before", given.titles, "titles"), ("rotated", given.pca, "vectors")):
        sets = {split: load(folder, dataset, given.column, split) for split in ("train", "test")}
        whole = sets["train"][0].shape[1]
        for keep in [whole, *(given.keep if dataset == "vectors" else [])]:
            started = time.perf_counter()
            cut = {split: np.ascontiguousarray(vectors[:, :keep]) for split, (vectors, _) in sets.items()}
            weights, scale = train(cut["train"], sets["train"][1], epochs=given.epochs)
            spent = time.perf_counter() - started
            figures = measure(weights, scale, cut["test"], sets["test"][1])
            told = [f"{figure:.4f} ({low:.4f} to {high:.4f})" for figure, low, high in figures]
            rows.append([name, str(keep), *told, f"{spent:.0f}"])
            print(*rows[-1], flush=True)
    print(*harness.markdown_table(rows, text={0}), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])

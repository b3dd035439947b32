"""Train a classifier on a run of the titles job, from the last checkpoint where there is one."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import pyarrow as pa

from molino.schemas.titles import TOKENS
from molino.training.answers import ask, measure
from molino.training.checkpoint import BEST, Checkpoints
from molino.training.classifier import ARCHITECTURES, ByVectors, Learner
from molino.training.progress import Progress
from molino.training.reader import Reading
from molino.training.recipe import PHRASES, Recipe
from molino.training.source import FLAG, TitlesRun, weigh
from molino.transforms.errors import DataError


def make_learner(
    source: TitlesRun,
    recipe: Recipe,
    embeddings: Sequence[str],
    language: str | None = None,
    tables: dict[str, np.ndarray] | None = None,
) -> Learner:
    """Return an untrained learner; with a language, of its titles alone; with tables, one that trains them too."""
    keras.utils.set_random_seed(recipe.seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    prior = source.prior() if recipe.balance == "loss" else 0 * source.prior()
    if recipe.architecture == PHRASES:
        return _by_phrases(source, recipe, prior, language)
    flag = [FLAG] if language is not None or ARCHITECTURES[recipe.architecture].flag else []
    columns = [*(f"{name}_tokens" if tables else name for name in embeddings), *flag, "label"]
    reader = source.read("train", columns, batch=recipe.batch, seed=recipe.seed)
    if not reader.rows:
        raise DataError(f"{source.run.folder} holds no titles to train on")
    dims = {name: TOKENS if tables else source.embeddings[name] for name in embeddings}
    return ByVectors(reader, recipe, dims, prior, language=language, tables=tables, weighed=source.unlabeled)


def _by_phrases(source: TitlesRun, recipe: Recipe, prior: np.ndarray, language: str | None) -> Learner:
    if keras.backend.backend() != "tensorflow":
        raise DataError(f"KERAS_BACKEND is {keras.backend.backend()}; --architecture {PHRASES} needs tensorflow")
    from molino.training.phrases import ROWS, ByPhrases, read_features

    columns = ["title", "label", *([FLAG] if language else [])]

    def batches() -> Iterator[tuple[Any, Any]]:
        batch: Any
        for batch in source.read("train", columns, shuffle=False, batch=ROWS, reading=Reading(ahead=1)).epoch():
            kept = weigh(batch, language) > 0
            yield batch["title"].filter(pa.array(kept)), batch["label"][kept]

    train = read_features(batches())
    if not len(train):
        raise DataError(f"{source.run.folder} holds no titles to train on")
    learner = ByPhrases(train, recipe, prior)
    if not len(learner.train.rows.flatten()):
        raise DataError(f"no word or phrase stands {recipe.min_count:,} times in training; lower --min-count")
    return learner


def fit(
    source: TitlesRun,
    learner: Learner,
    recipe: Recipe,
    kept: Checkpoints,
    name: str,
    progress: Progress,
    language: str | None = None,
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Train to the end, from the last checkpoint where there is one; return the figures and the times of each epoch.

    The learner has the variables of the epoch of the best balanced accuracy on the validation split then: on all of
    it, or on the titles of the learner's language.
    """
    known = kept.restore(name, learner.variables())
    history, times = known.get("history", []), known.get("times", [])
    if history:
        learner.settle()
        progress.resumed.append(f"{name} after epoch {len(history)}")

    def stale() -> int:
        figures = [epoch["validation_balanced_accuracy"] for epoch in history]
        return len(figures) - 1 - figures.index(max(figures)) if figures else 0

    while len(history) < recipe.epochs and stale() < recipe.patience:
        epoch, began = len(history), time.monotonic()

        def report(done: int, steps: int, loss: float, epoch: int = epoch) -> None:
            text = f"{name}, epoch {epoch + 1} of {recipe.epochs}, loss {loss:.4f}"
            progress.show(epoch * steps + done, recipe.epochs * steps, text)

        figures = learner.train_epoch(epoch, report)
        seconds = time.monotonic() - began
        waiting = figures.pop("waiting", None)
        found = measure(ask(source, learner, "validation", recipe, language))
        history.append(figures | {f"validation_{key}": value for key, value in found.items()})
        times.append({"seconds": seconds, "rows_a_second": learner.rows_an_epoch / seconds, "waiting": waiting})
        best = None if stale() else learner.best_variables()
        kept.save(name, learner.variables(), best, {"history": history, "times": times})
    kept.restore(name, learner.best_variables(), BEST)
    learner.settle()
    return history, times

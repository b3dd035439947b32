"""Train a classifier on a run of the titles job, from the last checkpoint where there is one."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pyarrow as pa

from molino import machine
from molino.schemas.titles import TOKENS
from molino.training import serving
from molino.training.answers import Answers, ask, choose, find_temperature, measure, name_mistakes, summarize_split
from molino.training.certainty import Trial
from molino.training.checkpoint import BEST, Checkpoints
from molino.training.classifier import ARCHITECTURES, ByVectors, Learner
from molino.training.progress import Progress
from molino.training.reader import Reading
from molino.training.recipe import PHRASES, Recipe
from molino.training.source import FLAG, TitlesRun, Training, find_languages, weigh
from molino.transforms.errors import DataError

REPEAT = 1000  # between the seeds of repeats


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
        raise DataError(f"no word or phrase is seen {recipe.min_count:,} times in training; lower --min-count")
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


def train(
    training: Training, encoders: Mapping[str, Any], folder: str, progress: Progress
) -> tuple[dict[str | None, Learner], Mapping[str, Answers], dict[str, Any]]:
    """Return the learners that are written, what they say of validation and test, and all figures.

    `folder` is that of the run's work units, for checkpoints.
    """
    source, recipe, embeddings = training.source, training.recipe, training.embeddings
    tables = serving.read_tables(source, encoders, embeddings) if training.fine_tune else None
    languages = find_languages(source) if training.per_language else []
    kept = Checkpoints(folder)
    learners: dict[str | None, Learner] = {}
    histories: dict[str, list] = {}
    times: dict[str, list] = {}
    for number, language in enumerate((None, *languages)):
        name = language or "all"
        progress.part(number, 1 + len(languages))
        learners[language] = make_learner(source, recipe, embeddings, language, tables)
        histories[name], times[name] = fit(source, learners[language], recipe, kept, name, progress, language)
    progress.part(0, 1)
    progress.show(1, 1, "measuring")
    temperatures = {
        language: find_temperature(source, learner, recipe, language)
        for language, learner in (learners.items() if training.calibrate else ())
    }
    chosen, answers, choice = choose(source, learners, recipe, temperatures)
    found: dict[str, Any] = {
        "run": source.run.sha256,
        "backend": training.backend,
        "options": training.options,
        "categories": len(source.categories),
        "parameters": int(learners[None].plain_model().count_params()),
        "temperatures": {name or "all": value for name, value in temperatures.items()},
        "epochs": histories,
        "choice": choice,
        **{split: summarize_split(answers[split]) for split in answers},
        "worst": name_mistakes(source, answers["test"]),
        "times": times,
    }
    return {name: learner for name, learner in learners.items() if name is None or chosen}, answers, found


def run_trials(
    source: TitlesRun, embeddings: Sequence[str], recipe: Recipe, repeats: int, *, folder: str, progress: Progress
) -> tuple[list[Trial], dict[str, dict[str, Any]]]:
    """Train on every embedding several times, with the same split and budget; return the trials, and facts of each.

    Repeats differ in their seed: first weights, dropout, and the order of the titles. All are asked the same test
    titles. A comparison that was killed goes on with the trials that `folder`, that of the work units, lacks.
    """
    trials: list[Trial] = []
    facts: dict[str, dict[str, Any]] = {}
    kept = Checkpoints(folder)
    for repeat in range(repeats):
        chosen = dataclasses.replace(recipe, seed=recipe.seed + REPEAT * repeat)
        for place, embedding in enumerate(embeddings):
            progress.part(repeat * len(embeddings) + place, repeats * len(embeddings))
            name = f"{embedding} {repeat + 1}"
            learner = make_learner(source, chosen, [] if recipe.architecture == PHRASES else [embedding])
            history, times = fit(source, learner, chosen, kept, name, progress)
            truth, top = ask(source, learner, "test", chosen).scored()
            found = np.ascontiguousarray(top[:, 0])
            trials.append(Trial(name=name, model=embedding, sample="test", labels=truth, predictions=found))
            facts[name] = {"epochs": len(history), "seconds": sum(each["seconds"] for each in times)}
            facts[name] |= {"peak_bytes": machine.peak_bytes()}
            del learner
            keras.backend.clear_session()
    return trials, facts

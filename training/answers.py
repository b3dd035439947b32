"""What a classifier says of the titles of a split, and how right it is."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from molino.schemas.training import PREDICTIONS, TOP
from molino.training.certainty import interval_over_titles
from molino.training.classifier import Learner
from molino.training.recipe import Recipe
from molino.training.scores import balanced_accuracy, calibration_error, fit_temperature, rank_mistakes, score
from molino.training.source import FLAG, TitlesRun
from molino.transforms.errors import DataError

ASKED = 4096  # titles at once where nothing is trained
WORST = 20  # categories that are shown
CELLS = 1 << 25  # logits that the temperature is chosen by


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers:
    """What a classifier says of the titles of a split, in the order of the run."""

    ids: np.ndarray  # int64
    labels: np.ndarray  # as the run has them, int32
    truth: np.ndarray  # the labels; a category without one has a number of its own after them, and no category -1
    top: np.ndarray  # (n, up to 5) int32 labels, the highest score first
    scores: np.ndarray  # of these, float32; under balance not their probabilities
    probabilities: np.ndarray | None  # of these, float32; None where they are not known
    languages: np.ndarray  # of each title, or None
    loss: float  # mean cross-entropy of the titles that have a label

    def __len__(self) -> int:
        return len(self.ids)

    def scored(self) -> tuple[np.ndarray, np.ndarray]:
        """Return truth and top of the titles that have a category."""
        known = self.truth >= 0
        return self.truth[known], self.top[known]


def read_logits(
    source: TitlesRun, learner: Learner, split: str, recipe: Recipe, language: str | None = None
) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
    """Yield batches, of one language or all, the logits of their scores and of probabilities: (n, classes) float32."""
    prior = source.prior()
    shift = prior if recipe.balance == "logits" else 0 * prior
    criterion = prior if recipe.balance != "none" else 0 * prior
    columns = ["id", "label", "category", FLAG, *learner.columns]
    batch: Any
    for batch in source.read(split, columns, shuffle=False, batch=ASKED).epoch():
        if language is not None:
            own = np.asarray(batch[FLAG].to_numpy(zero_copy_only=False) == language)
            batch = {
                name: each.filter(pa.array(own)) if isinstance(each, pa.Array) else each[own]
                for name, each in batch.items()
            }
            if not own.any():
                continue
        logits = learner.ask(batch) - shift
        logits -= logits.max(1, keepdims=True)
        yield batch, logits, logits + criterion


def find_temperature(source: TitlesRun, learner: Learner, recipe: Recipe, language: str | None) -> float:
    """Return the temperature of the probabilities, chosen on the first titles of the validation split."""
    held: list[tuple[np.ndarray, np.ndarray]] = []
    for batch, _, logits in read_logits(source, learner, "validation", recipe, language):
        known = batch["label"] >= 0
        held.append((logits[known], batch["label"][known]))
        if sum(len(labels) for _, labels in held) * logits.shape[1] >= CELLS:
            break
    if not sum(len(labels) for _, labels in held):
        return 1.0
    return fit_temperature(*(np.concatenate(parts) for parts in zip(*held, strict=True)))


def ask(
    source: TitlesRun,
    learner: Learner,
    split: str,
    recipe: Recipe,
    language: str | None = None,
    temperature: float | None = None,
) -> Answers:
    """Return what a classifier says of a split, or its titles in a language; `temperature`: of calibrated chances."""
    parts: list[tuple[np.ndarray, ...]] = []
    others: dict[str, int] = {}
    losses = labeled = 0.0
    for batch, logits, adjusted in read_logits(source, learner, split, recipe, language):
        labels = batch["label"]
        top, scores = take_top(logits)
        probabilities = take_at(adjusted / np.float32(temperature or 1), top)
        known = np.flatnonzero(labels >= 0)
        chosen = adjusted[known, labels[known]]
        losses += float(np.sum(np.log(np.exp(adjusted[known]).sum(1, dtype=np.float64)) - chosen))
        labeled += len(known)
        truth = labels.copy()
        for row in np.flatnonzero(labels < 0):
            category = batch["category"][row].as_py()
            if category is not None:
                truth[row] = len(source.categories) + others.setdefault(category, len(others))
        languages = batch[FLAG].to_numpy(zero_copy_only=False)
        parts.append((batch["id"], labels, truth, top, scores, probabilities, languages))
    if not parts:
        what = f"{language} titles" if language else "titles"
        raise DataError(f"{source.run.folder} holds no {what} in the split {split}; make the run with some")
    names = ("ids", "labels", "truth", "top", "scores", "probabilities", "languages")
    joined: dict[str, Any] = dict(zip(names, map(np.concatenate, zip(*parts, strict=True)), strict=True))
    if temperature is None and recipe.balance != "none":
        joined["probabilities"] = None
    return Answers(**joined, loss=losses / max(labeled, 1))


def take_top(logits: np.ndarray, count: int = TOP) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of the largest logits and the softmax there, in order; of equals the smaller label."""
    count = min(count, logits.shape[1])
    near = np.sort(np.argpartition(-logits, count - 1, 1)[:, :count], 1)
    order = np.argsort(-np.take_along_axis(logits, near, 1), 1, kind="stable")
    top = np.take_along_axis(near, order, 1).astype(np.int32)
    return top, take_at(logits, top)


def take_at(logits: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Return the softmax of logits at some labels of each row, float32."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    chances = np.take_along_axis(powers, top, 1) / powers.sum(1, keepdims=True, dtype=np.float64)
    return chances.astype(np.float32)


def measure(answers: Answers) -> dict[str, float]:
    """Return the figures of a classifier on a split."""
    truth, top = answers.scored()
    return {"loss": answers.loss, **score(truth, top)}


def choose(
    source: TitlesRun, learners: Mapping[str | None, Learner], recipe: Recipe, temperatures: Mapping[str | None, float]
) -> tuple[bool, dict[str, Answers], dict[str, Any]]:
    """Return whether those of each language are better on validation, the better one's answers, and all figures."""
    answers = {
        language: {
            split: ask(source, learner, split, recipe, temperature=temperatures.get(language))
            for split in ("validation", "test")
        }
        for language, learner in learners.items()
    }
    one = answers[None]
    if len(learners) == 1:
        return False, one, {}
    merged = {split: merge({language: each[split] for language, each in answers.items()}) for split in one}
    figures = {
        split: {"one": measure(one[split])["balanced_accuracy"], "each": measure(merged[split])["balanced_accuracy"]}
        for split in one
    }
    better = figures["validation"]["each"] > figures["validation"]["one"]
    by_language = {
        str(language): {"one": _of_language(one["test"], language), "each": _of_language(merged["test"], language)}
        for language in learners
        if language
    }
    choice = {"better": "each" if better else "one", **figures, "test_by_language": by_language}
    return better, merged if better else one, choice


def _of_language(answers: Answers, language: str | None) -> float:
    own = (answers.languages == language) & (answers.truth >= 0)
    return balanced_accuracy(answers.truth[own], answers.top[own, 0])


def merge(answers: Mapping[str | None, Answers]) -> Answers:
    """Return the answers of each language's own classifier; of titles of no such language, those of the one of all."""
    made: dict[str, Any] = {}
    for name in ("top", "scores", "probabilities"):
        made[name] = getattr(answers[None], name)
        for language, own in answers.items():
            if language is not None and made[name] is not None:
                made[name] = np.where((own.languages == language)[:, None], getattr(own, name), made[name])
    return dataclasses.replace(answers[None], **made, loss=float("nan"))


def make_batch(split: str, answers: Answers) -> pa.RecordBatch:
    """Return what a classifier says of a split as schemas.training.PREDICTIONS."""
    ends = np.arange(0, answers.top.size + 1, answers.top.shape[1], dtype=np.int32)
    types = [PREDICTIONS.field(name).type for name in ("top_labels", "top_probabilities", "top_scores")]
    lists = [
        pa.nulls(len(answers), type_) if values is None else pa.ListArray.from_arrays(ends, values.ravel(), type=type_)
        for type_, values in zip(types, (answers.top, answers.probabilities, answers.scores), strict=True)
    ]
    plain = [answers.ids, [split] * len(answers), answers.labels, answers.top[:, 0].copy()]
    return pa.RecordBatch.from_arrays([*map(pa.array, plain), *lists], schema=PREDICTIONS)


def summarize_split(answers: Answers) -> dict[str, Any]:
    """Return the figures of a split with the interval of the balanced accuracy over titles."""
    truth, top = answers.scored()
    low, high = interval_over_titles(truth, top[:, 0])
    figures = {name: value for name, value in measure(answers).items() if value == value}
    known, right = answers.truth >= 0, truth == top[:, 0]
    summary = {"titles": len(truth), **figures, "low": low, "high": high}
    for name, each in (("scores", answers.scores), ("probabilities", answers.probabilities)):
        if each is not None:
            summary[f"calibration_error_of_{name}"] = calibration_error(each[known, 0], right)
    return summary


def name_mistakes(source: TitlesRun, answers: Answers) -> list[dict[str, Any]]:
    """Return the categories that are known worst, with what they are taken for, by name."""
    truth, top = answers.scored()
    known = truth < len(source.categories)
    return rank_mistakes(truth[known], top[known, 0], source.categories, WORST)

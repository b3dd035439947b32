"""A run of the titles job, as a classifier sees it: splits, categories, vectors; and what its models may have seen."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.training.reader import Batch, Reader
from molino.training.recipe import Recipe
from molino.training.runs import Dataset, FinishedRun, open_run
from molino.transforms.errors import DataError
from molino.transforms.warnings import DataWarning

TITLES, LABELS = ("titles.titles", 1, 2), ("titles.labels", 1)
FLAG = "language"
FLAGS = {"spanish": 1.0, "es": 1.0, "portuguese": 0.0, "pt": 0.0}  # of the language; 0.5 where it is another or unknown


@dataclasses.dataclass(frozen=True, kw_only=True)
class TitlesRun:
    """A run, as a classifier sees it."""

    run: FinishedRun
    titles: Dataset
    categories: list[str]  # in the order of their labels
    shares: np.ndarray  # of the training titles that each has, (classes,) float64
    embeddings: dict[str, int]  # numbers of a vector, by the name of its column
    training_titles: int  # how many there are to train on
    unlabeled: bool  # whether some titles of the training split have no label

    def prior(self) -> np.ndarray:
        """Return the logarithm of the shares, float32."""
        return np.log(np.maximum(self.shares, 1e-9)).astype(np.float32)

    def read(self, split: str, columns: Sequence[str], **options: Any) -> Reader:
        """Return a reader of a split."""
        return Reader(self.titles, list(columns), split=split, **options)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """What is trained, and on what."""

    source: TitlesRun
    recipe: Recipe
    embeddings: Sequence[str]  # columns of vectors; none for phrases
    models: Mapping[str, str]  # local folders of the embeddings' models, by name, where they are given
    backend: str
    per_language: bool
    calibrate: bool
    fine_tune: bool

    @property
    def options(self) -> dict[str, Any]:
        """All that changes the classifier, but the run and the models, as JSON values."""
        chosen = {name: getattr(self, name) for name in ("per_language", "calibrate", "fine_tune")}
        return {**dataclasses.asdict(self.recipe), "embedding": list(self.embeddings), **chosen}


def open_source(folder: str) -> TitlesRun:
    """Open a run of the titles job; raise RunError where it is none, DataError where it has nothing to train on."""
    run = open_run(folder, {"titles": TITLES, "labels": LABELS})
    titles, rows = run.datasets["titles"], run.read("labels", ["label", "category", "train"]).to_pylist()
    known = sorted((row for row in rows if row["label"] >= 0), key=lambda row: row["label"])
    if len(known) < 2:
        few = "one category" if known else "no category"
        raise DataError(f"{folder} has {few} with titles to train on; a classifier needs two")
    counts = np.array([row["train"] for row in known], np.float64)
    vectors = {
        each.name: each.type.list_size
        for each in titles.schema
        if pa.types.is_fixed_size_list(each.type) and pa.types.is_floating(each.type.value_type)
    }
    return TitlesRun(
        run=run,
        titles=titles,
        categories=[row["category"] for row in known],
        shares=counts / counts.sum(),
        embeddings=vectors,
        training_titles=int(counts.sum()),
        unlabeled=any(row["label"] < 0 and row["train"] for row in rows),
    )


def choose_embeddings(source: TitlesRun, names: Sequence[str] | None) -> list[str]:
    """Return the columns of vectors that are trained on: those asked for, or all; raise DataError if there is none."""
    there = ", ".join(source.embeddings) or "none"
    for name in names or []:
        if name not in source.embeddings:
            raise DataError(f"{source.run.folder} has no embedding {name}; it has: {there}")
    chosen = list(dict.fromkeys(names or source.embeddings))
    if not chosen:
        raise DataError(
            f"{source.run.folder} has no vectors; make the run with --model, or train --architecture phrases"
        )
    return chosen


def find_leaks(source: TitlesRun, embeddings: Sequence[str]) -> list[DataWarning]:
    """Return warnings of embeddings whose model may have seen titles of the test split, by what it was grown on."""
    # a split follows from words, seed and shares: where these are the same, what was split off before is so here too
    options, told = source.run.manifest.get("options", {}), []
    for model in options.get("models", ()):
        grown = json.loads(model.get("grown_on") or "null")
        if grown is None or model["name"] not in embeddings:
            continue
        if "split" not in grown:
            what = "on a whole file"
        elif grown["split"] == "test":
            what = "on the split test of a run"
        elif grown["seed"] != options.get("seed") or (grown["test"] or 0) < options.get("test", 0):
            what = "on a run that was split in another way"
        else:
            continue
        text = f"the model of {model['name']} was grown {what} and may have seen titles of the test split, whose "
        text += "figures are too good then"
        how = f"grow it by molino model train --input {source.run.folder}, and make the run again with that model"
        told.append(DataWarning("model.leak", text, remedy=how))
    return told


def find_languages(source: TitlesRun) -> list[str]:
    """Return the languages that training has titles of, sorted. Raises DataError where there are fewer than two."""
    found: set[str] = set()
    batch: Any
    for batch in source.read("train", [FLAG], shuffle=False, batch=1 << 16).epoch():
        found |= set(pc.unique(batch[FLAG].drop_null()).to_pylist())
    if len(found) < 2:
        raise DataError(f"--per-language: {source.run.folder} has titles of {len(found)} languages")
    return sorted(found)


def read_flags(languages: pa.Array) -> np.ndarray:
    """Return the flag of each language, (n, 1) float32.

    >>> read_flags(pa.array(["spanish", "portuguese", None])).ravel().tolist()
    [1.0, 0.0, 0.5]
    """
    coded = languages.dictionary_encode(null_encoding="encode")
    names = coded.dictionary.to_pylist()
    flags = np.array([FLAGS.get((name or "").lower(), 0.5) for name in names], np.float32)
    return flags[coded.indices.to_numpy()][:, None]


def weigh(batch: Batch, language: str | None) -> np.ndarray:
    """Return 1 for the rows that are trained on, float32, else 0: those without a label, or of other languages."""
    kept = batch["label"] >= 0
    if language is not None:
        kept &= pc.equal(batch[FLAG], language).fill_null(False).to_numpy(zero_copy_only=False)
    return kept.astype(np.float32)

"""Grow word vectors on titles, for an NNLM model."""

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from molino.training import tokens
from molino.training.progress import Progress
from molino.training.runs import is_run, one_line_errors, open_run
from molino.training.tokens import Corpus
from molino.transforms.errors import DataError

MAX_BATCH, STEPS = 2048, 256  # titles in a step; steps in an epoch of few titles


@dataclasses.dataclass(frozen=True, kw_only=True)
class GrowthOptions:
    """How a model is grown: what docs/training.md has under these names."""

    split: str
    measure: str
    unsupervised: bool
    validation: float
    dim: int
    normalization: bool
    vocabulary: int
    min_count: int
    buckets: int | None
    epochs: int
    batch: int | None
    rate: float
    seed: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grown:
    """What training gave."""

    words: list[str]  # of the vocabulary, in the order of the rows
    table: np.ndarray  # (words + buckets, dim) float32
    known: float  # share of the tokens that are in the vocabulary
    left_out: int  # titles without a known category
    metrics: dict[str, Any]  # what stands in metrics.json; the same training gives the same


def describe_input(path: str, split: str) -> dict[str, Any]:
    """Return what a model is grown on, for who must know which titles it has seen; no name or path is in it.

    Of a run its manifest's `sha256`, the `split`, and how the run split: `seed`, and `test`, the share of that split.
    Raises DataError where it cannot be read.
    """
    if is_run(path):
        run = open_run(path, {})
        how = {name: run.manifest["options"].get(name) for name in ("seed", "test")}
        return {"sha256": run.sha256, "split": split, **how}
    with one_line_errors(path), open(path, "rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def keep_known(corpus: Corpus) -> Corpus:
    """Return the titles whose category some title for training has."""
    seen = np.zeros(len(corpus.categories) + 1, bool)  # the last is that of label -1
    seen[corpus.labels[~corpus.validation]] = True
    seen[-1] = False
    kept = corpus.choose(seen[corpus.labels])
    labels = (np.cumsum(seen, dtype=np.int32) - 1)[kept.labels]
    return dataclasses.replace(kept, labels=labels, categories=corpus.categories.filter(pa.array(seen[:-1])))


def grow(batches: Iterable[tokens.TitleBatch], options: GrowthOptions, progress: Progress) -> Grown:
    """Choose the vocabulary, train the table, and return both: the same for a seed. DataError: nothing to train on."""
    import keras
    import tensorflow as tf

    from molino.training import words

    read = corpus = tokens.tokenize(batches, normalization=options.normalization)
    supervised = not options.unsupervised and len(corpus.categories) > 1
    if supervised:
        corpus = keep_known(read)
    if corpus.validation.all():
        raise DataError("the input holds no titles to train on")
    keras.utils.set_random_seed(options.seed)
    tf.config.experimental.enable_op_determinism()
    counts = tokens.count_tokens(corpus)
    places = tokens.choose_vocabulary(corpus, counts, size=options.vocabulary, least=options.min_count)
    if not len(places):
        raise DataError(f"no word is seen {options.min_count} times; lower --min-count, or give more titles")
    vocabulary = corpus.words.take(places)
    buckets = options.buckets or max(1, -(-len(places) // 40))
    rows = tokens.number_words(corpus, places, buckets=buckets)
    sides = (corpus.choose(side) for side in (~corpus.validation, corpus.validation))
    texts, measured = (tokens.number_titles(side, rows) for side in sides)
    options = dataclasses.replace(options, batch=options.batch or min(MAX_BATCH, max(1, len(texts) // STEPS)))
    table = words.Words(len(places) + buckets, tokens.find_pieces(vocabulary), options)
    model: words.ByCategory | words.ByNeighbours
    if supervised:
        model = words.ByCategory(table, options, texts, len(corpus.categories))
    else:
        model = words.ByNeighbours(table, options, texts)
    metrics = {
        "titles": len(texts),
        "validation_titles": len(measured),
        "categories": len(corpus.categories) if supervised else 0,
        "vocabulary": len(places),
        "buckets": buckets,
        "options": dataclasses.asdict(options),
        "epochs": words.train_vectors(model, measured, progress.show),
    }
    return Grown(
        words=vocabulary.to_pylist(),
        table=words.fill_unseen(table.table(), np.bincount(texts.rows.flatten(), minlength=table.rows), len(places)),
        known=float(counts[places].sum() / counts.sum()),
        left_out=len(read) - len(corpus),
        metrics=metrics,
    )

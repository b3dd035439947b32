"""Grow word vectors on titles, and write them as an NNLM model: the command `molino model train`."""

import argparse
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from molino.training import command
from molino.training.command import (
    Parser,
    Progress,
    TrainingError,
    check_apart,
    check_output,
    drafted,
    load_tensorflow,
    place,
    rate,
    run_command,
    share,
    whole,
)

if TYPE_CHECKING:
    import numpy as np

    from molino.training.tokens import Corpus
    from molino.training.words import ByCategory, ByNeighbours

METRICS = "metrics.json"
UNTOLD = ("input", "output", "overwrite", "quiet")  # options that do not change the model; the input has no name in it
MAX_BATCH, STEPS = 2048, 256  # titles in a step; steps in an epoch of few titles
DESCRIPTION = """
Grow word vectors on titles and write them as an NNLM model: a SavedModel, strings in, one vector for each out, which
hub.load, keras.layers.TFSMLayer and `molino titles` take.

Where titles have a category, the vectors are trained to tell it; else, to tell the words of a title from the others
in it. A run of the titles job is trained on by its split `train` alone, and by `validation` it is only measured. Of a
file, a share is kept for that.
"""
EPILOG = """
examples:
  molino model train --input out/titles --output model
  molino model train --input titles.csv --output model --dim 50 --normalization --vocabulary 200000
"""


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(prog="molino model train", description=DESCRIPTION, epilog=EPILOG, kind="model")
    where = made.add_argument_group("where")
    where.add_argument(
        "--input", type=place, required=True, metavar="PATH", help="a finished run of the titles job, CSV, Parquet"
    )
    where.add_argument(
        "--output", type=place, required=True, metavar="DIR", help="folder of the model; made when it is not there"
    )
    where.add_argument("--overwrite", action="store_true", help="replace a model that is there")
    titles = made.add_argument_group("titles")
    titles.add_argument("--split", default="train", metavar="NAME", help="of a run, to train on (default train)")
    titles.add_argument("--measure", default="validation", metavar="NAME", help="of a run, to measure by (validation)")
    titles.add_argument("--title-column", default="title", metavar="NAME", help="of a file (default title)")
    titles.add_argument("--category-column", default="category", metavar="NAME", help="of a file (default category)")
    titles.add_argument("--unsupervised", action="store_true", help="train as if no title had a category")
    titles.add_argument(
        "--validation", type=share, default=0.05, metavar="R", help="share of a file's titles to measure by (.05)"
    )
    model = made.add_argument_group("the model")
    model.add_argument(
        "--dim", type=whole(1, 1 << 16), default=128, metavar="N", help="numbers of a vector (default 128)"
    )
    model.add_argument("--normalization", action="store_true", help="the model removes punctuation; case always stays")
    model.add_argument("--vocabulary", type=whole(1), default=1_000_000, metavar="N", help="words at most (1000000)")
    model.add_argument("--min-count", type=whole(1), default=2, metavar="N", help="times a word is seen at least (2)")
    model.add_argument(
        "--buckets", type=whole(1, 1 << 28), metavar="N", help="rows of unknown words (a 40th of the vocabulary)"
    )
    how = made.add_argument_group("training")
    how.add_argument(
        "--epochs", type=whole(1), default=4, metavar="N", help="times that each title is seen (default 4)"
    )
    how.add_argument("--batch", type=whole(1), metavar="N", help=f"titles in a step ({MAX_BATCH}; fewer of few titles)")
    how.add_argument("--rate", type=rate, default=0.005, metavar="R", help="of learning, at the start (default 0.005)")
    how.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of all random numbers (default 0)")
    how.add_argument("--quiet", action="store_true", help="no progress; the summary and errors stay")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = parser().parse_strictly(arguments)

    def work() -> list[tuple[str, str]]:
        output = check_output(given.output, overwrite=given.overwrite, mark="saved_model.pb", kind="model")
        check_apart(given.output, given.input)
        if given.split == given.measure:
            raise TrainingError(f"--split and --measure are both {given.split}: a model is measured by other titles")
        return grow(given, output)

    return run_command(work, given.output, explain)


def explain(error: Exception) -> str | None:
    """Return what a user reads of an error, or None where it is the program's own."""
    from molino.training.tokens import TitlesError

    if isinstance(error, TitlesError):
        return str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return "there is not enough memory; a smaller --vocabulary or --dim takes less"
    return command.explain(error)


def read_corpus(given: argparse.Namespace) -> "Corpus":
    """Return the tokenised titles of the input."""
    from molino.training import tokens
    from molino.training.runs import is_run

    if is_run(given.input):
        batches = tokens.read_run(given.input, given.split, given.measure)
    else:
        read = tokens.read_file(given.input, title=given.title_column, category=given.category_column)
        batches = (part for batch in read for part in tokens.split_off(batch, share=given.validation, seed=given.seed))
    return tokens.tokenize(batches, normalization=given.normalization)


# --- growing


def grow(given: argparse.Namespace, folder: str) -> list[tuple[str, str]]:
    """Train on the input, write the model, and return the summary."""
    with Progress(quiet=given.quiet) as progress:
        progress.show(0, 1, "reading")
        load_tensorflow()
        corpus = read_corpus(given)
        supervised, missing = not given.unsupervised and len(corpus.categories) > 1, 0
        if supervised:
            known = keep_known(corpus)
            corpus, missing = known, len(corpus) - len(known)
        if corpus.validation.all():
            raise TrainingError(f"{given.input} holds no titles to train on")
        grown = train(corpus, given, progress, supervised=supervised)
        progress.show(1, 1, "writing")
        write_model(folder, grown, given)
    metrics = grown.metrics
    alone = " (there is one category alone)" if len(corpus.categories) == 1 else ""
    told = f"{metrics['titles']:,} to train on, {metrics['validation_titles']:,} to measure by"
    last = metrics["epochs"][-1]
    return [
        ("titles", told + (f"; {missing:,} without a known category left out" if missing else "")),
        ("trained by", f"{metrics['categories']:,} categories" if supervised else f"neighbouring words{alone}"),
        (
            "vocabulary",
            f"{metrics['vocabulary']:,} words, {grown.known:.1%} of all tokens; {metrics['buckets']:,} buckets",
        ),
        ("measured", ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in last.items())),
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grown:
    """What training gave.

    Attributes:
      words: of the vocabulary, in the order of the rows.
      table: (words + buckets, dim) float32.
      known: share of the tokens that are in the vocabulary.
      metrics: what stands in metrics.json; the same training gives the same.
      model: what was trained, for those who ask more of it.
    """

    words: list[str]
    table: "np.ndarray"
    known: float
    metrics: dict[str, Any]
    model: "ByCategory | ByNeighbours"


def describe_input(given: argparse.Namespace) -> dict[str, Any]:
    """Return what a model is grown on, for who must know which titles it has seen; no name or path is in it.

    Of a run its manifest's `sha256`, the `split`, and how the run split: `seed`, and `test`, the share of that split.
    """
    from molino.training.runs import is_run, open_run

    if is_run(given.input):
        run = open_run(given.input, {})
        how = {name: run.manifest.get("options", {}).get(name) for name in ("seed", "test")}
        return {"sha256": run.sha256, "split": given.split, **how}
    with open(given.input, "rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def keep_known(corpus: "Corpus") -> "Corpus":
    """Return the titles whose category some title for training has."""
    import numpy as np
    import pyarrow as pa

    seen = np.zeros(len(corpus.categories) + 1, bool)  # the last is that of label -1
    seen[corpus.labels[~corpus.validation]] = True
    seen[-1] = False
    keep = seen[corpus.labels]
    counts = np.diff(corpus.ends, prepend=0)
    return dataclasses.replace(
        corpus,
        tokens=corpus.tokens[np.repeat(keep, counts)],
        ends=np.cumsum(counts[keep]),
        labels=(np.cumsum(seen, dtype=np.int32) - 1)[corpus.labels[keep]],
        categories=corpus.categories.filter(pa.array(seen[:-1])),
        validation=corpus.validation[keep],
    )


def train(corpus: "Corpus", given: argparse.Namespace, progress: "Progress", *, supervised: bool) -> Grown:
    """Choose the vocabulary, train the table, and return both; the same seed gives the same on the same machine."""
    import keras
    import numpy as np
    import tensorflow as tf

    from molino.training import tokens, words

    keras.utils.set_random_seed(given.seed)
    tf.config.experimental.enable_op_determinism()
    counts = tokens.count_tokens(corpus)
    places = tokens.choose_vocabulary(corpus, counts, size=given.vocabulary, least=given.min_count)
    if not len(places):
        raise TrainingError(f"no word is seen {given.min_count} times; lower --min-count, or give more titles")
    vocabulary = corpus.words.take(places)
    buckets = given.buckets or max(1, -(-len(places) // 40))
    rows = tokens.number_words(corpus, places, buckets=buckets)
    texts, measured = (words.choose_texts(corpus, rows, side) for side in (~corpus.validation, corpus.validation))
    recipe = words.Recipe(
        dim=given.dim,
        epochs=given.epochs,
        batch=given.batch or min(MAX_BATCH, max(1, len(texts) // STEPS)),
        seed=given.seed,
        rate=given.rate,
    )
    table = words.Words(len(places) + buckets, tokens.find_pieces(vocabulary), recipe)
    model: words.ByCategory | words.ByNeighbours
    if supervised:
        model = words.ByCategory(table, recipe, texts, len(corpus.categories))
    else:
        model = words.ByNeighbours(table, recipe, texts)
    history = words.train(model, measured, progress.show)
    options = {name: value for name, value in vars(given).items() if name not in UNTOLD}
    metrics = {
        "grown_on": describe_input(given),
        "titles": len(texts),
        "validation_titles": len(measured),
        "categories": len(corpus.categories) if supervised else 0,
        "vocabulary": len(places),
        "buckets": buckets,
        "options": {**options, "batch": recipe.batch},
        "epochs": history,
    }
    return Grown(
        words=vocabulary.to_pylist(),
        table=words.fill_unseen(table.table(), np.bincount(texts.rows, minlength=table.rows), len(places)),
        known=float(counts[places].sum() / counts.sum()),
        metrics=metrics,
        model=model,
    )


def write_model(folder: str, grown: Grown, given: argparse.Namespace) -> None:
    """Write model and metrics beside the output, and put them in its place when they are complete."""
    import tensorflow as tf

    from molino.training.nnlm_export import export_nnlm

    buckets = grown.metrics["buckets"]
    try:
        with drafted(folder, overwrite=given.overwrite) as work:
            export_nnlm(work, grown.words, grown.table, buckets=buckets, normalization=given.normalization)
            with open(os.path.join(work, METRICS), "w", encoding="utf-8") as file:
                json.dump(grown.metrics, file, indent=1, ensure_ascii=False)
                file.write("\n")
    except tf.errors.OpError as error:
        raise TrainingError(
            f"cannot write {folder}: {' '.join(error.message.split())[:300]}; make room, or write elsewhere"
        ) from None


if __name__ == "__main__":
    sys.exit(main())

"""Grow word vectors on titles and write them as an NNLM model: a SavedModel from strings to vectors, for hub.load,
keras.layers.TFSMLayer and `molino titles`.

If titles have a category, the vectors are trained to predict it; otherwise to predict a word of a title from the
others. Of a run of the titles job the split `train` is trained on, and `validation` measured on. Of a file a share of
the titles is held out to measure on.

examples:
  molino sample titles --output demo/titles.csv --rows 20000
  molino model train --input demo/titles.csv --output demo/model
  molino model train --input out/titles --output model
  molino model train --input titles.csv --output model --dim 50 --normalization --vocabulary 200000
"""

import argparse
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from molino.jobs.job import Lines, Plan, Staged
from molino.jobs.options import Parser, read_options, text_format, whole
from molino.jobs.train import frame
from molino.jobs.train.frame import METRICS, above_zero, add_where, below_one, count, format_order, seed, size
from molino.transforms.errors import DataError

if TYPE_CHECKING:
    from molino.jobs.run.runs import Run
    from molino.training.grow import Grown, GrowthOptions
    from molino.training.progress import Progress
    from molino.training.tokens import TitleBatch
    from molino.transforms.files.list_files import Listing
    from molino.transforms.files.storage import FileInfo
    from molino.transforms.text.sources import Source, TextFormat

COLUMNS = {"title": "title", "category": "category"}
OPTIONAL = ("category",)
SPAN_BYTES = 16 << 20
RATE = 30_000  # titles a second on two cores
ReadTitles = Callable[[], Iterator["TitleBatch"]]


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(prog="molino model train", description=__doc__)
    add_where(made, "a finished run of the titles job, CSV, Parquet")
    titles = made.add_argument_group("titles")
    titles.option("--split", "NAME", str, "of a run, to train on", "train")
    titles.option("--measure", "NAME", str, "of a run, to measure on (validation)", "validation")
    titles.switch("--unsupervised", "train as if no title had a category")
    titles.option("--validation", "R", below_one, "share of a file's titles held out to measure (.05)", 0.05)
    made.add_text_options(COLUMNS, encoding="utf-8", quote='"', optional=OPTIONAL)
    model = made.add_argument_group("the model")
    model.option("--dim", "N", size, "numbers of a vector", 128)
    model.switch("--normalization", "the model removes punctuation; case always stays")
    model.option("--vocabulary", "N", count, "words at most (1000000)", 1_000_000)
    model.option("--min-count", "N", count, "times a word is seen at least (2)", 2)
    model.option("--buckets", "N", whole(1, 1 << 28), "rows of unknown words (a 40th of the vocabulary)")
    how = made.add_argument_group("training")
    how.option("--epochs", "N", count, "times that each title is seen", 4)
    how.option("--batch", "N", count, "titles in a step (2048; fewer of few titles)")
    how.option("--rate", "R", above_zero, "of learning, at the start", 0.005)
    how.option("--seed", "N", seed, "of all random numbers", 0)
    return made


def list_inputs(args: argparse.Namespace) -> Sequence["FileInfo | Listing"]:
    """Return the file of titles, or the manifest of the run of them."""
    from molino.jobs.run.inputs import find_inputs
    from molino.training.runs import is_run

    if is_run(args.input[0]):
        return frame.list_inputs(args)
    frame.check_local(args.output)
    return find_inputs(args.input)


def plan(args: argparse.Namespace, inputs: Sequence["FileInfo | Listing"]) -> Plan:
    """Look at the input and return what the training will do."""
    from molino.jobs.run.inputs import input_files
    from molino.jobs.run.output import read_manifest
    from molino.training.backend import choose_backend
    from molino.training.grow import GrowthOptions, describe_input
    from molino.training.runs import is_run
    from molino.training.tokens import read_splits
    from molino.transforms.text.sources import list_sources, settle_format

    if args.split == args.measure:
        raise DataError(f"--split and --measure are both {args.split}; measure on another split")
    choose_backend(only_tensorflow="a SavedModel")
    path = args.input[0]
    grown_on, of_run = describe_input(path, args.split), is_run(path)
    options = read_options(GrowthOptions, args)
    manifest = read_manifest(path) if of_run else None
    rows = manifest["counters"].get(f"split.{args.split}") if manifest else None
    text = dataclasses.replace(text_format(args, COLUMNS, OPTIONAL), blank=tuple(COLUMNS))
    sources = [] if of_run else list_sources(input_files(inputs), text, args.command)
    text = settle_format(sources, text)
    read_split = functools.partial(read_splits, path, args.split, args.measure)
    read = read_split if of_run else functools.partial(read_file, sources, text, options)
    return frame.plan_training(
        functools.partial(work, read=read, options=options, grown_on=grown_on),
        remedy="a smaller --vocabulary or --dim",
        job="model train",
        options={**dataclasses.asdict(options), "text": dataclasses.asdict(text), "grown_on": grown_on},
        datasets={},
        balance=("titles_read", ("train", "validation", "left_out")),
        counted=(),
        findings=[
            f"reads the titles of {path}",
            f"writes a SavedModel and {METRICS}",
            f"takes {format_order(rows and rows * args.epochs, RATE)}",
        ],
        noun="titles",
    )


def read_file(sources: Sequence["Source"], text: "TextFormat", options: "GrowthOptions") -> Iterator["TitleBatch"]:
    """Yield titles that are not empty, and whether they are to measure by; a row that cannot be read is a DataError."""
    import pyarrow.compute as pc

    from molino.training.tokens import split_off
    from molino.transforms.text.read import read_span
    from molino.transforms.text.sources import split_sources

    for span in split_sources(sources, SPAN_BYTES, quoted=True):
        for chunk in read_span(span, text, SPAN_BYTES):
            if bad := chunk.rejects.num_rows:
                why = chunk.rejects["reason"][0]
                raise DataError(f"{span.source.path}: {bad:,} rows or more cannot be read ({why}); correct them")
            rows = chunk.rows.filter(pc.not_equal(chunk.rows["title"], ""))
            known = pc.if_else(pc.equal(rows["category"], ""), None, rows["category"])
            yield from split_off(rows["title"], known, share=options.validation, seed=options.seed)


def work(
    run: "Run",
    views: str,
    progress: "Progress",
    *,
    read: ReadTitles,
    options: "GrowthOptions",
    grown_on: Mapping[str, Any],
) -> Staged:
    """Train on the input, write the model, and return what was counted."""
    from molino.training.backend import load_keras

    load_keras()
    from molino.training.grow import grow
    from molino.training.nnlm_export import export_nnlm

    grown = grow(read(), options, progress)
    progress.show(1, 1, "writing")
    metrics = {"grown_on": grown_on, **grown.metrics}
    export_nnlm(views, grown.words, grown.table, buckets=metrics["buckets"], normalization=options.normalization)
    frame.write_text(views, METRICS, metrics)
    counters = {"train": metrics["titles"], "validation": metrics["validation_titles"], "left_out": grown.left_out}
    return Staged([], counters | {"titles_read": sum(counters.values())}, summary_of(grown))


def summary_of(grown: "Grown") -> Lines:
    """Return the summary."""
    metrics, left_out = grown.metrics, grown.left_out
    told = f"{metrics['titles']:,} to train on, {metrics['validation_titles']:,} to measure by"
    words = f"{metrics['vocabulary']:,} words, {grown.known:.1%} of all tokens; {metrics['buckets']:,} buckets"
    last = [f"{name.replace('_', ' ')} {value:.4f}" for name, value in metrics["epochs"][-1].items()]
    return [
        ("titles", told + (f"; {left_out:,} without a known category left out" if left_out else "")),
        ("trained by", f"{metrics['categories']:,} categories" if metrics["categories"] else "neighbouring words"),
        ("vocabulary", words),
        ("measured", ", ".join(last)),
    ]


JOB = frame.TrainingJob(
    name="model train", about="grow a model from titles", parser=parser, plan=plan, list_inputs=list_inputs
)

"""The likeliest categories of product titles, by a classifier that `molino train titles` saved: the name of the first,
and the top five with their scores. Every row that can be read has a prediction; the others are listed in rejects/.

examples:
  molino predict --model out/classifier --input new-titles.csv --output out/predictions
"""

import argparse
import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from molino.jobs.job import Example, Job, Plan, TextOptions
from molino.jobs.options import Parser, check_kept, format_rejects, place, read_options, sha256_digits, text_format

if TYPE_CHECKING:
    import apache_beam as beam
    import pyarrow as pa

    from molino.jobs.run.runs import Run
    from molino.transforms.files.list_files import Listing
    from molino.transforms.predict.predict_titles import Classifier
    from molino.transforms.text.sources import Source

COLUMNS = {"title": "title", "language": "language"}
OPTIONAL = ("language",)
BLOCK_BYTES = 2 << 20  # of input a block, the unit of an output's order


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictOptions(TextOptions):
    """What the job does with the titles; `classifier` is the digest of the SavedModel."""

    classifier: str
    not_finite: str


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(prog="molino predict", description=__doc__)
    made.add_run_options()
    made.add_text_options(COLUMNS, encoding="utf-8", quote='"', optional=OPTIONAL, keep=True)
    model = made.add_argument_group("the classifier")
    model.option(
        "--model", "DIR", place, "output of molino train titles, or the SavedModel in it, also on gs://", required=True
    )
    model.option("--model-sha256", "HEX", sha256_digits, "digest that the SavedModel must have")
    model.switch("--trust-model", "accept one whose operations can touch files or the network")
    model.add_not_finite("scores")
    return made


def plan(args: argparse.Namespace, inputs: Sequence["Listing"]) -> Plan:
    """Look at the inputs and the classifier and return what the run will do."""
    import pyarrow as pa

    from molino.jobs.run.text_input import text_input
    from molino.schemas.predict import KEPT_DOC, PREDICTED
    from molino.schemas.rejects import REJECTS
    from molino.transforms.models.finite import warn_not_finite
    from molino.transforms.predict.predict_titles import plan_classifier
    from molino.transforms.text.sources import kept_fields

    text = text_format(args, COLUMNS, OPTIONAL, args.keep)
    texts = text_input(args, inputs, text, words=["title"], loose=["title"], block_bytes=BLOCK_BYTES)
    facts = {"text": texts.text, "shards": texts.shards, "blocks": texts.blocks}
    classifier = plan_classifier(args.model, sha256=args.model_sha256, trust=args.trust_model)
    options = read_options(PredictOptions, args, classifier=classifier.digest, **facts)
    kept = kept_fields(texts.text, KEPT_DOC)
    predicted = pa.schema([*PREDICTED, *kept], PREDICTED.metadata)
    check_kept(predicted, kept)
    datasets = {"predictions": predicted, "rejects": REJECTS}
    return texts.plan(
        amount={"dataset": "predictions"},
        job="predict",
        options=dataclasses.asdict(options),
        datasets=datasets,
        balance=("rows_read", tuple(datasets)),
        counted=tuple(datasets),
        build=functools.partial(build, options=options, classifier=classifier, schema=predicted),
        warn=[functools.partial(warn_not_finite, way=options.not_finite)],
        sends={classifier.digest: classifier.path},
    )


def build(
    pipeline: "beam.Pipeline",
    run: "Run",
    *,
    options: PredictOptions,
    classifier: "Classifier",
    schema: "pa.Schema",
    sources: Sequence["Source"],
    span_bytes: int,
) -> None:
    """Add the job to a pipeline."""
    import apache_beam as beam

    from molino.jobs.run.publish import Publish
    from molino.schemas.rejects import REJECTS
    from molino.transforms.parquet.views import WriteViews
    from molino.transforms.parquet.write import WriteParquet
    from molino.transforms.predict.predict_titles import PredictedTitles, predict_parts, spread
    from molino.transforms.predict.report import write_predict_report
    from molino.transforms.rows.outputs import ParDoInto
    from molino.transforms.rows.partition import PartitionRows
    from molino.transforms.text.position import POSITION
    from molino.transforms.text.read import GatherRejects, ReadDelimited

    if run.sent:
        classifier = classifier.as_sent(run.sent)
    read = pipeline | "Read" >> ReadDelimited(sources=sources, text=options.text, span_bytes=span_bytes)
    parts = read.rows | "ByLine" >> PartitionRows(
        key=spread,
        schema=options.text.schema,
        blocks=options.blocks,
        shards=options.shards,
        order_by=POSITION,
        spill=run.spill,
    )
    given = {"lines": beam.pvalue.AsSingleton(read.lines), "classifier": classifier, "folder": run.staging}
    given |= {"not_finite": options.not_finite, "schema": schema}
    predicted = parts | "PredictTitles" >> ParDoInto(into=PredictedTitles, call=predict_parts, arguments=given)
    rejects = (read.rejects, predicted.rejects) | "AllRejects" >> beam.Flatten()
    rejected = rejects | "Rejects" >> GatherRejects(lines=read.lines)
    counters = (read.counters, rejected.counters, predicted.counters) | "Counters" >> beam.Flatten()
    views = WriteViews(call=write_predict_report, run=run, counters=counters, gather=True)
    report = predicted.tallies | "WriteReport" >> views
    files = (
        predicted.files,
        report.files,
        rejected.shards | "Rejected" >> WriteParquet(schema=REJECTS, folder=run.staging, dataset="rejects"),
    ) | "Files" >> beam.Flatten()
    files | "Publish" >> Publish(run=run, counters=counters)


def summarize(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of the summary: what was read, and what became of it."""
    counters = manifest["counters"]
    return [
        ("rows read", f"{counters.get('rows_read', 0):,}"),
        ("predictions", f"{counters.get('predictions', 0):,}"),
        ("rejects", format_rejects(counters)),
        ("classifier", manifest["options"]["classifier"][:16]),
    ]


JOB = Job(
    name="predict",
    about="categories of titles, by a classifier that training saved",
    parser=parser,
    plan=plan,
    summarize=summarize,
    example=Example(
        inputs=[
            "sample titles --rows 3000 --output in.csv",
            "titles --input in.csv --output run --quiet",
            "train titles --input run --architecture phrases --epochs 1 --output classifier --quiet",
        ],
        options="--input in.csv --model classifier",
    ),
    extra="tensorflow",
    packages=["tensorflow", "numba", "llvmlite"],
)

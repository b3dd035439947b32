"""Titles of products with the vectors of any number of models, a label and a split, shuffled, ready for training.

The same title and category twice is one row with a count. A title with two categories is kept under both and listed in
conflicts/. Titles that are nearly the same are in one split. Rows that cannot be read are listed in rejects/.

examples:
  molino sample titles --output demo/titles.csv --rows 50000
  molino titles --input demo/titles.csv --output demo/split && molino model train --input demo/split --output es
  molino titles --input demo/titles.csv --model es=models/nnlm-es-dim128 --output demo/titles
  molino titles --input 'titles-*.parquet' --output out --vector-type float16 \\
      --model es128=https://tfhub.dev/google/nnlm-es-dim128/2 --model en50=nnlm-en-dim50_2.tar.gz
"""

import argparse
import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from molino.jobs.job import Example, Job, Plan, SampleInput, TextOptions
from molino.jobs.options import (
    Options,
    Parser,
    check_kept,
    format_rejects,
    natural,
    pair,
    place,
    positive,
    ratio,
    read_options,
    sha256_digits,
    text_format,
)
from molino.transforms.errors import OptionError

if TYPE_CHECKING:
    import apache_beam as beam

    from molino.jobs.run.runs import Run
    from molino.transforms.files.list_files import Listing
    from molino.transforms.text.sources import Source, TextFormat
    from molino.transforms.titles.write import TitleColumns

COLUMNS = {"title": "title", "label_quality": "label_quality", "language": "language", "category": "category"}
OPTIONAL = ("label_quality", "language")
BLOCK_BYTES = 2 << 20  # of input a block, the unit of an output's order
MODEL_FACTS = ("name", "digest", "dim", "kind")  # of a model, what an output depends on
MORE_FACTS = ("output", "grown_on")  # where there is something to say
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TitlesOptions(TextOptions):
    """What the job does with the titles."""

    models: tuple[dict[str, Any], ...]  # name, digest, dim and kind of each, in the order of their columns
    exact: bool
    vector_type: str
    model_text: bool
    tokens: bool
    not_finite: str
    without_category: bool
    validation: float
    test: float
    seed: int


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(prog="molino titles", description=__doc__)
    made.add_run_options()
    made.add_text_options(COLUMNS, encoding="utf-8", quote='"', optional=OPTIONAL, keep=True)
    models = made.add_argument_group("models")
    models.option(
        "--model",
        "NAME=PATH_OR_URL",
        named_model,
        "column of vectors, and its model: folder or archive of a SavedModel, also on gs://, or TF Hub URL, "
        "with #OUTPUT or #SIGNATURE/OUTPUT where it has several; may be repeated; without any the titles "
        "have labels and splits, and molino model train can grow a model",
        default=[],
        action="append",
    )
    models.option(
        "--model-sha256",
        "NAME=HEX",
        named_digest,
        "digest that the model must have, as molino model inspect shows it; may be repeated",
        default=[],
        action="append",
    )
    models.switch("--trust-model", "accept models whose operations can touch files or the network")
    models.switch("--exact", "vectors bit for bit those of the model, not within 1e-6 of their norm")
    models.choice("--vector-type", ("float32", "float16"), "of the vectors (default float32)")
    models.switch(
        "--write-model-text",
        "add a column with the title as models with normalization see it, without punctuation",
        dest="model_text",
    )
    models.switch(
        "--write-tokens",
        "add the rows of each title's tokens in every model's table, for fine-tuning, and their number",
        dest="tokens",
    )
    models.add_not_finite("vectors")
    _add_row_options(made.add_argument_group("titles and labels"))
    return made


def _add_row_options(rows: Options) -> None:
    rows.switch("--without-category", "keep titles that have no category, with label -1; else they are rejects")
    rows.switch("--integer-categories", "take the digits of a category column of integers in Parquet")
    rows.option(
        "--split-column",
        "NAME",
        str,
        "column that says train, validation or test; titles that are nearly the same may then be in several",
    )
    rows.option("--validation", "R", ratio, "share of the titles for validation", 0.05)
    rows.option("--test", "R", ratio, "share of the titles for test", 0.05)
    rows.option("--seed", "N", natural, "of shuffle and split", 1)


def named_model(text: str) -> tuple[str, str]:
    """Parse NAME=PATH_OR_URL; the name must do for a column.

    >>> named_model("es=models/es.tar.gz")
    ('es', 'models/es.tar.gz')
    """
    name, location = pair(text, "NAME=PATH_OR_URL")
    if not MODEL_NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(
            f"{name!r} cannot name a column of vectors: letters, digits, _ and -, at most 64, no mark at the start"
        )
    return name, location


def named_digest(text: str) -> tuple[str, str]:
    """Parse NAME=HEX."""
    name, digest = pair(text, "NAME=HEX")
    return name, sha256_digits(digest)


def plan(args: argparse.Namespace, inputs: Sequence["Listing"]) -> Plan:
    """Look at the inputs and the models and return what the run will do."""
    from molino.jobs.run.text_input import text_input
    from molino.schemas.rejects import REJECTS
    from molino.schemas.titles import CONFLICTS, LABELS
    from molino.transforms.models.embed import plan_models
    from molino.transforms.models.finite import warn_not_finite
    from molino.transforms.titles.labels import warn_of_labels
    from molino.transforms.titles.merge import key_titles

    locations = locate_models(args.model, tokens=args.tokens)
    how: dict[str, Any] = {"words": ["title"], "loose": ["title", "split"], "block_bytes": BLOCK_BYTES}
    texts = text_input(args, inputs, input_format(args), **how)
    models = plan_models(locations, sha256=dict(args.model_sha256), trust=args.trust_model, exact=args.exact)
    if args.tokens and (generic := [model.name for model in models if model.kind != "table"]):
        raise OptionError(f"--write-tokens: {generic[0]} is not a table of tokens; molino model inspect says why")
    fixed: dict[str, Any] = {"validation": 0.0, "test": 0.0} if args.split_column else {}
    facts = {"text": texts.text, "shards": texts.shards, "blocks": texts.blocks, **fixed}
    options = read_options(TitlesOptions, args, models=model_facts(models), **facts)
    columns = title_columns(options, models)
    check_kept(columns.schema, columns.kept)
    numbers = sum(model.dim for model in models)
    each = {"numbers": numbers, "vectors": numbers * (2 if options.vector_type == "float16" else 4)}
    held = sum(model.bytes for model in models)
    datasets = {"titles": columns.schema, "conflicts": CONFLICTS, "labels": LABELS, "rejects": REJECTS}
    return texts.plan(
        amount={"dataset": "titles", "keyed": key_titles, "models": held, "amounts": each},
        job="titles",
        options=dataclasses.asdict(options),
        datasets=datasets,
        balance=("rows_read", ("titles", "duplicates", "rejects")),
        counted=tuple(datasets),
        build=functools.partial(build, options=options, models=models),
        warn=[functools.partial(warn_not_finite, way=options.not_finite), warn_of_labels],
        sends={model.sent_name(): model.path for model in models},
    )


def input_format(args: argparse.Namespace) -> "TextFormat":
    """Return the format of the titles. OptionError: options do not go together."""
    if args.validation + args.test >= 1:
        raise OptionError(f"--validation {args.validation:g} and --test {args.test:g} leave nothing to train on")
    if args.split_column and (args.command.names("--validation") or args.command.names("--test")):
        raise OptionError("--validation and --test have no effect with --split-column")
    text = text_format(args, COLUMNS, [*OPTIONAL, *(["category"] if args.without_category else [])], args.keep)
    return dataclasses.replace(
        text,
        columns=dict(text.columns) | ({"split": args.split_column} if args.split_column else {}),
        blank=("category",),  # a null in Parquet is no category, as an empty field is
        integers=("category",) if args.integer_categories else (),
    )


def title_columns(options: TitlesOptions, models: Sequence[Any]) -> "TitleColumns":
    """Return what the titles are written with."""
    from molino.schemas.titles import KEPT_DOC
    from molino.transforms.text.sources import kept_fields
    from molino.transforms.titles.write import TitleColumns

    return TitleColumns(
        models=tuple(models),
        half=options.vector_type == "float16",
        model_text=options.model_text,
        tokens=options.tokens,
        not_finite=options.not_finite,
        kept=tuple(kept_fields(options.text, KEPT_DOC)),
    )


def model_facts(models: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    """Return of each model what an output depends on."""
    facts = [(*MODEL_FACTS, *(fact for fact in MORE_FACTS if getattr(model, fact))) for model in models]
    return tuple({fact: getattr(model, fact) for fact in own} for model, own in zip(models, facts, strict=True))


def locate_models(models: Sequence[tuple[str, str]], *, tokens: bool = False) -> dict[str, str]:
    """Return where each model is, by its name; OptionError: it and another, or a column, cannot be told apart."""
    from molino.schemas.titles import titles_schema

    taken = {*titles_schema({}, model_text=True).names}
    for name, _ in models:
        names = [name, f"{name}_tokens", f"{name}_length"] if tokens else [name]
        if found := [each for each in names if each.lower() in taken]:
            raise OptionError(f"--model {name}=...: the titles have a column {found[0]}; give the model another name")
        taken |= {each.lower() for each in names}
    return dict(models)


def build(
    pipeline: "beam.Pipeline",
    run: "Run",
    *,
    options: TitlesOptions,
    models: Sequence[Any],
    sources: Sequence["Source"],
    span_bytes: int,
) -> None:
    """Add the job to a pipeline."""
    import apache_beam as beam

    from molino.jobs.run.publish import Publish
    from molino.schemas.rejects import REJECTS
    from molino.transforms.parquet.views import WriteViews
    from molino.transforms.parquet.write import WriteParquet
    from molino.transforms.rows.gather import Gather
    from molino.transforms.rows.outputs import ParDoInto
    from molino.transforms.rows.partition import PartitionRows
    from molino.transforms.text.position import POSITION
    from molino.transforms.text.read import GatherRejects, ReadDelimited
    from molino.transforms.titles.keys import Draw
    from molino.transforms.titles.labels import WrittenLabels, number_categories, start_ahead, write_labels
    from molino.transforms.titles.merge import KeyedTitles, count_categories, key_or_reject, keyed_schema
    from molino.transforms.titles.report import write_titles_report
    from molino.transforms.titles.write import WrittenTitles, write_titles

    if not run.elsewhere:
        start_ahead()
    draw = Draw(seed=options.seed, validation=options.validation, test=options.test)
    models = [model.as_sent(run.sent) for model in models] if run.sent else models
    read = pipeline | "Read" >> ReadDelimited(sources=sources, text=options.text, span_bytes=span_bytes)
    unsure = [model for model in models if not model.finite] if options.not_finite == "reject" else []
    how = {"without_category": options.without_category, "models": unsure}
    keyed = read.rows | "Key" >> ParDoInto(into=KeyedTitles, call=key_or_reject, arguments=how)
    rejected = (read.rejects, keyed.rejects) | beam.Flatten() | "Rejects" >> GatherRejects(lines=read.lines)
    parts = keyed.rows | "ByTitle" >> PartitionRows(
        key=draw.block,
        schema=keyed_schema(options.text.schema),
        blocks=options.blocks,
        shards=options.shards,
        order_by=POSITION,
        spill=run.spill,
    )
    counts = parts | "CountCategories" >> beam.Map(count_categories, draw=draw)
    labels = counts | "Number" >> Gather(into=number_categories)
    folder = {"folder": run.staging}
    labeled = labels | "WriteLabels" >> ParDoInto(into=WrittenLabels, call=write_labels, arguments=folder)
    given = {"labels": beam.pvalue.AsSingleton(labels), "lines": beam.pvalue.AsSingleton(read.lines), "draw": draw}
    given |= {"columns": title_columns(options, models), **folder}
    written = parts | "WriteTitles" >> ParDoInto(into=WrittenTitles, call=write_titles, arguments=given)
    counters = (read.counters, rejected.counters, labeled.counters, written.counters) | "Counters" >> beam.Flatten()
    write = functools.partial(write_titles_report, models=models)
    views = WriteViews(call=write, run=run, counters=counters, gather=True, singletons={"labels": labels})
    report = written.glances | "WriteReport" >> views
    refused = rejected.shards | "Rejected" >> WriteParquet(schema=REJECTS, folder=run.staging, dataset="rejects")
    files = (written.files, labeled.files, report.files, refused) | "Files" >> beam.Flatten()
    files | "Publish" >> Publish(run=run, counters=counters)


def summarize(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of the summary: what was read, and what became of it."""
    counters = manifest["counters"]

    def counted(name: str) -> str:
        return f"{counters.get(name, 0):,}"

    splits = ", ".join(f"{counted(f'split.{split}')} {split}" for split in ("train", "validation", "test"))
    categories = counters.get("labels", 0) - counters.get("unseen_categories", 0) - bool(counters.get("unlabeled"))
    models = ", ".join(model["name"] for model in manifest["options"]["models"])
    labels = [f"{categories:,}"]
    if unseen := counters.get("unseen_categories"):
        labels.append(f"-1 for {unseen:,} categories outside training ({counters['unseen']:,} titles)")
    if unlabeled := counters.get("unlabeled"):
        labels.append(f"-1 for {unlabeled:,} titles without category")
    return [
        ("rows read", counted("rows_read")),
        ("titles", f"{counted('titles')}: {splits}"),
        ("duplicates", counted("duplicates")),
        ("conflicts", f"{counted('conflicting_titles')} titles of more than one category"),
        ("rejects", format_rejects(counters)),
        ("labels", "; ".join(labels)),
        ("models", models or "none: the titles have no vectors"),
    ]


def add_sample_options(parser: Parser) -> None:
    """Add the options of `molino sample titles`."""
    parser.option("--output", "FILE", place, "file to write", required=True)
    parser.option("--rows", "N", positive, "rows", 200_000)
    parser.option("--seed", "N", natural, "of the random numbers (default 2019)", 2019)
    parser.switch("--hostile", "add rows that a job must reject")


def write_sample(args: argparse.Namespace) -> str:
    """Write made-up input and return a line for the user."""
    from molino.transforms.titles.sample import sample_titles

    wrote = sample_titles(args.output, rows=args.rows, seed=args.seed, hostile=args.hostile)
    hostile = f"; {sum(wrote['hostile'].values()):,} hostile rows besides" if args.hostile else ""
    return f"{wrote['rows']:,} titles in {wrote['files'][0]}{hostile}"


JOB = Job(
    name="titles",
    about="embeddings, labels and splits of product titles",
    parser=parser,
    plan=plan,
    summarize=summarize,
    sample=SampleInput(
        about="product titles like those of the MeLi Data Challenge 2019: quoted CSV in Spanish and Portuguese",
        examples=["molino sample titles --output demo/titles.csv --rows 50000"],
        add_options=add_sample_options,
        write=write_sample,
    ),
    example=Example(inputs=["sample titles --rows 3000 --output in.csv"], options="--input in.csv"),
    extra="tensorflow",
    packages=["tensorflow", "numba", "llvmlite"],
)

"""Compare language models by the balanced accuracy of classifiers trained on their vectors: intervals over titles
and over repeats, and the effects of language, normalization and dimensions.

examples:
  molino sample titles --output demo/titles.csv --rows 20000
  molino model train --input demo/titles.csv --output demo/model
  molino titles --input demo/titles.csv --model small=demo/model --output demo/vectors
  molino train compare --input demo/vectors --output demo/compared
  molino train compare --input out/titles --output out/compared --repeats 4
  molino train compare --published predictions.parquet --metadata experiments.json --output published
"""

import argparse
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from molino.jobs.job import Lines, Plan, Staged
from molino.jobs.options import Parser, place, whole
from molino.jobs.train import frame
from molino.jobs.train.frame import REPORT, add_recipe, add_where, check_recipe, count, format_order, write_text
from molino.training.recipe import PHRASES, RATES, make_recipe
from molino.transforms.errors import OptionError

if TYPE_CHECKING:
    from molino.jobs.run.runs import Run
    from molino.training.progress import Progress
    from molino.transforms.files.storage import FileInfo

SUMMARY = "comparison.json"
NEAR = 1e-9  # of a published figure
OF_PUBLISHED = ("published", "metadata", "output", "keep_previous", "draws", "seed")


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(prog="molino train compare", description=__doc__)
    where = add_where(made, "a finished run of the titles job: every embedding is trained on", required=False)
    where.option("--published", "PATH", place, "Parquet: experiment, category, prediction of every title")
    where.option("--metadata", "PATH", place, "JSON: experiment, language_model, published_balanced_accuracy")
    add_recipe(made, several="each on its own")
    how = made.add_argument_group("statistics")
    how.option("--repeats", "N", count, "trainings of each embedding", 4)
    how.option("--draws", "N", whole(100, 1 << 24), "draws of bootstraps and tests (2000)", 2000)
    how.switch("--timings", "fill the columns of seconds and memory; they differ from run to run")
    return made


def list_inputs(args: argparse.Namespace) -> Sequence["FileInfo"]:
    """Return the files that are read."""
    from molino.jobs.run.inputs import find_inputs, input_files

    if bool(args.published) != bool(args.metadata) or bool(args.input) == bool(args.published):
        raise OptionError("give --input, or --published and --metadata")
    if args.input:
        return frame.list_inputs(args)
    for action in parser()._actions:
        flag = action.option_strings[-1]
        if action.nargs != 0 and action.dest not in OF_PUBLISHED and args.command.names(flag):
            raise OptionError(f"{flag} is an option of training; with --published nothing is trained")
    frame.check_local(args.output)
    return input_files(find_inputs([args.published, args.metadata]))


def plan(args: argparse.Namespace, files: Sequence["FileInfo"]) -> Plan:
    """Look at the input and return what the comparison will do."""
    from molino.schemas.training import EFFECTS, MODELS, TRIALS
    from molino.training.backend import choose_backend
    from molino.training.compare import read_published
    from molino.training.source import choose_embeddings, find_leaks, open_source

    check_recipe(args)
    options: dict[str, Any] = {"draws": args.draws, "seed": args.seed, "timings": args.timings}
    warnings, dims = [], {}
    if args.published:
        seen = [f"reads what is published: {args.published}", "trains nothing; takes seconds or minutes"]
        trials: dict[str, Any] = {"published": read_published(args.published, args.metadata)}
    else:
        source, phrases = open_source(args.input[0]), args.architecture == PHRASES
        embeddings = [PHRASES] if phrases else choose_embeddings(source, args.embedding)
        recipe, dims = make_recipe(vars(args), source.training_titles), source.embeddings
        backend = choose_backend(only_tensorflow=f"--architecture {PHRASES}" if phrases else "")
        options |= {**dataclasses.asdict(recipe), "embedding": embeddings, "repeats": args.repeats}
        options |= {"backend": backend, "run": source.run.sha256}
        warnings = find_leaks(source, embeddings)
        rows = args.repeats * len(embeddings) * recipe.epochs * source.training_titles
        seen = [
            f"trains {args.repeats * len(embeddings):,} classifiers on {source.training_titles:,} titles",
            f"takes {format_order(rows, RATES[args.architecture])}, {recipe.epochs} epochs at most",
        ]
        trials = {"source": source, "embeddings": embeddings, "recipe": recipe, "repeats": args.repeats}
    return frame.plan_training(
        functools.partial(work, trials=trials, timings=args.timings, draws=args.draws, seed=args.seed, dims=dims),
        remedy="a smaller --batch",
        job="train compare",
        options=options,
        datasets={"trials": TRIALS, "models": MODELS, "effects": EFFECTS},
        balance=("trials", ("trials",)),
        counted=("trials", "models", "effects"),
        warnings=warnings,
        findings=[*seen, f"writes trials, models, effects, {SUMMARY}, {REPORT}"],
        noun="trials",
    )


def work(
    run: "Run", views: str, progress: "Progress", *, trials: Mapping[str, Any], timings: bool, **drawing: Any
) -> Staged:
    """Train the trials, but for those that are `published`, compare them, and stage what was found."""
    import pyarrow as pa

    from molino.schemas.training import EFFECTS, MODELS, TRIALS
    from molino.training.backend import load_keras
    from molino.training.compare import compare_trials
    from molino.transforms.parquet.shards import write_shard
    from molino.transforms.report.compare import compare_report

    made = trials.get("published")
    if made is None:
        load_keras()
        from molino.training.fit import run_trials

        made = run_trials(**trials, folder=run.units, progress=progress)
    progress.part(0, 1)
    progress.show(1, 1, "drawing titles")
    found = compare_trials(*made, **drawing)
    for row in found["trials"] if not timings else ():
        row["seconds"] = row["peak_bytes"] = None
    write_text(views, SUMMARY, {name: found[name] for name in ("draws", "seed", "sentences")})
    write_text(views, REPORT, compare_report(found))
    files = []
    for name, schema in (("trials", TRIALS), ("models", MODELS), ("effects", EFFECTS)):
        batch = pa.RecordBatch.from_pylist(found[name], schema=schema)
        files.append(write_shard([batch], schema=schema, folder=run.staging, dataset=name, key=(0,)))
    return Staged(files, {file.dataset: file.rows for file in files}, summary_of(found, progress.resumed))


def summary_of(comparison: Mapping[str, Any], resumed: Sequence[str]) -> Lines:
    """Return the summary."""
    published = [
        (row["trial"], row["balanced_accuracy"], row["published"])
        for row in comparison["trials"]
        if row["published"] is not None
    ]
    models = len(comparison["models"])
    lines = [("trials", f"{len(comparison['trials']):,} of {models:,} model{'s' * (models > 1)}")]
    if resumed:
        lines.append(("taken up", ", ".join(resumed)))
    if published:
        odd = [name for name, one, other in published if abs(one - other) > NEAR]
        others = f"; not {', '.join(odd[:5])}{' ...' * (len(odd) > 5)}" if odd else ""
        same = len(published) - len(odd)
        lines.append(("published", f"{same} of {len(published)} figures are the same to {NEAR:g}{others}"))
    lines += [
        ("" if place else "balanced", f"{row['balanced_accuracy']:.4f}  {row['model']}")
        for place, row in enumerate(comparison["models"])
    ]
    return [*lines, *(("found", sentence) for sentence in comparison["sentences"])]


JOB = frame.TrainingJob(
    name="train compare",
    about="compare language models by the classifiers on their vectors",
    parser=parser,
    plan=plan,
    list_inputs=list_inputs,
)

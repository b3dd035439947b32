"""Train a classifier on a finished run of the titles job: from the vectors of one or more models to the category, or
from the titles themselves. It trains on the split train, chooses the epoch on validation, and measures on test once,
at the end.

examples:
  molino sample titles --output demo/titles.csv --rows 20000
  molino titles --input demo/titles.csv --output demo/titles
  molino train titles --input demo/titles --architecture phrases --output demo/classifier
  molino train titles --input out/titles --output out/classifier
  molino train titles --input out/titles --embedding es --architecture mlp-2048 --model es=models/es --output out/mlp
  molino train titles --input out/titles --architecture phrases --output out/phrases

KERAS_BACKEND=jax or torch trains with another backend than TensorFlow. A killed training resumes at its last epoch
when the command is repeated.
"""

import argparse
import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from molino.jobs.job import Lines, Plan, Staged
from molino.jobs.options import Parser, pair
from molino.jobs.train import frame
from molino.jobs.train.frame import METRICS, REPORT, add_recipe, add_where, check_recipe, format_order, write_text
from molino.training.recipe import PHRASES, RATES, make_recipe
from molino.transforms.errors import DataError, OptionError

if TYPE_CHECKING:
    from molino.jobs.run.runs import Run
    from molino.training.progress import Progress
    from molino.training.source import Training
    from molino.transforms.files.storage import FileInfo

SERVING = "serving"


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(prog="molino train titles", description=__doc__)
    add_where(made, "a finished run of the titles job")
    add_recipe(made)
    more = made.add_argument_group("what is made")
    more.switch("--per-language", "also train a classifier for each language; the report says which is better")
    more.option(
        "--model",
        "NAME=DIR",
        lambda text: pair(text, "NAME=DIR"),
        "the SavedModel of an embedding: serving then takes raw titles, and --fine-tune its table",
        default=[],
        action="append",
    )
    more.switch("--calibrate", "also give probabilities: by the categories' shares, and a temperature from validation")
    more.switch("--fine-tune", "train the tables of the embeddings too; needs --model")
    return made


def plan(args: argparse.Namespace, files: Sequence["FileInfo"]) -> Plan:
    """Look at the run, the models and the options, and return what the training will do."""
    from molino.schemas.training import PREDICTIONS
    from molino.training.backend import choose_backend
    from molino.training.source import Training, choose_embeddings, find_leaks, open_source
    from molino.transforms.models.model_files import digest_model, find_model, split_output

    check_recipe(args)
    check_tables(args)
    phrases = args.architecture == PHRASES
    source = open_source(args.input[0])
    embeddings = [] if phrases else choose_embeddings(source, args.embedding)
    models = dict(args.model)
    check_models(models, embeddings)
    training = Training(
        source=source,
        recipe=make_recipe(vars(args), source.training_titles),
        embeddings=embeddings,
        models={name: find_model(split_output(models[name])[0]) for name in (embeddings if models else ())},
        backend=choose_backend(only_tensorflow=f"--architecture {PHRASES}" if phrases else ""),
        **{name: getattr(args, name) for name in ("per_language", "calibrate", "fine_tune")},
    )
    digests = {name: digest_model(folder) for name, folder in training.models.items()}
    epochs = training.recipe.epochs
    return frame.plan_training(
        functools.partial(work, training=training),
        remedy="a smaller --batch",
        job="train titles",
        options={**training.options, "backend": training.backend, "run": source.run.sha256, "models": digests},
        datasets={"predictions": PREDICTIONS},
        balance=("titles_read", ("train", "validation", "test")),
        counted=("predictions",),
        warnings=find_leaks(source, embeddings),
        findings=[
            f"reads {source.training_titles:,} titles to train on, of {len(source.categories):,} categories",
            f"writes predictions, {METRICS}, {REPORT}, a Keras model" + (f", {SERVING}/" if phrases or digests else ""),
            f"takes {format_order(source.training_titles * epochs, RATES[args.architecture])}, {epochs} epochs at most",
        ],
        noun="titles",
    )


def check_tables(args: argparse.Namespace) -> None:
    """Raise OptionError where --fine-tune does not go with the other options."""
    if args.fine_tune and (not args.model or args.per_language or args.architecture == PHRASES):
        what = "--fine-tune needs --model NAME=DIR for each embedding, whose table it trains"
        raise OptionError(f"{what}, and goes neither with --per-language nor with --architecture {PHRASES}")


def check_models(models: Mapping[str, str], embeddings: Sequence[str]) -> None:
    """Raise DataError where models are given, and not one for each embedding."""
    if models and (odd := sorted({*models} ^ {*embeddings})):
        raise DataError(f"--model {odd[0]}=...: give one for each of {', '.join(embeddings)}, or none at all")


def work(run: "Run", views: str, progress: "Progress", *, training: "Training") -> Staged:
    """Train, write what came of it, and return the predictions with what was counted."""
    from molino.training.backend import load_keras
    from molino.transforms.parquet.shards import write_shard
    from molino.transforms.report.training import training_report

    load_keras()
    from molino.training import fit, serving
    from molino.training.answers import make_batch

    encoders = serving.open_encoders(training.source, training.models)
    learners, answers, found = fit.train(training, encoders, run.units, progress)
    found = {"run": found["run"], "warnings": [str(warning) for warning in run.warnings], **found}
    write_text(views, METRICS, found)
    write_text(views, REPORT, training_report(found))
    serving.save_keras(views, training.source, learners)
    temperatures = {None if name == "all" else name: value for name, value in found["temperatures"].items()}
    model = os.path.join(views, SERVING)
    served = serving.write(model, training, learners, encoders, temperatures)
    batches = [make_batch(split, each) for split, each in answers.items()]
    rows = write_shard(batches, schema=batches[0].schema, folder=run.staging, dataset="predictions", key=(0,))
    counters = {split: len(answers[split]) for split in answers} | {"train": learners[None].rows_an_epoch}
    counters |= {"titles_read": sum(counters.values()), "predictions": rows.rows}
    return Staged([rows], counters, summary_of(found, served, progress.resumed))


def summary_of(figures: Mapping[str, Any], served: str, resumed: Sequence[str]) -> Lines:
    """Return the summary."""
    lines = [("epochs", ", ".join(f"{len(history)} ({name})" for name, history in figures["epochs"].items()))]
    if resumed:
        lines.append(("taken up", ", ".join(resumed)))
    for split in ("validation", "test"):
        each = figures[split]
        balanced = f"{each['balanced_accuracy']:.4f} ({each['low']:.4f} to {each['high']:.4f})"
        others = f"accuracy {each['accuracy']:.4f}, top 5 {each.get('top5_accuracy', 1.0):.4f}"
        lines.append((split, f"balanced accuracy {balanced}, {others}, {each['titles']:,} titles"))
    if choice := figures["choice"]:
        better = "one classifier a language" if choice["better"] == "each" else "one classifier for all languages"
        lines.append(("languages", f"{better} is better on validation, and is what was written"))
    return [*lines, ("serving", served)]


JOB = frame.TrainingJob(
    name="train titles",
    about="train a classifier on a run of the titles job",
    parser=parser,
    plan=plan,
    list_inputs=frame.list_inputs,
)

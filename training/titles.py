"""Train a classifier on a run of the titles job: the command `molino train titles`."""

import argparse
import dataclasses
import json
import os
import platform
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from molino.training.command import (
    Parser,
    Progress,
    check_apart,
    check_output,
    drafted,
    explain,
    load_keras,
    place,
    rate,
    run_command,
    share,
    whole,
)
from molino.training.recipe import PHRASES, VECTORS, make_recipe

if TYPE_CHECKING:
    from molino.training.answers import Answers
    from molino.training.classifier import Learner
    from molino.training.source import TitlesRun

METRICS, REPORT, PREDICTIONS, SERVING = "metrics.json", "report.html", "predictions.parquet", "serving"
ONLY_PHRASES = ("dim", "members", "min_count", "leave_out")
TOP = 5
# what changes nothing but where a training is written, and what is seen of it
UNTOLD = ("input", "output", "overwrite", "quiet", "model")
DESCRIPTION = """
Train a classifier on a finished run of the titles job: from the vectors of one or more models to the category, or from
the titles themselves. It trains on the split train; what is chosen is chosen on validation; test is looked at once, at
the end.
"""
EPILOG = """
examples:
  molino train titles --input out/titles --output out/classifier
  molino train titles --input out/titles --embedding es --architecture mlp-2048 --model es=models/es --output out/mlp
  molino train titles --input out/titles --architecture phrases --output out/phrases

KERAS_BACKEND=jax or torch trains with another backend than TensorFlow. A training that was killed goes on from its last
epoch when the same command is given again.
"""


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(prog="molino train titles", description=DESCRIPTION, epilog=EPILOG, kind="classifier")
    where = made.add_argument_group("where")
    where.add_argument("--input", type=place, required=True, metavar="DIR", help="a finished run of the titles job")
    where.add_argument("--output", type=place, required=True, metavar="DIR", help="folder; made when it is not there")
    where.add_argument("--overwrite", action="store_true", help="replace a classifier that is there")
    add_recipe(made)
    more = made.add_argument_group("what is made")
    more.add_argument(
        "--per-language", action="store_true", help="also one classifier a language; the report says which is better"
    )
    more.add_argument(
        "--model",
        type=named,
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="the SavedModel of an embedding: serving then takes raw titles, and --fine-tune its table",
    )
    more.add_argument(
        "--calibrate",
        action="store_true",
        help="give probabilities beside the scores: corrected by the categories' shares, with a temperature chosen on "
        "validation",
    )
    more.add_argument("--fine-tune", action="store_true", help="train the tables of the embeddings too; needs --model")
    more.add_argument("--quiet", action="store_true", help="no progress; the summary and errors stay")
    return made


def add_recipe(made: Parser, *, several: str = "joined") -> None:
    """Add how a classifier is trained; `several` is what becomes of several embeddings."""
    model = made.add_argument_group("the classifier")
    about = f"column of vectors; may be repeated (default: all, {several})"
    model.add_argument("--embedding", action="append", metavar="NAME", help=about)
    model.add_argument(
        "--architecture", choices=(*VECTORS, PHRASES), default="mlp-512", help="default mlp-512; phrases takes titles"
    )
    model.add_argument(
        "--balance",
        choices=("loss", "logits", "none"),
        default="loss",
        help="correct the categories' shares while training, after it, or not (default loss)",
    )
    model.add_argument(
        "--dim", type=whole(1, 1 << 16), default=128, metavar="N", help="of phrases: numbers of a vector (128)"
    )
    model.add_argument("--members", type=whole(1, 64), default=1, metavar="N", help="of phrases: averaged (default 1)")
    model.add_argument("--min-count", type=whole(1), default=2, metavar="N", help="of phrases: times seen at least (2)")
    model.add_argument(
        "--leave-out", type=share, default=0.0, metavar="R", help="of phrases: share of the features (default 0)"
    )
    how = made.add_argument_group("training")
    how.add_argument("--epochs", type=whole(1), metavar="N", help="at most (10; phrases 4)")
    how.add_argument("--patience", type=whole(1), default=3, metavar="N", help="epochs without a better (default 3)")
    how.add_argument("--batch", type=whole(1), metavar="N", help="titles in a step (4096; phrases 2048)")
    how.add_argument("--rate", type=rate, metavar="R", help="of learning, at the start (0.001; phrases 0.005)")
    how.add_argument(
        "--schedule", choices=("linear", "cosine", "constant"), default="linear", help="of the rate (default linear)"
    )
    how.add_argument(
        "--precision", choices=("float32", "bfloat16", "float16"), default="float32", help="to compute in (float32)"
    )
    how.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of all random numbers (default 0)")


def check_recipe(made: Parser, given: argparse.Namespace) -> None:
    """Exit with 2 where an option is given that the architecture does not know."""
    phrases = given.architecture == PHRASES
    for name in () if phrases else ONLY_PHRASES:
        if name in made.given:
            made.error(f"{made.given[name]} is an option of --architecture {PHRASES}, not of {given.architecture}")
    if phrases and given.embedding:
        made.error(f"--architecture {PHRASES} takes titles, no --embedding")
    if phrases and (given.balance == "logits" or given.precision != "float32"):
        made.error(f"--architecture {PHRASES} takes --balance loss or none, and --precision float32")
    if phrases and getattr(given, "fine_tune", False):
        made.error(
            f"--fine-tune trains the tables of embeddings; --architecture {PHRASES} has none, and trains its own"
        )
    if given.architecture == "linear" and given.precision != "float32":
        made.error("--precision is of hidden layers, of which --architecture linear has none")


def named(text: str) -> tuple[str, str]:
    """Parse NAME=DIR."""
    name, mark, folder = text.partition("=")
    if not (name and mark and folder):
        raise argparse.ArgumentTypeError(f"must be NAME=DIR, not {text!r}")
    return name, folder


def main(arguments: Sequence[str] | None = None, *, page: Callable[[Mapping[str, Any]], str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
      page: makes the report of what a training came to; without it there is none.
    """
    made = parser()
    given = made.parse_strictly(arguments)
    check_recipe(made, given)
    if given.fine_tune and given.per_language:
        made.error("--fine-tune and --per-language do not go together")
    if given.fine_tune and not given.model:
        made.error("--fine-tune needs --model NAME=DIR for each embedding: the table that trains is the model's")

    def work() -> list[tuple[str, str]]:
        folder = check_output(given.output, overwrite=given.overwrite, mark=METRICS, kind="classifier")
        check_apart(given.output, given.input)
        return train(given, folder, page)

    return run_command(work, given.output, explain)


# --- training


def train(
    given: argparse.Namespace, folder: str, page: Callable[[Mapping[str, Any]], str] | None
) -> list[tuple[str, str]]:
    """Train, write what came of it, and return the summary."""
    from molino.training.source import choose_embeddings, find_languages, find_leaks, open_source

    with Progress(quiet=given.quiet) as progress:
        progress.show(0, 1, "reading")
        source = open_source(given.input)
        embeddings = [] if given.architecture == PHRASES else choose_embeddings(source, given.embedding)
        backend = load_keras()
        from molino.training import serving
        from molino.training.answers import choose, find_temperature, name_mistakes, summarize
        from molino.training.checkpoint import checkpoints
        from molino.training.fit import fit, make_learner

        recipe = make_recipe(vars(given), source.training_titles)
        encoders = serving.open_encoders(source, embeddings, dict(given.model))
        tables = serving.read_tables(source, encoders, embeddings) if given.fine_tune else None
        languages = find_languages(source) if given.per_language else []
        told = {name: value for name, value in vars(given).items() if name not in UNTOLD}
        identity = {"run": source.run.sha256, "options": told, "backend": backend, "machine": platform.machine()}
        with checkpoints(folder, identity) as kept:
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
                for language, learner in (learners.items() if given.calibrate else ())
            }
            chosen, answers, choice = choose(source, learners, recipe, temperatures)
            plain = {name: learner.plain_model() for name, learner in learners.items() if name is None or chosen}
            found: dict[str, Any] = {
                "run": source.run.sha256,
                "warnings": find_leaks(source, embeddings),
                "backend": backend,
                "options": told | {"embedding": embeddings, **dataclasses.asdict(recipe)},
                "categories": len(source.categories),
                "parameters": int(plain[None].count_params()),
                "temperatures": {name or "all": value for name, value in temperatures.items()},
                "epochs": histories,
                "choice": choice,
                **{split: summarize(answers[split]) for split in answers},
                "worst": name_mistakes(source, answers["test"]),
                "times": times,
            }
            with drafted(folder, overwrite=given.overwrite) as draft:
                os.makedirs(draft)
                write(draft, found, source, answers, page)
                for language, model in plain.items():
                    save_keras(os.path.join(draft, f"model{f'-{language}' if language else ''}.keras"), model, source)
                used = {name: learners[name] for name in plain}
                served = serving.write(
                    os.path.join(draft, SERVING), source, used, recipe, embeddings, encoders, temperatures
                )
    warn(found["warnings"])
    return tell(found, served)


def warn(warnings: Sequence[str]) -> None:
    """Print warnings on standard error."""
    for text in warnings:
        print(f"molino: warning: {text}", file=sys.stderr)


# --- writing


def write(
    folder: str,
    found: Mapping[str, Any],
    source: "TitlesRun",
    answers: Mapping[str, "Answers"],
    page: Callable[[Mapping[str, Any]], str] | None,
) -> None:
    """Write figures, predictions and, where there is a `page`, the report."""
    write_predictions(os.path.join(folder, PREDICTIONS), answers)
    with open(os.path.join(folder, METRICS), "w", encoding="utf-8") as file:
        json.dump(found, file, indent=1, ensure_ascii=False)
        file.write("\n")
    if page:
        with open(os.path.join(folder, REPORT), "w", encoding="utf-8") as file:
            file.write(page(found))


def write_predictions(path: str, answers: Mapping[str, "Answers"]) -> None:
    """Write the answers of splits as schemas.training.PREDICTIONS."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from molino.schemas.training import PREDICTIONS as SCHEMA

    with pq.ParquetWriter(path, SCHEMA, compression="zstd", write_page_checksum=True) as writer:
        for split, each in answers.items():
            ends = np.arange(0, each.top.size + 1, each.top.shape[1], dtype=np.int32)
            nothing = pa.nulls(len(each), SCHEMA.field("top_probabilities").type)
            lists = {
                name: nothing
                if of is None
                else pa.ListArray.from_arrays(ends, of.ravel(), type=SCHEMA.field(name).type)
                for name, of in (
                    ("top_labels", each.top),
                    ("top_probabilities", each.probabilities),
                    ("top_scores", each.scores),
                )
            }
            columns = [
                pa.array(each.ids),
                pa.array([split] * len(each)),
                pa.array(each.labels),
                pa.array(each.top[:, 0].copy()),
                *lists.values(),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=SCHEMA))


def save_keras(path: str, model: Any, source: "TitlesRun") -> None:
    """Save a model as `.keras`, with the run's manifest digest and the categories inside, in `molino.json`."""
    model.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        inside = {"manifest_sha256": source.run.sha256, "categories": source.categories}
        archive.writestr("molino.json", json.dumps(inside, ensure_ascii=False))


def tell(found: Mapping[str, Any], served: str) -> list[tuple[str, str]]:
    """Return the summary."""
    lines = []
    for split in ("validation", "test"):
        each = found[split]
        lines.append(
            (
                split,
                f"balanced accuracy {each['balanced_accuracy']:.4f} ({each['low']:.4f} to {each['high']:.4f}), "
                f"accuracy {each['accuracy']:.4f}, top {TOP} {each.get(f'top{TOP}_accuracy', 1.0):.4f}, "
                f"{each['titles']:,} titles",
            )
        )
    epochs = ", ".join(f"{len(history)} ({name})" for name, history in found["epochs"].items())
    if choice := found["choice"]:
        better = "one classifier a language" if choice["better"] == "each" else "one classifier for all languages"
        lines.append(("languages", f"{better} is better on validation, and is what was written"))
    return [("epochs", epochs), *lines, ("serving", served)]


if __name__ == "__main__":
    sys.exit(main())

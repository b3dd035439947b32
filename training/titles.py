"""Train a classifier on a run of the titles job: the command `molino train titles`."""

import argparse
import dataclasses
import json
import os
import platform
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from molino.training.command import (
    Parser,
    Progress,
    TrainingError,
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

if TYPE_CHECKING:
    import numpy as np

    from molino.training.checkpoint import Checkpoints
    from molino.training.classifier import Learner, Recipe
    from molino.training.reader import Reader
    from molino.training.runs import Dataset, Run

METRICS, REPORT, PREDICTIONS, SERVING = "metrics.json", "report.html", "predictions.parquet", "serving"
TOKENS = 32  # of a title, as schemas.titles has them
TITLES, LABELS = ("titles.titles", 1, 2), ("titles.labels", 1)
PHRASES = "phrases"
VECTORS = ("linear", "mlp-512", "mlp-2048")
ONLY_PHRASES = ("dim", "members", "min_count", "leave_out")
TOP = 5
ASKED = 4096  # titles at once where nothing is trained
WORST = 20  # categories that are shown
STEPS = 100  # of an epoch of few titles
DRAWS = 1000  # of the interval over titles
CELLS = 1 << 25  # logits that the temperature is chosen by
# what changes nothing but where a training is written, and what is seen of it
UNTOLD = ("input", "output", "overwrite", "quiet", "model")
DEFAULTS = {"batch": 4096, "rate": 0.001, "epochs": 10}
OF_PHRASES = {"batch": 2048, "rate": 0.005, "epochs": 4}
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


# --- what is trained on


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A run, as a classifier sees it.

    Attributes:
      categories: in the order of their labels.
      shares: of the training titles that each has, (classes,) float64.
      embeddings: numbers of a vector, by the name of its column.
      training_titles: how many there are to train on.
      unlabeled: whether some titles of the training split have no label.
    """

    run: "Run"
    titles: "Dataset"
    categories: list[str]
    shares: "np.ndarray"
    embeddings: dict[str, int]
    training_titles: int
    unlabeled: bool

    def prior(self) -> "np.ndarray":
        """Return the logarithm of the shares, float32."""
        import numpy as np

        return np.log(np.maximum(self.shares, 1e-9)).astype(np.float32)

    def read(self, split: str, columns: Sequence[str], **how: Any) -> "Reader":
        """Return a reader of a split."""
        from molino.training.reader import Reader

        return Reader(self.titles, list(columns), split=split, **how)


def open_source(folder: str) -> Source:
    """Open a finished run of the titles job.

    Raises:
      RunError: it is none, or not what was written.
      TrainingError: it has nothing to train on.
    """
    import numpy as np
    import pyarrow as pa

    from molino.training.runs import explained, open_run

    run = open_run(folder, {"titles": TITLES, "labels": LABELS})
    titles, listed = run.datasets["titles"], run.datasets["labels"]
    rows: list[dict[str, Any]] = []
    for file in range(len(listed.files)):
        with explained(listed.files[file]):
            rows += listed.open(file).read(columns=["label", "category", "train"]).to_pylist()
    known = sorted((row for row in rows if row["label"] >= 0), key=lambda row: row["label"])
    if len(known) < 2:
        few = "one category" if known else "no category"
        raise TrainingError(f"{folder} has {few} with titles to train on; a classifier needs two")
    counts = np.array([row["train"] for row in known], np.float64)
    vectors = {
        each.name: each.type.list_size
        for each in titles.schema
        if pa.types.is_fixed_size_list(each.type) and pa.types.is_floating(each.type.value_type)
    }
    return Source(
        run=run,
        titles=titles,
        categories=[row["category"] for row in known],
        shares=counts / counts.sum(),
        embeddings=vectors,
        training_titles=int(counts.sum()),
        unlabeled=any(row["label"] < 0 and row["train"] for row in rows),
    )


def choose_embeddings(source: Source, given: argparse.Namespace) -> list[str]:
    """Return the columns of vectors that are trained on; none for phrases.

    Raises:
      TrainingError: one is not there.
    """
    there = ", ".join(source.embeddings) or "none"
    if given.architecture == PHRASES:
        return []
    for name in given.embedding or []:
        if name not in source.embeddings:
            raise TrainingError(f"{given.input} has no embedding {name}; it has: {there}")
    chosen = list(dict.fromkeys(given.embedding or source.embeddings))
    if not chosen:
        raise TrainingError(f"{given.input} has no vectors; make the run with --model, or train --architecture phrases")
    return chosen


def find_leaks(source: Source, embeddings: Sequence[str]) -> list[str]:
    """Return warnings of embeddings whose model may have seen titles of the test split, by what it was grown on.

    A title's split follows from its words, the seed and the shares: where seed and share are the same, what was split
    off for testing before is so here, whatever the input.
    """
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
        told.append(
            f"the model of {model['name']} was grown {what} and may have seen titles of the test split, whose figures "
            f"are too good then; grow it by molino model train --input {source.run.folder}, and make the run again "
            "with that model"
        )
    return told


def make_recipe(given: argparse.Namespace, titles: int, **more: Any) -> "Recipe":
    """Return how the classifier is trained, as the options say; of few titles a batch has fewer."""
    from molino.training.classifier import Recipe

    defaults = OF_PHRASES if given.architecture == PHRASES else DEFAULTS
    values = {name: getattr(given, name) for name in vars(given) if name in Recipe.__dataclass_fields__}
    values |= {name: values[name] or default for name, default in defaults.items()}
    values["batch"] = given.batch or min(values["batch"], max(1, titles // STEPS))
    return Recipe(**(values | more))


def make_learner(
    source: Source,
    recipe: "Recipe",
    embeddings: Sequence[str],
    language: str | None = None,
    tables: dict[str, "np.ndarray"] | None = None,
) -> "Learner":
    """Return an untrained learner; with a language, of its titles alone; with tables, one that trains them too."""
    import keras

    from molino.training.classifier import ByVectors, columns_of

    keras.utils.set_random_seed(recipe.seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    classes = len(source.categories)
    prior = source.prior() if recipe.balance == "loss" else 0 * source.prior()
    if recipe.architecture == PHRASES:
        return _by_phrases(source, recipe, classes, prior, language)
    columns = columns_of(recipe, embeddings, tokens=bool(tables), language=language is not None)
    reader = source.read("train", columns, batch=recipe.batch, seed=recipe.seed)
    if not reader.rows:
        raise TrainingError(f"{source.run.folder} holds no titles to train on")
    dims = {name: TOKENS if tables else source.embeddings[name] for name in embeddings}
    return ByVectors(reader, recipe, dims, classes, prior, language=language, tables=tables, weighed=source.unlabeled)


def _by_phrases(source: Source, recipe: "Recipe", classes: int, prior: "np.ndarray", language: str | None) -> "Learner":
    import keras

    if keras.backend.backend() != "tensorflow":
        raise TrainingError(f"KERAS_BACKEND is {keras.backend.backend()}; --architecture {PHRASES} needs tensorflow")
    import pyarrow as pa

    from molino.training.classifier import FLAG, weigh
    from molino.training.phrases import BITS, ROWS, ByPhrases, Featured

    columns = ["title", "label", *([FLAG] if language else [])]

    def batches() -> Iterator[tuple[Any, Any]]:
        batch: Any
        for batch in source.read("train", columns, shuffle=False, batch=ROWS, ahead=1).epoch():
            kept = weigh(batch, language) > 0
            yield batch["title"].filter(pa.array(kept)), batch["label"][kept]

    train = Featured(batches(), BITS)
    if not len(train):
        raise TrainingError(f"{source.run.folder} holds no titles to train on")
    learner = ByPhrases(train, recipe, classes, prior)
    if not len(train.rows):
        raise TrainingError(f"no word or phrase stands {recipe.min_count:,} times in training; lower --min-count")
    return learner


# --- what a classifier says


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers:
    """What a classifier says of the titles of a split, in the order of the run.

    Attributes:
      ids: int64.
      labels: as the run has them, int32.
      truth: the labels; a category without one has a number of its own after them, and no category -1.
      top: (n, up to 5) int32 labels, the highest score first.
      scores: of these, float32; under balance not their probabilities.
      probabilities: of these, float32; None where they are not known.
      languages: of each title, or None.
      loss: mean cross-entropy of the titles that have a label.
    """

    ids: "np.ndarray"
    labels: "np.ndarray"
    truth: "np.ndarray"
    top: "np.ndarray"
    scores: "np.ndarray"
    probabilities: "np.ndarray | None"
    languages: "np.ndarray"
    loss: float

    def __len__(self) -> int:
        return len(self.ids)

    def scored(self) -> tuple["np.ndarray", "np.ndarray"]:
        """Return truth and top of the titles that have a category."""
        known = self.truth >= 0
        return self.truth[known], self.top[known]


def read_logits(
    source: Source, learner: "Learner", split: str, recipe: "Recipe", language: str | None = None
) -> Iterator[tuple[Any, "np.ndarray", "np.ndarray"]]:
    """Yield batches of a split, the logits of their scores, and those of their probabilities: (n, classes) float32.

    They differ by the logarithm of the categories' shares where the classifier is balanced.

    Args:
      language: only titles in it.
    """
    import numpy as np
    import pyarrow as pa

    from molino.training.classifier import FLAG

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


def find_temperature(source: Source, learner: "Learner", recipe: "Recipe", language: str | None) -> float:
    """Return the temperature of the probabilities, chosen on the first titles of the validation split."""
    import numpy as np

    from molino.training.scores import fit_temperature

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
    source: Source,
    learner: "Learner",
    split: str,
    recipe: "Recipe",
    language: str | None = None,
    temperature: float | None = None,
) -> Answers:
    """Return what a classifier says of a split, or of its titles in one language.

    Args:
      temperature: of calibrated probabilities; without one only a classifier that is not balanced has probabilities.
    """
    import numpy as np

    from molino.training.classifier import FLAG

    made: dict[str, list] = {
        name: [] for name in ("ids", "labels", "truth", "top", "scores", "probabilities", "languages")
    }
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
        values = (batch["id"], labels, truth, top, scores, probabilities, languages)
        for name, value in zip(made, values, strict=True):
            made[name].append(value)
    if not made["ids"]:
        what = f"{language} titles" if language else "titles"
        raise TrainingError(f"{source.run.folder} holds no {what} in the split {split}; make the run with some")
    joined: dict[str, Any] = {name: np.concatenate(parts) for name, parts in made.items()}
    if temperature is None and recipe.balance != "none":
        joined["probabilities"] = None
    return Answers(**joined, loss=losses / max(labeled, 1))


def take_top(logits: "np.ndarray", count: int = TOP) -> tuple["np.ndarray", "np.ndarray"]:
    """Return the labels of the largest logits and the softmax there, in order; of equals among them the smaller label.

    >>> import numpy as np
    >>> top, chances = take_top(np.log(np.array([[0.25, 0.5, 0.25]])), 2)
    >>> top.tolist(), chances.round(6).tolist()
    ([[1, 0]], [[0.5, 0.25]])
    """
    import numpy as np

    count = min(count, logits.shape[1])
    near = np.sort(np.argpartition(-logits, count - 1, 1)[:, :count], 1)
    order = np.argsort(-np.take_along_axis(logits, near, 1), 1, kind="stable")
    top = np.take_along_axis(near, order, 1).astype(np.int32)
    return top, take_at(logits, top)


def take_at(logits: "np.ndarray", top: "np.ndarray") -> "np.ndarray":
    """Return the softmax of logits at some labels of each row, float32."""
    import numpy as np

    powers = np.exp(logits - logits.max(1, keepdims=True))
    chances = np.take_along_axis(powers, top, 1) / powers.sum(1, keepdims=True, dtype=np.float64)
    return chances.astype(np.float32)


def measure(answers: Answers) -> dict[str, float]:
    """Return the figures of a classifier on a split."""
    from molino.training.scores import score

    truth, top = answers.scored()
    return {"loss": answers.loss, **score(truth, top)}


# --- training


def fit(
    source: Source,
    learner: "Learner",
    recipe: "Recipe",
    kept: "Checkpoints",
    name: str,
    progress: Progress,
    language: str | None = None,
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Train to the end, from the last checkpoint where there is one; return the figures and the times of each epoch.

    The learner has the variables of the epoch of the best balanced accuracy on the validation split then: on all of
    it, or on the titles of the learner's language.
    """
    known = kept.restore(name, learner.variables())
    history, times = known.get("history", []), known.get("times", [])
    if history:
        learner.settle()
        progress.note(f"{name}: goes on after epoch {len(history)}")

    def stale() -> int:
        figures = [epoch["validation_balanced_accuracy"] for epoch in history]
        return len(figures) - 1 - figures.index(max(figures)) if figures else 0

    while len(history) < recipe.epochs and stale() < recipe.patience:
        epoch, began = len(history), time.monotonic()

        def report(done: int, steps: int, loss: float, epoch: int = epoch) -> None:
            text = f"{name}, epoch {epoch + 1} of {recipe.epochs}, loss {loss:.4f}"
            progress.show(epoch * steps + done, recipe.epochs * steps, text)

        figures = learner.train_epoch(epoch, report)
        seconds = time.monotonic() - began
        waiting = figures.pop("waiting", None)
        found = measure(ask(source, learner, "validation", recipe, language))
        history.append(figures | {f"validation_{key}": value for key, value in found.items()})
        times.append({"seconds": seconds, "rows_a_second": learner.rows_an_epoch / seconds, "waiting": waiting})
        best = None if stale() else learner.best_variables()
        kept.save(name, learner.variables(), best, {"history": history, "times": times})
    kept.restore_best(name, learner.best_variables())
    learner.settle()
    return history, times


def train(
    given: argparse.Namespace, folder: str, page: Callable[[Mapping[str, Any]], str] | None
) -> list[tuple[str, str]]:
    """Train, write what came of it, and return the summary."""
    with Progress(quiet=given.quiet) as progress:
        progress.show(0, 1, "reading")
        source = open_source(given.input)
        embeddings = choose_embeddings(source, given)
        backend = load_keras()
        from molino.training import serving
        from molino.training.checkpoint import checkpoints

        recipe = make_recipe(given, source.training_titles)
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


def find_languages(source: Source) -> list[str]:
    """Return the languages that training has titles of, sorted.

    Raises:
      TrainingError: there are fewer than two.
    """
    import pyarrow.compute as pc

    from molino.training.classifier import FLAG

    found: set[str] = set()
    batch: Any
    for batch in source.read("train", [FLAG], shuffle=False, batch=1 << 16).epoch():
        found |= set(pc.unique(batch[FLAG].drop_null()).to_pylist())
    if len(found) < 2:
        raise TrainingError(f"--per-language: {source.run.folder} has titles of {len(found)} languages")
    return sorted(found)


def choose(
    source: Source, learners: Mapping[str | None, "Learner"], recipe: "Recipe", temperatures: Mapping[str | None, float]
) -> tuple[bool, dict[str, Answers], dict[str, Any]]:
    """Return whether the classifiers of each language are better than the one of all, the answers, and the figures.

    It is chosen on the validation split. The test split is asked once of each.
    """
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
    from molino.training.scores import balanced_accuracy

    own = (answers.languages == language) & (answers.truth >= 0)
    return balanced_accuracy(answers.truth[own], answers.top[own, 0])


def merge(answers: Mapping[str | None, Answers]) -> Answers:
    """Return the answers of each language's own classifier; of titles of no such language, those of the one of all."""
    import numpy as np

    made: dict[str, Any] = {}
    for name in ("top", "scores", "probabilities"):
        made[name] = getattr(answers[None], name)
        for language, own in answers.items():
            if language is not None and made[name] is not None:
                made[name] = np.where((own.languages == language)[:, None], getattr(own, name), made[name])
    return dataclasses.replace(answers[None], **made, loss=float("nan"))


def summarize(answers: Answers) -> dict[str, Any]:
    """Return the figures of a split with the interval of the balanced accuracy over titles."""
    from molino.training.certainty import Trial, interval, resample_titles
    from molino.training.scores import calibration_error

    truth, top = answers.scored()
    trial = Trial(name="", model="", sample="", labels=truth, predictions=top[:, 0])
    low, high = interval(resample_titles([trial], DRAWS, 0)[:, 0])
    figures = {name: value for name, value in measure(answers).items() if value == value}
    known, right = answers.truth >= 0, truth == top[:, 0]
    sure = {"scores": answers.scores, "probabilities": answers.probabilities}
    errors = {
        f"calibration_error_of_{name}": calibration_error(each[known, 0], right)
        for name, each in sure.items()
        if each is not None
    }
    return {"titles": len(truth), **figures, "low": low, "high": high, **errors}


def name_mistakes(source: Source, answers: Answers) -> list[dict[str, Any]]:
    """Return the categories that are known worst, with what they are taken for, by name."""
    from molino.training.scores import rank_mistakes

    truth, top = answers.scored()
    known = truth < len(source.categories)
    worst = rank_mistakes(truth[known], top[known, 0], len(source.categories), WORST)
    return [
        {
            "category": source.categories[each["label"]],
            "titles": each["titles"],
            "right": each["right"],
            "taken_for": [[source.categories[label], times] for label, times in each["taken_for"]],
        }
        for each in worst
    ]


# --- writing


def write(
    folder: str,
    found: Mapping[str, Any],
    source: Source,
    answers: Mapping[str, Answers],
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


def write_predictions(path: str, answers: Mapping[str, Answers]) -> None:
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


def save_keras(path: str, model: Any, source: Source) -> None:
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

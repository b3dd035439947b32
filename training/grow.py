"""Grow word vectors on titles, and write them as an NNLM model: the command `molino model train`."""

import argparse
import contextlib
import dataclasses
import difflib
import json
import os
import resource
import shutil
import signal
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import numpy as np

    from training.tokens import Corpus
    from training.words import ByCategory, ByNeighbours

DONE, DATA, USAGE, EXISTS = 0, 1, 2, 3
LINE_SECONDS = 10.0
METRICS = "metrics.json"
UNTOLD = ("input", "output", "overwrite", "quiet")  # options that do not change the model; the input has no name in it
MAX_BATCH, STEPS = 2048, 256  # titles in a step; steps in an epoch of few titles
DESCRIPTION = """
Grow word vectors on titles and write them as an NNLM model: a SavedModel, strings in, one vector for each out, which
hub.load, hub.KerasLayer and `molino titles` take.

Where titles have a category, the vectors are trained to tell it; else, to tell the words of a title from the others
in it. A run of the titles job is trained on by its split `train` alone, and by `validation` it is only measured. Of a
file, a share is kept for that.
"""
EPILOG = """
examples:
  molino model train --input out/titles --output model
  molino model train --input titles.csv --output model --dim 50 --normalization --vocabulary 200000
"""
EXIT_CODES = f"""\
exit codes:
  {DONE}  done
  {DATA}  the input or the disk does not allow it; what was at --output is untouched
  {USAGE}  the command line is wrong
  {EXISTS}  something is at --output, and --overwrite is not given or it is no model
  130, 143  stopped by Ctrl-C or SIGTERM; what was at --output is untouched
"""


class GrowError(Exception):
    """The input or the disk does not allow it: says what is wrong and what to do, in one line."""


class TakenError(Exception):
    """Something is at the output that must not be replaced."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors name the nearest right option, and whose options cannot be shortened."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, in one line, and exit with 2."""
        self.exit(USAGE, f"molino: {message}; see {self.prog} --help\n")

    def parse_strictly(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Return the options; exit with 2 where one is not known."""
        given, rest = self.parse_known_args(arguments)
        if rest:
            flag = next((word for word in rest if word.startswith("-")), "").partition("=")[0]
            known = [option for action in self._actions for option in action.option_strings]
            near = difflib.get_close_matches(flag, known, 1) if flag else []
            hint = f"; did you mean {near[0]}?" if near else ""
            self.error(f"no such option: {flag}{hint}" if flag else f"unexpected argument {rest[0]!r}")
        return given


def whole(least: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `least`."""

    def parse(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {text}")
        return number

    parse.__name__ = "whole number"  # what argparse calls it
    return parse


def share(text: str) -> float:
    """Parse a number from 0 up to, but not, 1."""
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to less than 1, not {text}")
    return number


def rate(text: str) -> float:
    """Parse a number above 0."""
    number = float(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and below 1, not {text}")
    return number


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(
        prog="molino model train",
        description=textwrap.dedent(DESCRIPTION).strip(),
        epilog=f"{textwrap.dedent(EPILOG).strip()}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    where = made.add_argument_group("where")
    where.add_argument("--input", required=True, metavar="PATH", help="a finished run of the titles job, CSV, Parquet")
    where.add_argument("--output", required=True, metavar="DIR", help="folder of the model; made when it is not there")
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
    model.add_argument("--dim", type=whole(1), default=128, metavar="N", help="numbers of a vector (default 128)")
    model.add_argument("--normalization", action="store_true", help="the model removes punctuation; case always stays")
    model.add_argument("--vocabulary", type=whole(1), default=1_000_000, metavar="N", help="words at most (1000000)")
    model.add_argument("--min-count", type=whole(1), default=2, metavar="N", help="times a word is seen at least (2)")
    model.add_argument("--buckets", type=whole(1), metavar="N", help="rows of unknown words (a 40th of the vocabulary)")
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
    command = parser()
    given = command.parse_strictly(arguments)
    started = time.monotonic()
    try:
        with _sigterm_as_exit():
            output = check_output(given.output, overwrite=given.overwrite)
            check_input(given)
            if given.split == given.measure:
                raise GrowError(f"--split and --measure are both {given.split}: a model is measured by other titles")
            told = grow(given, output)
    except TakenError as error:
        print(f"molino: {error}", file=sys.stderr)
        return EXISTS
    except KeyboardInterrupt:
        print("molino: stopped; what was at --output is untouched", file=sys.stderr)
        return 130
    except SystemExit as stop:
        print("molino: stopped; what was at --output is untouched", file=sys.stderr)
        return int(stop.code or 0)
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        print(f"molino: {message}", file=sys.stderr)
        return DATA
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    for name, text in [*told, ("time", f"{time.monotonic() - started:.1f} s, {peak / 1e9:.2f} GB at most")]:
        print(f"{name:>12}  {text}")
    print(f"{'output':>12}  {output}")
    return DONE


def explain(error: Exception) -> str | None:
    """Return what a user reads of an error, or None where it is the program's own."""
    from training.runs import RunError
    from training.tokens import TitlesError

    if isinstance(error, GrowError | RunError | TitlesError):
        return str(error)
    if isinstance(error, OSError):
        return f"cannot write {error.filename or 'the model'}: {error.strerror or error}; write elsewhere, or make room"
    if isinstance(error, MemoryError):
        return "there is not enough memory; a smaller --vocabulary or --dim takes less"
    return None


@contextlib.contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    def stop(number: int, _: Any) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def load_tensorflow() -> None:
    """Import TensorFlow and Keras without their chatter, which comes before a log level can be set.

    Raises:
      GrowError: they are not there, or Keras is to use something else.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        import keras
        import tensorflow as tf

        tf.constant(0)  # the first operation prints too
    except ImportError as error:
        raise GrowError(f"training needs TensorFlow ({error}); pip install 'molino[tensorflow]'") from None
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
    if keras.backend.backend() != "tensorflow":
        raise GrowError(f"KERAS_BACKEND is {keras.backend.backend()}; a SavedModel needs tensorflow")


# --- input and output


def check_output(path: str, *, overwrite: bool) -> str:
    """Return the folder of the model; its parent is there afterwards, and can be written.

    Raises:
      TakenError: something is there that must not be replaced.
      GrowError: it cannot be written.
    """
    if "://" in path:
        raise GrowError(f"--output {path}: a model is written to a local folder; copy it from there")
    folder = os.path.abspath(path)
    if os.path.lexists(folder) and not (os.path.isdir(folder) and not os.listdir(folder)):
        if not os.path.isfile(os.path.join(folder, "saved_model.pb")):
            raise TakenError(f"{path} is there and is no model; choose another --output")
        if not overwrite:
            raise TakenError(f"{path} holds a model; add --overwrite to replace it, or choose another --output")
    parent = os.path.dirname(folder)
    try:
        os.makedirs(parent, exist_ok=True)
    except OSError as error:
        raise GrowError(f"cannot make {parent}: {error.strerror}; choose another --output") from None
    if not os.access(parent, os.W_OK):
        raise GrowError(f"cannot write in {parent}: no permission; choose another --output")
    return folder


def check_input(given: argparse.Namespace) -> None:
    """Raise GrowError where there is no input, or the output is a part of it."""
    if "://" in given.input:
        return
    if not os.path.exists(given.input):
        raise GrowError(f"there is no file or folder {given.input}; check --input")
    if os.path.realpath(given.output).startswith(os.path.join(os.path.realpath(given.input), "")):
        raise GrowError(f"--output {given.output} lies inside --input {given.input}; choose another --output")


def read_corpus(given: argparse.Namespace) -> "Corpus":
    """Return the tokenised titles of the input."""
    from training import tokens
    from training.runs import is_run

    if is_run(given.input):
        batches = tokens.read_run(given.input, given.split, given.measure)
    else:
        read = tokens.read_file(given.input, title=given.title_column, category=given.category_column)
        batches = (part for batch in read for part in tokens.split_off(batch, share=given.validation, seed=given.seed))
    return tokens.tokenize(batches, normalization=given.normalization)


def publish(work: str, folder: str) -> None:
    """Put a complete model in place; one that is there goes in the same moment."""
    aside = f"{work}.replaced"
    if os.path.lexists(folder):
        os.rename(folder, aside)
    try:
        os.rename(work, folder)
    except OSError:
        if os.path.lexists(aside):
            os.rename(aside, folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


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
            raise GrowError(f"{given.input} holds no titles to train on")
        grown = train(corpus, given, progress, supervised=supervised)
        progress.show(1, 1, "writing")
        write_model(folder, grown, given)
    metrics = grown.metrics
    told = f"{metrics['titles']:,} to train on, {metrics['validation_titles']:,} to measure by"
    last = metrics["epochs"][-1]
    return [
        ("titles", told + (f"; {missing:,} without a known category left out" if missing else "")),
        ("trained by", f"{metrics['categories']:,} categories" if supervised else "neighbouring words"),
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

    from training import tokens, words

    keras.utils.set_random_seed(given.seed)
    tf.config.experimental.enable_op_determinism()
    counts = tokens.count_tokens(corpus)
    places = tokens.choose_vocabulary(corpus, counts, size=given.vocabulary, least=given.min_count)
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

    from training.nnlm_export import export_nnlm

    work = f"{folder}.{uuid.uuid4().hex}"
    try:
        export_nnlm(work, grown.words, grown.table, buckets=grown.metrics["buckets"], normalization=given.normalization)
        with open(os.path.join(work, METRICS), "w", encoding="utf-8") as file:
            json.dump(grown.metrics, file, indent=1, ensure_ascii=False)
            file.write("\n")
        publish(work, folder)
    except tf.errors.OpError as error:
        raise GrowError(
            f"cannot write {folder}: {' '.join(error.message.split())[:300]}; make room, or write elsewhere"
        ) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


class Progress:
    """What a person sees meanwhile, on standard error: a bar on a terminal, else a line every 10 seconds."""

    def __init__(self, *, quiet: bool):
        self.quiet, self.started = quiet, time.monotonic()
        self.shown = self.started
        self.bar: Any = None

    def __enter__(self) -> "Progress":
        if not self.quiet and sys.stderr.isatty():
            from tqdm import tqdm

            layout = "{percentage:3.0f}% |{bar}| {desc} [{elapsed}]"
            self.bar = tqdm(total=100, bar_format=layout, leave=False, dynamic_ncols=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def show(self, done: int, total: int, text: str | float) -> None:
        """Show how far the training is; a number is its mean loss."""
        told = text if isinstance(text, str) else f"training, loss {text:.4f}"
        now = time.monotonic()
        if self.bar is not None:
            self.bar.set_description_str(told, refresh=False)
            self.bar.n = round(100 * done / total)
            self.bar.refresh()
        elif not self.quiet and now - self.shown >= LINE_SECONDS:
            self.shown = now
            print(f"molino: {done / total:4.0%} {told}, {now - self.started:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

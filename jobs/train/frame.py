"""What trainings share: their options, what they read, and the frame of their work under the run protocol."""

import argparse
import contextlib
import functools
import json
import math
import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from molino.jobs.job import Job, Plan, Staged
from molino.jobs.options import EMBEDDED, Options, Parser, add_output_options, fitting, place, whole
from molino.training.recipe import PHRASES, VECTORS
from molino.transforms.errors import DataError, OptionError

if TYPE_CHECKING:
    from molino.jobs.run.runs import Run
    from molino.training.progress import Progress
    from molino.transforms.files.storage import FileInfo

Work = Callable[["Run", str, "Progress"], Staged]  # of a run, the folder of its views, and its progress; gives no views
TrainingJob = functools.partial(Job, extra="tensorflow", packages=("tensorflow", "keras", "numba", "llvmlite"))
METRICS, REPORT = "metrics.json", "report.html"
TIMES = ("seconds", "tens of seconds", "minutes", "tens of minutes", "hours", "tens of hours", "days")
STEPS = (10, 60, 600, 3600, 36_000, 200_000)  # seconds where each of these ends
ONLY_PHRASES = ("dim", "members", "min_count", "leave_out")
count, size, seed = whole(1, 2**31 - 1), whole(1, 1 << 16), whole(0, 2**31 - 1)
above_zero = fitting(float, "above 0 and below 1", lambda number: 0 < number < 1)
below_one = fitting(float, "from 0 to less than 1", lambda number: 0 <= number < 1)


def add_where(parser: Parser, inputs: str, *, required: bool = True) -> Options:
    """Add where a training reads and writes; it runs in the command's own process. Return the group."""
    where = parser.add_argument_group("where")
    where.option("--input", "PATH", place, inputs, default=[], nargs=1, required=required)
    add_output_options(where, parser.add_argument_group("how to run (never changes the result)"))
    parser.set_defaults(runner=EMBEDDED, workers=1, worker_mode="threads", shuffle="runner", max_reject_ratio=0.0)
    return where


def add_recipe(parser: Parser, *, several: str = "joined") -> None:
    """Add how a classifier is trained; `several` is what becomes of several embeddings."""
    model = parser.add_argument_group("the classifier")
    about = f"column of vectors; may be repeated (default: all, {several})"
    model.option("--embedding", "NAME", str, about, action="append")
    model.choice("--architecture", (*VECTORS, PHRASES), "default mlp-512; phrases takes titles", default="mlp-512")
    model.choice(
        "--balance",
        ("loss", "logits", "none"),
        "correct the categories' shares while training, after it, or not (default loss)",
    )
    model.option("--dim", "N", size, "of phrases: length of a vector (128)", 128)
    model.option("--members", "N", whole(1, 64), "of phrases: classifiers that are averaged", 1)
    model.option("--min-count", "N", count, "of phrases: leave out features seen fewer times (2)", 2)
    model.option("--leave-out", "R", below_one, "of phrases: share of features dropped in each step (default 0)", 0.0)
    how = parser.add_argument_group("training")
    how.option("--epochs", "N", count, "maximal number of epochs (10; phrases 4)")
    how.option("--patience", "N", count, "epochs without improvement, then it stops", 3)
    how.option("--batch", "N", count, "batch size (4096; phrases 2048)")
    how.option("--rate", "R", above_zero, "initial learning rate (0.001; phrases 0.005)")
    how.choice("--schedule", ("linear", "cosine", "constant"), "of the learning rate (default linear)")
    how.choice("--precision", ("float32", "bfloat16", "float16"), "of the layers (float32)")
    how.option("--seed", "N", seed, "of all random numbers", 0)


def check_recipe(args: argparse.Namespace) -> None:
    """Raise OptionError where an option is given that the architecture does not know."""
    phrases = args.architecture == PHRASES
    flags = [f"--{name.replace('_', '-')}" for name in ONLY_PHRASES]
    strange = [flag for flag in flags if args.command.names(flag)]
    if strange and not phrases:
        raise OptionError(f"{strange[0]} is an option of --architecture {PHRASES}, not of {args.architecture}")
    if phrases and (args.embedding or args.balance == "logits" or args.precision != "float32"):
        what = "takes titles, no --embedding, and --balance loss or none and --precision float32"
        raise OptionError(f"--architecture {PHRASES} {what}")
    if args.architecture == "linear" and args.precision != "float32":
        raise OptionError("--precision has no effect with --architecture linear, which has no hidden layers")


def check_local(output: str | None) -> None:
    """Raise DataError where a training would be written to a store."""
    if re.match(r"\w+:/", output or ""):
        what = "what is trained is written to a local folder, as Keras and TensorFlow need it"
        raise DataError(f"--output {output}: {what}; copy it from there")


def list_inputs(args: argparse.Namespace) -> list["FileInfo"]:
    """Return the data files of the run that is trained on, which stay when it is replaced; none where it is no run."""
    from molino.jobs.run.output import read_finished
    from molino.transforms.files import storage
    from molino.transforms.manifest import data_files

    check_local(args.output)
    folder = storage.folder(args.input[0])
    manifest = read_finished(folder)
    listed = {storage.join(folder, file["path"]) for file in data_files(manifest)} if manifest else set()
    return [file for file in (storage.list_tree(folder) if listed else []) if file.path in listed]


def plan_training(work: Work, *, remedy: str, **facts: Any) -> Plan:
    """Return the plan of a training: its `work`, what takes less memory (`remedy`), and what else a plan has."""
    from molino.training.progress import Progress
    from molino.transforms.files import storage
    from molino.transforms.parquet.shards import find_views

    progress = Progress()

    def stage(run: "Run") -> Staged:
        with training_errors(run.output, remedy), storage.explained(run.output, "write"):
            staged = work(run, storage.join(run.staging, "views"), progress)
            return staged._replace(files=[*staged.files, *find_views(run.staging)])

    return Plan(work=stage, how_far=progress.how_far, **facts)


@contextlib.contextmanager
def training_errors(output: str, remedy: str) -> Iterator[None]:
    """Say in one line what stops a training inside the block; `remedy` is what takes less memory."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise DataError(f"a name is not UTF-8: {error.object!a}; rename it") from None
    except Exception as error:
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            raise DataError(f"there is not enough memory; {remedy} takes less") from None
        if type(error).__module__.startswith("tensorflow") and hasattr(error, "message"):
            told = " ".join(str(error.message).split())[:300]
            raise DataError(f"cannot write {output}: {told}; make room, or write elsewhere") from None
        raise


def write_text(folder: str, name: str, content: Any) -> None:
    """Write a view: a text as it is, anything else as JSON."""
    text = content if isinstance(content, str) else json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def format_order(rows: float | None, rows_a_second: float) -> str:
    """Return how long rows take, as an order of magnitude: rates of one machine say no more of another.

    >>> format_order(4 * 603_559, 10_000), format_order(600, 10_000)
    ('minutes, at 10,000 titles a second', 'tens of seconds, at 10,000 titles a second')
    """
    if not rows:
        return "a time that is not known"
    seconds = 15 + rows / rows_a_second  # the start of TensorFlow
    order = TIMES[sum(seconds >= step for step in STEPS)]
    return f"{order}, at {10 ** round(math.log10(rows_a_second)):,} titles a second"
